//! Values as people read them.

use std::borrow::Borrow;

use conclave_api::{
    account::{Issued, Purpose, Reason},
    certificate::Certificate,
    change::DryRun,
    client_auth::Shown as Policy,
    domain::{Domain, Pki, Scope},
    finding::Severity,
    key::{Family, Key},
    node::Node,
    problem::Problem,
};
use conclave_system::clock;
use jiff::{SpanRound, Timestamp, Unit};

/// Modes of a domain, with their names.
pub(crate) const PKI: [(&str, &str, Pki); 3] = [
    ("disabled", "Disabled", Pki::Disabled),
    ("test", "Test", Pki::Test),
    ("enabled", "Enabled", Pki::Enabled),
];
/// Kinds of keys of domains, with their names.
pub(crate) const ALGORITHMS: [(&str, &str); 6] = [
    ("p256", "EC P-256"),
    ("p384", "EC P-384"),
    ("ed25519", "Ed25519"),
    ("rsa2048", "RSA 2048"),
    ("rsa3072", "RSA 3072"),
    ("rsa4096", "RSA 4096"),
];
/// Kinds of keys of accounts, with their names.
pub(crate) const ACCOUNT_ALGORITHMS: [(&str, &str); 7] = [
    ("p256", "EC P-256"),
    ("p384", "EC P-384"),
    ("ed25519", "Ed25519, signing only"),
    ("x25519", "X25519, encryption only"),
    ("rsa2048", "RSA 2048"),
    ("rsa3072", "RSA 3072"),
    ("rsa4096", "RSA 4096"),
];
/// Fields of a subject, with their names.
pub(crate) const SUBJECT: [(&str, &str); 6] = [
    ("country", "Country"),
    ("province", "Province"),
    ("city", "City"),
    ("organization", "Organization"),
    ("unit", "Unit"),
    ("contact", "Contact"),
];
/// Purposes of an account's key, as the API names them, and what people call them.
pub(crate) const PURPOSES: [(&str, &str, Purpose); 3] = [
    ("sign-and-encrypt", "signing and encryption", Purpose::SignAndEncrypt),
    ("sign", "signing only", Purpose::Sign),
    ("encrypt", "encryption only", Purpose::Encrypt),
];
/// Reasons of a revocation, as the API names them, and what they say.
pub(crate) const REASONS: [(&str, &str, Reason); 5] = [
    ("unspecified", "none is given", Reason::Unspecified),
    ("key-compromise", "the private key is known to others, or may be", Reason::KeyCompromise),
    ("affiliation-changed", "the name is no longer right", Reason::AffiliationChanged),
    ("superseded", "another certificate replaces it", Reason::Superseded),
    ("cessation-of-operation", "it is no longer needed", Reason::CessationOfOperation),
];
/// Pages of a domain, by the ends of their paths, and their names.
const TABS: [(&str, &str); 6] = [
    ("", "PKI"),
    ("/client-auth", "Client certificates"),
    ("/smime", "S/MIME"),
    ("/accounts", "Accounts"),
    ("/trusted", "Trusted"),
    ("/history", "History"),
];
/// Most days before its end, and share of its life, in which a certificate is said to expire soon:
/// those of the findings about domains.
const SOON_DAYS_MAX: i64 = 30;
const SOON_SHARE: i64 = 4;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Returns a time in words, seen from now: `in 29 days`, `3 minutes ago`.
pub(crate) fn ago(text: &str) -> String {
    let now = i64::try_from(clock::now().0 / 1000).unwrap_or(i64::MAX);
    match text.parse::<Timestamp>() {
        Ok(time) => words(time.as_second().saturating_sub(now)),
        Err(_) => text.to_owned(),
    }
}

