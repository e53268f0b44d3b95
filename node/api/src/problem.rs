//! Errors as the API tells them.

use serde::{Deserialize, Deserializer, Serialize};

/// Where in the caller's input something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Name of the file, or of the request's field (`key`, `certificate`, `chain`).
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// The text of that line, if it is no secret.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub text: Option<String>,
}

/// Longest run of base64 that may be shown.
const BASE64_RUN_MAX: usize = 23;
/// A path has more slashes than one in so many letters; base64 has fewer.
const LETTERS_PER_SLASH: usize = 16;
/// Longest label of a PEM block that a hint may name.
const LABEL_BYTES_MAX: usize = 30;

/// A text without what may be part of a private key: everything from the frame of a PEM block on,
/// and long runs of base64. Messages tell what callers gave, and callers give keys in the wrong
/// places. A frame that ends the text is the advice of a hint.
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

/// An error answer: what, where, why, and what to do next. `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{title}")]
#[serde(rename_all = "snake_case")]
pub struct Problem {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Error`.
    pub kind: String,
    /// Stable code, see [`Code`]; one of a later version reads as [`Code::X007`].
    #[serde(deserialize_with = "known_code")]
    pub code: Code,
    /// What is wrong, one line.
    #[serde(deserialize_with = "read_masked")]
    pub title: String,
    /// More about it: values, names.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub detail: Option<String>,
    /// Why it is so.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub why: Option<String>,
    /// Where in the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// What to do next; commands as they are typed.
    #[serde(
        default,
        deserialize_with = "read_masked_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub hint: Option<String>,
    /// A repetition may succeed.
    pub retryable: bool,
    /// Exit code of the command line for it.
    pub exit_code: u8,
    /// Id under which the change can be repeated safely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl Problem {
    /// A problem with nothing but its code and first line.
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

    /// The same problem with more about it.
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(masked(detail.into()));
        self
    }

    /// The same problem with its reason.
    pub fn why(mut self, why: impl Into<String>) -> Problem {
        self.why = Some(masked(why.into()));
        self
    }

    /// The same problem with what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(masked(hint.into()));
        self
    }

    /// The same problem with its place in the input.
    pub fn at(mut self, mut location: Location) -> Problem {
        location.text = location.text.map(masked);
        self.location = Some(location);
        self
    }
}

/// A text of a node that may be older than [`masked`].
fn read_masked<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    String::deserialize(text).map(masked)
}

fn read_masked_option<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(text)?.map(masked))
}

/// A code, or X007 for one that only a later version knows: the problem still tells the rest.
pub(crate) fn known_code<'de, D: Deserializer<'de>>(text: D) -> Result<Code, D::Error> {
    let text = String::deserialize(text)?;
    let known = Code::ALL.iter().copied().find(|code| code.as_str() == text);
    Ok(known.unwrap_or(Code::X007))
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $exit:literal / $status:literal,)*) => {
        /// Stable error codes. The letter names the matter: K key, C certificate, H chain,
        /// N network, R Raft, S seal, J join, V version, X client and access, D domain, T trust,
        /// F settings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            /// The code as written, `K002`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// Exit code of the command line.
            pub fn exit_code(self) -> u8 {
                match self { $(Code::$code => $exit,)* }
            }

            /// Status of the HTTP answer.
            pub fn status(self) -> u16 {
                match self { $(Code::$code => $status,)* }
            }
        }
    };
}

codes! {
    /// The input holds no private key.
    K001 = 8 / 422,
    /// The private key is protected by a passphrase.
    K002 = 8 / 422,
    /// The key is too weak or of a type that is not supported.
    K003 = 8 / 422,
    /// A key was expected, something else was found.
    K004 = 8 / 422,
    /// More than one key.
    K005 = 8 / 422,
    /// The key is damaged.
    K006 = 8 / 422,
    /// DER where PEM is expected.
    K007 = 8 / 422,
    /// The key fails its test: what it signs does not verify.
    K008 = 8 / 422,
    /// The domain has a key already.
    K009 = 4 / 409,
    /// The domain has no key.
    K010 = 3 / 404,
    /// The passphrase does not open the key.
    K011 = 8 / 422,
    /// The input holds no certificate.
    C001 = 8 / 422,
    /// The certificate is damaged.
    C002 = 8 / 422,
    /// The certificate belongs to another private key.
    C003 = 8 / 422,
    /// The certificate expires soon.
    C004 = 9 / 200,
    /// The certificate has expired or is not valid yet.
    C005 = 8 / 422,
    /// The certificate is for other names.
    C006 = 8 / 422,
    /// A certificate was expected, something else was found.
    C007 = 8 / 422,
    /// A field of the certificate to make is not possible.
    C008 = 8 / 422,
    /// The certificate is revoked.
    C009 = 8 / 422,
    /// The certificate was not signed by the domain's key itself.
    C011 = 8 / 422,
    /// The domain has no certificate.
    C010 = 3 / 404,
    /// The input holds no CA chain.
    H001 = 8 / 422,
    /// The chain is in the wrong order.
    H002 = 8 / 422,
    /// A link of the chain is missing.
    H003 = 8 / 422,
    /// The chain is too long.
    H004 = 8 / 422,
    /// No path to a trusted certificate.
    H005 = 8 / 422,
    /// A certificate of the path breaks a rule.
    H006 = 8 / 422,
    /// A signature of the path is wrong or not accepted.
    H007 = 8 / 422,
    /// A revocation list cannot be used.
    H008 = 8 / 422,
    /// More work than any honest chain needs.
    H009 = 8 / 422,
    /// The domain has no CA chain.
    H010 = 3 / 404,
    /// No such trusted certificate.
    T001 = 3 / 404,
    /// Not a certificate to be trusted as an authority.
    T002 = 8 / 422,
    /// Not a set of trusted certificates.
    T003 = 2 / 400,
    /// Not a domain name.
    D001 = 2 / 422,
    /// No such domain.
    D002 = 3 / 404,
    /// The name belongs to a domain already.
    D003 = 4 / 409,
    /// A bound is reached.
    D004 = 4 / 409,
    /// A port cannot be opened.
    N001 = 2 / 409,
    /// Not allowed to open a port.
    N002 = 2 / 422,
    /// Not an address to listen on, or not a possible upstream.
    N003 = 2 / 422,
    /// A listener of this name or on this port exists.
    N004 = 4 / 409,
    /// No such listener.
    N005 = 3 / 404,
    /// An option that does not go with the protocol of a listener.
    N006 = 2 / 422,
    /// No quorum.
    R001 = 6 / 503,
    /// No leader within the time limit.
    R003 = 6 / 503,
    /// The answer was lost; the change may have been made.
    R004 = 10 / 504,
    /// The operation may have been forgotten: the change may have been made before.
    R008 = 10 / 409,
    /// A node serves less than the cluster has committed.
    R005 = 6 / 503,
    /// This node belongs to no cluster yet.
    R006 = 6 / 409,
    /// This node belongs to a cluster already.
    R007 = 4 / 409,
    /// Sealed: private keys cannot be used.
    S001 = 7 / 503,
    /// The join token is malformed or for another cluster.
    J001 = 5 / 403,
    /// The join token is expired or used.
    J002 = 5 / 403,
    /// The cluster cannot be reached to join it.
    J003 = 6 / 503,
    /// A node of this name is a member.
    J004 = 4 / 409,
    /// A member's version does not know what is asked.
    V001 = 4 / 409,
    /// The object has another version than expected.
    V002 = 4 / 409,
    /// The version is not kept.
    V004 = 3 / 404,
    /// The operation id belongs to another request.
    V003 = 4 / 409,
    /// No node can be reached.
    X001 = 6 / 503,
    /// Not allowed.
    X002 = 5 / 403,
    /// Not logged in: no token, or one that is not known or has ended.
    X003 = 5 / 401,
    /// The request cannot be understood.
    X004 = 2 / 400,
    /// No such path or object.
    X005 = 3 / 404,
    /// The request is too large.
    X006 = 2 / 413,
    /// The node could not do its work.
    X007 = 1 / 500,
    /// A setting of the configuration file is wrong.
    F001 = 2 / 422,
    /// The data directory cannot be used.
    F002 = 1 / 500,
    /// A TLS setting cannot have this value.
    F003 = 2 / 422,
    /// The disk is full; nothing was changed.
    F004 = 6 / 507,
}

impl Code {
    /// Whether a repetition of the same request may succeed.
    pub fn is_retryable(self) -> bool {
        matches!(self.exit_code(), 6 | 7 | 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_a_later_version_still_tells_what_is_wrong() {
        let problem = Problem::new(Code::R004, "a title").hint("a hint");
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        let later = serde_json::from_str::<Problem>(&text.replace("R004", "Q999")).unwrap();
        assert_eq!((later.code, later.exit_code), (Code::X007, problem.exit_code));
        assert_eq!((later.title, later.hint), (problem.title, problem.hint));
    }

    #[test]
    fn an_answer_of_a_node_that_shows_keys_is_masked_too() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        let problem = Problem::new(Code::D001, "T").detail("D").why("W").hint("H").at(Location {
            file: "f".to_owned(),
            line: 1,
            text: Some("L".to_owned()),
        });
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
        let told = Problem::new(Code::D001, format!("{key:?} is not a domain name"))
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
