//! Admission of TLS settings and of session flushes.

use conclave_api::{
    problem::{Code, Problem},
    tls::{LogLevel, Set},
};
use conclave_store::{
    command::Action,
    limits::SESSION_KEYS_MAX,
    record::{RowKey, TlsLogLevel, TlsSettings, TlsVersion},
};

use super::{Admitted, View};
use crate::tls_names::{is_tls13, names, version};
use conclave_tls::{CIPHER_SUITES, GROUPS};

/// Longest lifetime of a ticket (RFC 8446 §4.6.1).
const TTL_S_MAX: u32 = 7 * 24 * 60 * 60;
/// Longest rotation period of ticket keys: the longest lifetime of a ticket.
const ROTATION_S_MAX: u32 = 7 * 24 * 60 * 60;

/// Legacy options of other servers that cannot be turned on here, each with its reason. They exist
/// so that an operator who looks for them finds the reason.
pub const LEGACY: [(&str, &str); 4] = [
    (
        "cbc-ciphers-for-old-tls",
        "RFC 9325 §4.1: their MAC-then-encrypt was broken again and again; only AEAD suites",
    ),
    ("weak-ciphers", "RFC 7465 forbids RC4, RFC 9325 §4.1 whatever has less than 112 bits"),
    ("accept-sslv2-hello", "RFC 6176: the hello of SSL 2.0 is never accepted"),
    ("min-version 1.0 and 1.1", "RFC 8996: TLS 1.0 and TLS 1.1 must not be used"),
];

fn refused(title: impl Into<String>) -> Problem {
    Problem::new(Code::TlsSettingInvalid, title)
}

/// Changes the TLS settings of the cluster.
pub fn set_tls(view: &View<'_>, asked: &Set) -> Result<Admitted, Problem> {
    if *asked == Set::default() {
        return Err(Problem::new(Code::Malformed, "no setting is given")
            .hint("conclave tls set --ttl 2h    all settings: conclave tls set --help"));
    }
    check_legacy(asked)?;
    let before = view.state.tls_settings();
    let settings = TlsSettings {
        log_level: match asked.log_level {
            Some(LogLevel::Error) => TlsLogLevel::Error,
            Some(LogLevel::Info) => TlsLogLevel::Info,
            Some(LogLevel::Debug) => TlsLogLevel::Debug,
            None => before.log_level,
        },
        session_ttl_s: seconds("--ttl", asked.ttl_s, 0..=TTL_S_MAX, before.session_ttl_s)?,
        ticket_rotation_s: seconds(
            "--rotation",
            asked.rotation_s,
            1..=ROTATION_S_MAX,
            before.ticket_rotation_s,
        )?,
        version_min: match &asked.min_version {
            Some(text) => version(text)?,
            None => before.version_min,
        },
        process_target_domain: asked.process_target_domain.unwrap_or(before.process_target_domain),
        abort_on_wrong_client_certificate: asked
            .abort_on_wrong_client_certificate
            .unwrap_or(before.abort_on_wrong_client_certificate),
        cipher_suites: names(
            "cipher suite",
            asked.cipher_suites.as_deref(),
            &CIPHER_SUITES,
            &before.cipher_suites,
        )?,
        groups: names("group", asked.groups.as_deref(), &GROUPS, &before.groups)?,
        ..before
    };
    check_key_count(&settings)?;
    let warnings = check_versions(&settings)?;
    let action = Action::SetTlsSettings(Box::new(settings));
    admitted(view, action).map(|admitted| admitted.warning(warnings))
}

/// Makes all earlier sessions end: new session keys.
pub fn flush_sessions(view: &View<'_>) -> Result<Admitted, Problem> {
    admitted(view, Action::FlushSessions)
}

/// Completes the admission. Fields that the caller did not give come from the current settings, so
/// the command expects these settings unchanged.
fn admitted(view: &View<'_>, action: Action) -> Result<Admitted, Problem> {
    let version = view.state.tls_settings().version;
    view.check_version("the TLS settings", (version, None), || "conclave tls show".into())?;
    let expectation = view.state.expectation(RowKey::TlsSettings);
    Ok(Admitted::new(action, "TLS settings").expecting(expectation))
}

fn check_legacy(asked: &Set) -> Result<(), Problem> {
    let switches = [asked.cbc_ciphers_for_old_tls, asked.weak_ciphers, asked.accept_sslv2_hello];
    for ((setting, reason), switch) in LEGACY.iter().zip(switches) {
        if switch == Some(true) {
            return Err(refused(format!("{setting} cannot be turned on: this server has none"))
                .why(*reason)
                .hint("put a legacy proxy in front for such clients"));
        }
    }
    Ok(())
}

fn seconds(
    option: &str,
    asked: Option<u64>,
    possible: std::ops::RangeInclusive<u32>,
    before: u32,
) -> Result<u32, Problem> {
    let Some(asked) = asked else { return Ok(before) };
    match u32::try_from(asked).ok().filter(|seconds| possible.contains(seconds)) {
        Some(seconds) => Ok(seconds),
        None => Err(refused(format!("{option} of {asked} s is not possible")).detail(format!(
            "{} s to {} s are",
            possible.start(),
            possible.end()
        ))),
    }
}

/// Refuses settings that exclude every client. Warns if they exclude a TLS version.
fn check_versions(settings: &TlsSettings) -> Result<Vec<String>, Problem> {
    let suites = &settings.cipher_suites;
    if suites.is_empty() {
        return Ok(Vec::new());
    }
    let has_new = suites.iter().any(|name| is_tls13(name));
    let has_old = suites.iter().any(|name| !is_tls13(name));
    match (settings.version_min, has_new, has_old) {
        (TlsVersion::V1_3, false, _) => Err(refused("no cipher suite would remain")
            .why("the oldest version accepted is TLS 1.3, and no cipher suite named is of TLS 1.3")
            .hint("name one that begins with TLS_AES or TLS_CHACHA20 too")),
        (TlsVersion::V1_2, false, _) => {
            Ok(vec!["no cipher suite of TLS 1.3 is named: only TLS 1.2 is spoken".to_owned()])
        }
        (TlsVersion::V1_2, true, false) => {
            Ok(vec!["no cipher suite of TLS 1.2 is named: only TLS 1.3 is spoken".to_owned()])
        }
        _ => Ok(Vec::new()),
    }
}

/// Refuses a rotation period with too many ticket keys at once. A key is kept until the last ticket
/// that it sealed has expired.
fn check_key_count(settings: &TlsSettings) -> Result<(), Problem> {
    let (ttl, rotation) = (settings.session_ttl_s, settings.ticket_rotation_s);
    let keys = (ttl + 60) / rotation.max(1) + 4;
    if usize::try_from(keys).is_ok_and(|keys| keys <= SESSION_KEYS_MAX) {
        return Ok(());
    }
    Err(refused(format!(
        "a new ticket key every {rotation} s, kept for {ttl} s each, is too often"
    ))
    .detail(format!("{keys} keys at once, {SESSION_KEYS_MAX} are possible"))
    .hint("a longer --rotation or a shorter --ttl"))
}