fn words(seconds: i64) -> String {
    let span = match seconds.abs() {
        0..45 => return if seconds > 0 { "in a moment" } else { "just now" }.to_owned(),
        45..3600 => counted(round(seconds, 60), "minute"),
        3600..172_800 => counted(round(seconds, 3600), "hour"),
        172_800..=63_072_000 => counted(round(seconds, DAY), "day"),
        _ => counted(round(seconds, 365 * DAY), "year"),
    };
    match seconds > 0 {
        true => format!("in {span}"),
        false => format!("{span} ago"),
    }
}

fn round(seconds: i64, unit: i64) -> u64 {
    // Never less than one: below that there is a smaller unit.
    (seconds.unsigned_abs().saturating_add(unit.unsigned_abs() / 2) / unit.unsigned_abs()).max(1)
}

/// Returns a number with its noun: `1 day`, `2 days`.
pub(crate) fn counted(count: impl Borrow<u64>, noun: &str) -> String {
    match *count.borrow() {
        1 => format!("1 {noun}"),
        count => format!("{} {noun}s", number(count)),
    }
}

/// Returns whether nobody here knows how far nodes are behind: the leader alone does.
pub(crate) fn is_lag_unknown<N: Borrow<Node>>(nodes: impl AsRef<[N]>) -> bool {
    nodes.as_ref().iter().all(|node| node.borrow().lag_entries.is_none())
}

/// Returns what a change leaves as it is.
pub(crate) fn unchanged(tried: &DryRun) -> String {
    let same = tried.differences.iter().filter(|one| one.before == one.after);
    let texts =
        same.map(|one| format!("{} ({})", one.what, one.before.as_deref().unwrap_or("none")));
    texts.collect::<Vec<_>>().join(", ")
}

/// Returns a number with spaces between its thousands.
pub(crate) fn number(value: impl Borrow<u64>) -> String {
    let digits = value.borrow().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Returns a duration in its largest units: `41 s`, `2 h 5 min`.
pub(crate) fn seconds(seconds: impl Borrow<u64>) -> String {
    let seconds = *seconds.borrow();
    let span = jiff::Span::new().seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let largest = SpanRound::new().largest(Unit::Day).days_are_24_hours();
    let Ok(span) = span.round(largest) else { return format!("{seconds} s") };
    let parts = [
        (i64::from(span.get_days()), "d"),
        (i64::from(span.get_hours()), "h"),
        (span.get_minutes(), "min"),
        (span.get_seconds(), "s"),
    ];
    let shown = parts.iter().filter(|(count, _)| *count > 0).take(2);
    let shown: Vec<String> = shown.map(|(count, unit)| format!("{count} {unit}")).collect();
    match shown.is_empty() {
        true => "0 s".to_owned(),
        false => shown.join(" "),
    }
}

/// Returns a hash in groups, so that two can be compared by eye.
pub(crate) fn groups(hex: &str) -> String {
    let letters: Vec<char> = hex.chars().filter(|letter| *letter != ':').collect();
    let groups = letters.chunks(8).map(|group| group.iter().collect::<String>());
    groups.collect::<Vec<_>>().join(" ")
}

/// Returns the beginning of a hash, enough to know it by.
pub(crate) fn short(hex: &str) -> String {
    hex.chars().take(16).collect()
}

/// Returns the path of the page where the owner of an account uses an invitation.
pub(crate) fn enter_path(address: &str) -> String {
    conclave_api::path::with_name(conclave_api::path::ENTER_PAGE, address)
}

/// Returns the common name of a subject, or all of it.
pub(crate) fn common_name(subject: &str) -> &str {
    let name = subject.split(", ").find_map(|part| part.strip_prefix("CN="));
    name.unwrap_or(subject)
}

/// Returns whether two texts are the same. Templates have them behind references of any depth.
pub(crate) fn is(one: impl AsRef<str>, other: impl AsRef<str>) -> bool {
    one.as_ref() == other.as_ref()
}

/// Returns things with commas between them, as they are typed.
pub(crate) fn joined<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns what a field shows for a text that may be missing.
pub(crate) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// Returns a number, or a dash.
pub(crate) fn maybe(value: &Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// Returns a class for the colour of a node's state, and a sign.
pub(crate) fn node_state(state: &str) -> (&'static str, &'static str) {
    match state {
        "ready" => ("good", "✓"),
        "lagging" | "draining" => ("warn", "!"),
        _ => ("bad", "✗"),
    }
}

/// Returns a class for the colour of a listener's state on a node, and a sign.
pub(crate) fn listener_state(state: &str) -> (&'static str, &'static str) {
    match state {
        "open" => ("good", "✓"),
        "lagging" | "draining" => ("warn", "!"),
        _ => ("bad", "✗"),
    }
}

/// Returns a class for the colour of a finding.
pub(crate) fn severity(severity: &Severity) -> &'static str {
    match severity {
        Severity::Note => "off",
        Severity::Warning => "warn",
        Severity::Error => "bad",
    }
}

/// Returns the weight of a finding in a word.
pub(crate) fn severity_word(severity: &Severity) -> &'static str {
    match severity {
        Severity::Note => "Note:",
        Severity::Warning => "Warning:",
        Severity::Error => "Error:",
    }
}

