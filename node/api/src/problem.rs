//! Error answers of the admin API, and the mask that keeps private keys out of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Location of an error in the caller's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// Name of the file, or of the request's field (`key`, `certificate`, `chain`).
    pub file: String,
    /// Line number, from 1.
    pub line: u64,
    /// The text of that line, if it cannot be a secret.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub text: Option<String>,
}

/// Longest run of base64 to show.
const BASE64_RUN_MAX: usize = 23;
/// Tells paths from base64: a path has more than one slash in this many characters, base64 has
/// fewer.
const LETTERS_PER_SLASH: usize = 16;
/// Longest PEM label in a hint.
const LABEL_BYTES_MAX: usize = 30;

/// Masks possible parts of private keys in a text: long runs of base64, and everything from the
/// first `-----BEGIN` on. Messages quote the caller's input, and callers paste keys into the wrong
/// places. A frame without content at the end of the text stays, because hints name it.
pub fn masked(text: String) -> String {
    let end = text.find("-----BEGIN").unwrap_or(text.len());
    let (head, tail) = text.split_at_checked(end).unwrap_or((text.as_str(), ""));
    let is_of_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
    let is_secret = |run: &str| {
        let slashes = run.matches('/').count();
        run.len() > BASE64_RUN_MAX
            && slashes * LETTERS_PER_SLASH <= run.len()
            && run.contains(|letter: char| letter.is_ascii_uppercase())
            && run.contains(|letter: char| letter.is_ascii_lowercase())
    };
    let mut shown = String::with_capacity(text.len());
    for piece in head.split_inclusive(|letter: char| !is_of_base64(letter)) {
        let run = piece.trim_end_matches(|letter: char| !is_of_base64(letter));
        match is_secret(run) {
            true => shown.extend(["(not shown)", piece.get(run.len()..).unwrap_or_default()]),
            false => shown.push_str(piece),
        }
    }
    let is_frame = |label: &str| {
        let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte == b' ';
        label.len() <= LABEL_BYTES_MAX && label.bytes().all(is_upper)
    };
    let frame = tail.strip_prefix("-----BEGIN").and_then(|rest| rest.strip_suffix("-----"));
    match frame {
        Some(label) if is_frame(label) => shown.push_str(tail),
        _ if tail.is_empty() => {}
        _ => shown.push_str("(a PEM block, not shown)"),
    }
    shown
}