/// Returns the family of a key as the API names it.
pub(crate) fn family(key: &Key) -> &'static str {
    match key.family {
        Family::Ec => "ec",
        Family::Rsa => "rsa",
    }
}

/// Returns the scope of a domain as the API names it.
pub(crate) fn scope(domain: &Domain) -> &'static str {
    match domain.scope {
        Scope::Shared => "shared",
        Scope::Local => "local",
    }
}

/// Returns the pages of a domain. A local one has no accounts.
pub(crate) fn tabs(domain: &Domain) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let is_local = domain.scope == Scope::Local;
    TABS.iter().filter(move |(end, _)| !is_local || !["/smime", "/accounts"].contains(end))
}

/// Returns the path of the page of an account.
pub(crate) fn account_path(domain: &str, address: &str) -> String {
    format!("/ui/domains/{}/accounts/{}", escaped(domain), escaped(address))
}

/// Returns the purpose of a key in words.
pub(crate) fn purpose(purpose: &Purpose) -> &'static str {
    PURPOSES.iter().find(|(_, _, one)| one == purpose).map_or("", |(_, words, _)| words)
}

/// Returns a class for the colour of an account's certificate, a sign, and its state in words.
pub(crate) fn certificate_state(issued: &Issued) -> (&'static str, &'static str, &'static str) {
    match issued.revoked {
        Some(_) => ("bad", "✗", "revoked"),
        None if issued.certificate.days_left < 0 => ("bad", "✗", "expired"),
        None if expires_soon(&issued.certificate) => ("warn", "!", "expires soon"),
        None => ("good", "✓", "valid"),
    }
}

fn expires_soon(certificate: &Certificate) -> bool {
    let second = |text: &str| text.parse().map_or(0, Timestamp::as_second);
    let life = second(&certificate.not_after).saturating_sub(second(&certificate.not_before));
    certificate.days_left < (life / DAY / SOON_SHARE).min(SOON_DAYS_MAX)
}

/// Returns the form that generates a key: a domain with a key gets one that waits.
pub(crate) fn generate_form(domain: &Domain) -> &'static str {
    if domain.credentials.is_empty() { "key.generate" } else { "key.pending" }
}

/// Returns whether a domain has no certificate.
pub(crate) fn lacks_certificate(domain: &Domain) -> bool {
    domain.credentials.iter().all(|one| one.certificate.is_none())
}

/// Returns whether a policy asks for certificates of this issuer.
pub(crate) fn is_issuer(policy: &Policy, sha256: &str) -> bool {
    policy.client_auth.as_ref().is_some_and(|asked| asked.issuer == sha256)
}

/// Returns whether a policy refuses clients without a certificate.
pub(crate) fn is_required(policy: &Policy) -> bool {
    policy.client_auth.as_ref().is_some_and(|asked| asked.required)
}

/// Escapes a text for a query.
pub(crate) fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Adds a query to a path.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query);
    format!("{path}?{}", text.finish())
}

/// Returns a command as it is typed in a shell.
pub(crate) fn command(words: &[&str]) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,+@%".contains(letter);
    let quoted = words.iter().map(|word| match !word.is_empty() && word.chars().all(is_plain) {
        true => (*word).to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    let quoted = quoted.collect::<Vec<_>>().join(" ");
    format!("conclave {quoted}")
}

/// Returns a command about one object as it is typed in a shell.
pub(crate) fn command_of(words: &str, object: &str) -> String {
    command(&words.split(' ').chain([object]).collect::<Vec<_>>())
}

/// Returns where in the input a problem is.
pub(crate) fn location(problem: &Problem) -> Option<String> {
    let location = problem.location.as_ref()?;
    let text = location.text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    Some(format!("{}, line {}{text}", location.file, location.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_words() {
        for (seconds, wanted) in [
            (0, "just now"),
            (-44, "just now"),
            (50, "in 1 minute"),
            (-3 * 60, "3 minutes ago"),
            (90 * 60, "in 2 hours"),
            (47 * 3600, "in 47 hours"),
            (29 * DAY, "in 29 days"),
            (-400 * DAY, "400 days ago"),
            (10 * 365 * DAY, "in 10 years"),
        ] {
            assert_eq!(words(seconds), wanted, "{seconds}");
        }
        assert_eq!(ago("not a time"), "not a time");
        assert_eq!(
            [0, 41, 7500, 3 * 86400 + 61].map(|count: u64| seconds(count)),
            ["0 s", "41 s", "2 h 5 min", "3 d 1 min"]
        );
    }

    #[test]
    fn a_certificate_of_an_account_is_revoked_over_or_near_its_end() {
        let issued = |days_left: i64, revoked: Option<&str>| Issued {
            certificate: Certificate {
                subject: "CN=Ann Lee".into(),
                issuer: "CN=S/MIME CA of shop.example".into(),
                serial: "01".into(),
                not_before: "2026-01-01T00:00:00Z".into(),
                not_after: "2026-04-11T00:00:00Z".into(),
                days_left,
                names: Vec::new(),
                algorithm: "EC P-256".into(),
                sha256: String::new(),
                key_sha256: String::new(),
                pem: String::new(),
            },
            own: true,
            revoked: revoked.map(str::to_owned),
            chain: Vec::new(),
        };
        for (days_left, revoked, wanted) in [
            (50, None, "valid"),
            (25, None, "valid"),
            (24, None, "expires soon"),
            (0, None, "expires soon"),
            (-1, None, "expired"),
            (50, Some("2026-02-01T00:00:00Z"), "revoked"),
            (-1, Some("2026-02-01T00:00:00Z"), "revoked"),
        ] {
            assert_eq!(certificate_state(&issued(days_left, revoked)).2, wanted, "{days_left}");
        }
    }

    #[test]
    fn numbers_hashes_and_commands_are_readable() {
        assert_eq!(number(1_234_567_u64), "1\u{202f}234\u{202f}567");
        assert_eq!(number(12_u64), "12");
        assert_eq!(groups("0123456789abcdef01"), "01234567 89abcdef 01");
        assert_eq!(common_name("O=Shop, CN=shop.example"), "shop.example");
        assert_eq!(common_name("O=Shop"), "O=Shop");
        let words = ["domain", "create", "*.a.example", "it's", ""];
        assert_eq!(command(&words), r"conclave domain create '*.a.example' 'it'\''s' ''");
        let query = [("a", "x y&".to_owned())];
        assert_eq!(with_query("/v1/x", &query), "/v1/x?a=x+y%26");
    }
}