/// An error answer (`application/problem+json`): what is wrong, where, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{title}")]
#[serde(rename_all = "snake_case")]
pub struct Problem {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Error`.
    pub kind: String,
    /// Stable code.
    // A code of a later version reads as `Code::Internal`.
    #[serde(deserialize_with = "known_code")]
    pub code: Code,
    /// The error in one line.
    #[serde(deserialize_with = "read_masked")]
    pub title: String,
    /// Details: values, names.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub detail: Option<String>,
    /// Reason.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub why: Option<String>,
    /// Location in the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Next step, with commands as they are typed.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub hint: Option<String>,
    /// Whether a retry may succeed.
    pub retryable: bool,
    /// Exit code of the command line.
    pub exit_code: u8,
    /// Operation id, for a safe retry of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl Problem {
    /// Makes a problem with only a code and a title.
    pub fn new(code: Code, title: impl Into<String>) -> Problem {
        Problem {
            api_version: crate::API_VERSION.to_owned(),
            kind: "Error".to_owned(),
            code,
            title: masked(title.into()),
            detail: None,
            why: None,
            location: None,
            hint: None,
            retryable: code.is_retryable(),
            exit_code: code.exit_code(),
            operation: None,
        }
    }

    /// Adds details.
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(masked(detail.into()));
        self
    }

    /// Adds the reason.
    pub fn why(mut self, why: impl Into<String>) -> Problem {
        self.why = Some(masked(why.into()));
        self
    }

    /// Adds the next step.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(masked(hint.into()));
        self
    }

    /// Adds the location in the input.
    pub fn at(mut self, mut location: Location) -> Problem {
        location.text = location.text.map(masked);
        self.location = Some(location);
        self
    }
}

/// Reads a text and masks it, because the answering node may be older than [`masked`].
fn read_masked<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    String::deserialize(text).map(masked)
}

fn read_masked_option<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(text)?.map(masked))
}

/// Reads a code. A code of a later version becomes [`Code::Internal`], so that the rest of the
/// problem stays readable.
pub(crate) fn known_code<'de, D: Deserializer<'de>>(text: D) -> Result<Code, D::Error> {
    let text = String::deserialize(text)?;
    Ok(Code::parse(&text).unwrap_or(Code::Internal))
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let line = |code: &Code| format!("- `{}`: {}", code.as_str(), code.meaning());
        let meanings: Vec<String> = Code::ALL.iter().map(line).collect();
        json_schema!({
            "type": "string",
            "enum": Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
            "description": format!("Stable code of an error.\n\n{}", meanings.join("\n")),
        })
    }
}

impl Code {
    /// Returns the code with this text, such as `K002`; none if this version does not know it.
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $code:ident $text:literal = $exit:literal / $status:literal,)*) => {
        /// Stable error codes. The letter names the area: K key, C certificate, H chain, N network,
        /// R Raft, S seal, J join, V version, X client and access, D domain, T trust, F settings,
        /// B backup.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $text)] $code,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            /// Returns the code as text, `K002`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }

            /// Returns what the code means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$code => concat!($($doc),*).trim_ascii_start(),)* }
            }

            /// Returns the exit code of the command line.
            pub fn exit_code(self) -> u8 {
                match self { $(Code::$code => $exit,)* }
            }

            /// Returns the HTTP status of the answer.
            pub fn status(self) -> u16 {
                match self { $(Code::$code => $status,)* }
            }
        }
    };
}

codes! {
    /// The input contains no private key.
    NoPrivateKey "K001" = 8 / 422,
    /// The private key is protected by a passphrase.
    KeyEncrypted "K002" = 8 / 422,
    /// The key is too weak or of an unsupported type.
    KeyUnsupported "K003" = 8 / 422,
    /// The input is something else than a key.
    NotAKey "K004" = 8 / 422,
    /// The input contains more than one key.
    SeveralKeys "K005" = 8 / 422,
    /// The key is damaged.
    KeyDamaged "K006" = 8 / 422,
    /// The input is DER, but PEM is expected.
    KeyNotPem "K007" = 8 / 422,
    /// The key fails its test: its signature does not verify.
    KeyTestFailed "K008" = 8 / 422,
    /// The domain already has a key.
    KeyExists "K009" = 4 / 409,
    /// The domain has no key.
    KeyMissing "K010" = 3 / 404,
    /// The passphrase does not open the key.
    PassphraseWrong "K011" = 8 / 422,
    /// The input contains no certificate.
    NoCertificate "C001" = 8 / 422,
    /// The certificate is damaged.
    CertificateDamaged "C002" = 8 / 422,
    /// The certificate belongs to another private key.
    CertificateOfOtherKey "C003" = 8 / 422,
    /// The certificate expires soon.
    CertificateExpiring "C004" = 9 / 200,
    /// The certificate has expired or is not valid yet.
    CertificateOutOfDate "C005" = 8 / 422,
    /// The certificate covers none of the domain's names.
    CertificateForOtherNames "C006" = 8 / 422,
    /// The input is something else than a certificate.
    NotACertificate "C007" = 8 / 422,
    /// A field of the new certificate is invalid.
    CertificateFieldInvalid "C008" = 8 / 422,
    /// The certificate is revoked.
    CertificateRevoked "C009" = 8 / 422,
    /// The certificate is not self-signed by the domain's key.
    NotSelfSigned "C011" = 8 / 422,
    /// The domain has no certificate.
    CertificateMissing "C010" = 3 / 404,
    /// The input contains no CA chain.
    NoChain "H001" = 8 / 422,
    /// The chain is in the wrong order.
    ChainOrder "H002" = 8 / 422,
    /// A link of the chain is missing.
    ChainLinkMissing "H003" = 8 / 422,
    /// The chain is too long.
    ChainTooLong "H004" = 8 / 422,
    /// No path leads to a trusted certificate.
    NoTrustedPath "H005" = 8 / 422,
    /// A certificate of the path breaks a rule.
    PathRuleBroken "H006" = 8 / 422,
    /// A signature of the path is wrong or uses an algorithm that is not accepted.
    PathSignature "H007" = 8 / 422,
    /// A revocation list cannot be used.
    RevocationListUnusable "H008" = 8 / 422,
    /// The chain takes more work than any honest chain needs.
    TooMuchWork "H009" = 8 / 422,
    /// The domain has no CA chain.
    ChainMissing "H010" = 3 / 404,
    /// The trusted certificate does not exist.
    TrustedCertificateUnknown "T001" = 3 / 404,
    /// The certificate cannot be trusted, because it is not an authority.
    NotAnAuthority "T002" = 8 / 422,
    /// The set of trusted certificates does not exist or cannot change.
    NotATrustSet "T003" = 2 / 400,
    /// The domain name, alias or address is invalid.
    InvalidDomainName "D001" = 2 / 422,
    /// The domain does not exist.
    DomainUnknown "D002" = 3 / 404,
    /// The name already belongs to a domain.
    NameTaken "D003" = 4 / 409,
    /// A limit is reached.
    LimitReached "D004" = 4 / 409,
    /// A port cannot be opened.
    PortUnavailable "N001" = 2 / 409,
    /// The process may not open the port.
    PortForbidden "N002" = 2 / 422,
    /// The bind address, the upstream or another value of a listener is invalid.
    InvalidAddress "N003" = 2 / 422,
    /// A listener with this name or on this port exists.
    ListenerExists "N004" = 4 / 409,
    /// The listener does not exist.
    ListenerUnknown "N005" = 3 / 404,
    /// An option does not fit the protocol of the listener.
    OptionUnfit "N006" = 2 / 422,
    /// Too few voters answer.
    NoQuorum "R001" = 6 / 503,
    /// No leader was found within the time limit.
    NoLeader "R003" = 6 / 503,
    /// The answer was lost; the change may have been made.
    OutcomeUnknown "R004" = 10 / 504,
    /// The operation may have been forgotten: the change may have been made before.
    OperationForgotten "R008" = 10 / 409,
    /// A node lags: it serves less than the cluster has committed.
    NodeLagging "R005" = 6 / 503,
    /// A node is drained: it takes no new connections.
    NodeDrained "R009" = 9 / 200,
    /// A node's clock differs from those of the others.
    ClockOff "R010" = 9 / 200,
    /// A change is not in use on every node, though `--require-all` asks for it.
    NotOnAllNodes "R011" = 6 / 504,
    /// The node cannot lead, so the leader stays.
    LeaderKept "R014" = 4 / 409,
    /// The running process was not taken over, and goes on.
    NotTakenOver "R015" = 6 / 503,
    /// The node was recovered from a lost quorum, and something is left to do.
    Recovered "R016" = 9 / 200,
    /// The node runs, and the command needs it stopped.
    NodeRunning "R017" = 4 / 409,
    /// This node does not belong to a cluster yet.
    NoCluster "R006" = 6 / 409,
    /// This node already belongs to a cluster.
    AlreadyMember "R007" = 4 / 409,
    /// The node is sealed and cannot use private keys.
    Sealed "S001" = 7 / 503,
    /// Other users can read or change the unlock key of a node.
    UnlockKeyExposed "S002" = 9 / 200,
    /// A share cannot be used to unseal the node.
    ShareRefused "S003" = 8 / 422,
    /// The passphrase does not unseal the node.
    UnsealRefused "S004" = 8 / 422,
    /// Another attempt to unseal the node runs, or a wrong one was just made.
    UnsealTooSoon "S005" = 4 / 429,
    /// The join token is malformed or belongs to another cluster.
    JoinTokenInvalid "J001" = 5 / 403,
    /// The join token is unknown, expired or used.
    JoinTokenSpent "J002" = 5 / 403,
    /// The cluster to join cannot be reached.
    ClusterUnreachable "J003" = 6 / 503,
    /// A member with this name exists.
    NodeNameTaken "J004" = 4 / 409,
    /// A member came into State without a holder of the keyring.
    MemberUnproven "J005" = 4 / 409,
    /// A member with this identity key or sealing key exists.
    NodeKeyTaken "J006" = 4 / 409,
    /// No member has this name.
    NodeUnknown "J007" = 3 / 404,
    /// The authority before the present one is still trusted.
    AuthorityTurning "J008" = 4 / 409,
    /// The change would leave the cluster without a quorum.
    QuorumWouldBeLost "R012" = 4 / 409,
    /// A member's version does not support the request.
    VersionTooOld "V001" = 4 / 409,
    /// The object does not have the expected version.
    VersionConflict "V002" = 4 / 409,
    /// The version is no longer stored.
    VersionNotKept "V004" = 3 / 404,
    /// The operation id belongs to another request.
    OperationReused "V003" = 4 / 409,
    /// No node can be reached.
    NodeUnreachable "X001" = 6 / 503,
    /// The operating system denies access.
    NotAllowed "X002" = 5 / 403,
    /// The token is missing, unknown, revoked or expired.
    NotLoggedIn "X003" = 5 / 401,
    /// The request is malformed.
    Malformed "X004" = 2 / 400,
    /// The path or object does not exist.
    NotFound "X005" = 3 / 404,
    /// The request is too large.
    TooLarge "X006" = 2 / 413,
    /// The certificate of the node is not the one that is meant.
    NodeUntrusted "X010" = 6 / 502,
    /// The path exists and does not have this method.
    MethodUnknown "X012" = 2 / 405,
    /// The token has made as many changes as it may.
    TokenUsedUp "X011" = 5 / 403,
    /// The events behind the given position are not kept any longer.
    EventsGone "X013" = 4 / 410,
    /// No user has this name.
    UserUnknown "U001" = 3 / 404,
    /// A user of this name exists.
    UserExists "U002" = 4 / 409,
    /// The user, the password or the one-time code is wrong; or an account's address or passphrase.
    LoginRefused "U003" = 5 / 401,
    /// Too many attempts to log in.
    LoginTooOften "U004" = 6 / 429,
    /// No account has this address.
    AccountUnknown "A001" = 3 / 404,
    /// An account of this address exists.
    AccountExists "A002" = 4 / 409,
    /// The passphrase does not unlock the account's key, or is not possible.
    AccountPassphraseRefused "A003" = 8 / 422,
    /// Too many attempts to unlock the account.
    AccountUnlockTooOften "A004" = 6 / 429,
    /// The name belongs to accounts, so its domain keeps it.
    AccountsRemain "A005" = 4 / 409,
    /// The domain has no certificate that may issue those of accounts.
    SmimeIssuerMissing "A006" = 4 / 409,
    /// The PKCS#12 file cannot be used.
    Pkcs12Unusable "A007" = 8 / 422,
    /// The message is damaged, or not of the kind that is needed.
    MessageUnusable "A008" = 8 / 422,
    /// A signature of the message is wrong.
    SignatureWrong "A009" = 8 / 422,
    /// The message is encrypted for others.
    MessageForOthers "A010" = 8 / 422,
    /// The account has no certificate to which messages can be encrypted.
    RecipientMissing "A011" = 4 / 409,
    /// The invitation cannot be used.
    InvitationRefused "A012" = 5 / 401,
    /// There is no copy of the key that a recovery key opens, or the recovery key is another one.
    RecoveryImpossible "A013" = 4 / 409,
    /// An internal error of the node.
    Internal "X007" = 1 / 500,
    /// A file named by the caller cannot be read or written.
    FileUnusable "X008" = 2 / 400,
    /// The answer cannot be written to standard output.
    OutputFailed "X009" = 1 / 500,
    /// The file is not a whole and unchanged backup.
    BackupDamaged "B001" = 8 / 422,
    /// None of the given private keys opens the backup.
    BackupIdentityWrong "B002" = 8 / 422,
    /// A recipient or an identity of a backup is invalid.
    BackupRecipientInvalid "B003" = 2 / 422,
    /// The node makes a backup already.
    BackupBusy "B004" = 4 / 409,
    /// The transfer of a backup ended before its end.
    BackupIncomplete "B005" = 6 / 503,
    /// The cluster is not restoring a backup, or has domains already.
    NotRestoring "B006" = 4 / 409,
    /// Another cluster made the backup.
    BackupOfOtherCluster "B007" = 8 / 422,
    /// The last backup is old.
    BackupOld "B008" = 9 / 200,
    /// A restore was begun and not finished.
    RestoreUnfinished "B009" = 9 / 200,
    /// A setting in the configuration file is invalid.
    ConfigurationInvalid "F001" = 2 / 422,
    /// The data directory cannot be used.
    DataUnusable "F002" = 1 / 500,
    /// The value of a TLS setting is invalid.
    TlsSettingInvalid "F003" = 2 / 422,
    /// The disk is full. Nothing was changed.
    DiskFull "F004" = 6 / 507,
}

impl Code {
    /// Whether a retry of the same request may succeed.
    pub fn is_retryable(self) -> bool {
        matches!(self.exit_code(), 6 | 7 | 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_a_later_version_still_tells_what_is_wrong() {
        let problem = Problem::new(Code::OutcomeUnknown, "a title").hint("a hint");
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        let later = serde_json::from_str::<Problem>(&text.replace("R004", "Q999")).unwrap();
        assert_eq!((later.code, later.exit_code), (Code::Internal, problem.exit_code));
        assert_eq!((later.title, later.hint), (problem.title, problem.hint));
    }

    #[test]
    fn an_answer_of_a_node_that_shows_keys_is_masked_too() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        let problem = Problem::new(Code::InvalidDomainName, "T")
            .detail("D")
            .why("W")
            .hint("H")
            .at(Location { file: "f".to_owned(), line: 1, text: Some("L".to_owned()) });
        let mut text = serde_json::to_string(&problem).unwrap();
        for field in ["T", "D", "W", "H", "L"] {
            text = text.replace(&format!("\"{field}\""), &format!("\"{key}\""));
        }
        assert_eq!(text.matches(key).count(), 5, "{text}");
        let read: Problem = serde_json::from_str(&text).unwrap();
        assert!(!serde_json::to_string(&read).unwrap().contains(key), "{read:?}");
    }

    #[test]
    fn what_may_be_a_key_is_not_shown_and_what_helps_is() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        let told = Problem::new(Code::InvalidDomainName, format!("{key:?} is not a domain name"))
            .detail(format!("it begins so: -----BEGIN PRIVATE KEY-----{key}"))
            .hint("give the file that begins with -----BEGIN PRIVATE KEY-----")
            .at(Location { file: "f".to_owned(), line: 1, text: Some(format!("name = {key}")) });
        let all = serde_json::to_string(&told).unwrap();
        for start in 0..key.len() - 12 {
            assert!(!all.contains(&key[start..start + 12]), "{all}");
        }
        assert!(told.hint.unwrap().ends_with("-----BEGIN PRIVATE KEY-----"));
        let path = "/Users/anna/Documents/certs/shop/fullchain";
        for shown in [path, "a-long-name-of-a-domain.example", "0191f1a2b3c4d5e6f708192a3b4c5d6e"] {
            assert_eq!(masked(shown.to_owned()), shown);
        }
    }
}
