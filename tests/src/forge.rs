//! Certificates and revocation lists of any shape, also of forbidden ones, from a few words.
//!
//! A case of `fixtures/path_validation.txt` names certificates from the anchor to the leaf. Each
//! is `root`, `ca` or `leaf` with sane contents, and words that change them.

mod der;
mod extensions;
mod hostile;
mod key;

use std::collections::HashMap;

use der::{bits, context, integer, oid, raw, sequence, set, text, utc_time};
pub use hostile::{Hostile, hostile, longest};
pub(crate) use key::Key;

/// Noon of the tests' world, 2026-01-01, in seconds since 1970.
pub const NOON: u64 = 1_767_225_600;
const DAY: i64 = 86_400;

/// What a case gives to the command.
pub struct Forged {
    /// The certificate in question, PEM.
    pub leaf: String,
    /// Certificates beside it, PEM.
    pub intermediates: String,
    /// Trusted ones, PEM.
    pub anchors: String,
    /// A revocation list of the leaf's issuer, PEM.
    pub crl: Option<String>,
}

/// The words of one certificate: `key=value`, or a bare flag.
pub(crate) struct Words<'a>(HashMap<&'a str, &'a str>);

impl<'a> Words<'a> {
    fn parse(text: &'a str) -> (&'a str, Words<'a>) {
        let mut words = text.split_whitespace();
        let role = words.next().unwrap();
        let pair = |word: &'a str| word.split_once('=').unwrap_or((word, ""));
        (role, Words(words.map(pair).collect()))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn number(&self, key: &str, default: i64) -> i64 {
        self.get(key).map_or(default, |text| text.parse().unwrap())
    }
}

struct Made {
    der: Vec<u8>,
    subject: Vec<u8>,
    serial: Vec<u8>,
    key: Key,
}

/// Makes what a case describes; `crl` says how its revocation list is, if it has one.
pub fn forge(certificates: &str, crl: Option<&str>) -> Forged {
    let mut made: Vec<Made> = Vec::new();
    let (mut anchors, mut intermediates) = (String::new(), String::new());
    let parts: Vec<&str> = certificates.split(';').map(str::trim).collect();
    for (place, part) in parts.iter().enumerate() {
        let (role, words) = Words::parse(part);
        let one = certificate(place, role, &words, &made);
        let pem = pem("CERTIFICATE", &one.der);
        let is_last = place + 1 == parts.len();
        match words.get("as") {
            Some("anchor") => anchors.push_str(&pem),
            Some("intermediate") => intermediates.push_str(&pem),
            Some("nothing") => {}
            None if is_last => {}
            None if role == "root" => anchors.push_str(&pem),
            _ => intermediates.push_str(&pem),
        }
        made.push(one);
    }
    let leaf = made.last().unwrap();
    let (_, words) = Words::parse(parts.last().unwrap());
    let issuer = issuer_of(made.len() - 1, &words, &made);
    let crl = crl.map(|kind| {
        // `by=N` or `by=N:revoked`: that certificate's key signs in the issuer's name.
        let (kind, signer) = match kind.strip_prefix("by=") {
            Some(by) => {
                let (place, kind) = by.split_once(':').unwrap_or((by, "good"));
                (kind, &made[place.parse::<usize>().unwrap()].key)
            }
            None => (kind, &issuer.key),
        };
        pem("X509 CRL", &revocation_list(kind, leaf, issuer, signer))
    });
    Forged { leaf: pem("CERTIFICATE", &leaf.der), intermediates, anchors, crl }
}

/// Index of the issuer: the one before, unless `by` says otherwise.
fn issuer_of<'m>(place: usize, words: &Words<'_>, made: &'m [Made]) -> &'m Made {
    let issuer = words.get("by").map(|text| text.parse::<usize>().unwrap());
    &made[issuer.unwrap_or(place.saturating_sub(1))]
}

fn certificate(place: usize, role: &str, words: &Words<'_>, made: &[Made]) -> Made {
    let like = words.get("like").map(|text| &made[text.parse::<usize>().unwrap()]);
    let key = match like {
        Some(other) => other.key.clone(),
        None => Key::make(words.get("key").unwrap_or("p256")),
    };
    let common_name = words.get("cn").map_or_else(
        || if role == "leaf" { "shop.example".to_owned() } else { format!("{role} {place}") },
        |name| name.replace('_', " "),
    );
    let subject = match like {
        Some(other) => other.subject.clone(),
        None => name(&common_name, words),
    };
    let is_self_signed = role == "root" && !words.has("by") || words.has("self");
    let issuer = (!is_self_signed).then(|| issuer_of(place, words, made));
    let (issuer_name, signer) = match issuer {
        Some(issuer) => (issuer.subject.clone(), &issuer.key),
        None => (subject.clone(), &key),
    };
    let issuer_name = match words.get("issuer") {
        Some("none") => sequence(&[]),
        Some(other) => name(&other.replace('_', " "), words),
        None => issuer_name,
    };
    let serial = match words.get("serial") {
        Some("zero") => vec![0],
        Some("negative") => vec![0x85, 1],
        Some("long") => vec![0x11; 21],
        _ => vec![1, u8::try_from(place).unwrap()],
    };
    let algorithm = signer.algorithm(words.get("sig"));
    let date =
        |key, default| utc_time(i64::try_from(NOON).unwrap() + words.number(key, default) * DAY);
    let mut tbs = Vec::new();
    if words.get("version") != Some("1") {
        tbs.extend(context(0, &integer(&[2])));
    }
    tbs.extend(integer(&serial));
    tbs.extend(if words.get("sig") == Some("differs") {
        key::other_algorithm()
    } else {
        algorithm.clone()
    });
    tbs.extend(issuer_name);
    tbs.extend(sequence(&[date("from", -100), date("till", 1_000)]));
    tbs.extend(subject.clone());
    tbs.extend(key.spki());
    let authority_key_id = signer.id();
    let authority_key_id = (!is_self_signed).then_some(&authority_key_id);
    let all = extensions::of(role, words, &key.id(), authority_key_id, (&subject, &serial));
    if words.get("version") != Some("1") && !all.is_empty() {
        tbs.extend(context(3, &sequence(&all)));
    }
    let tbs = sequence(&[tbs]);
    let mut signature = signer.sign(&tbs, words.get("sig"));
    if words.get("sig") == Some("flipped") {
        let last = signature.len() - 1;
        signature[last] ^= 1;
    }
    let der = sequence(&[tbs, algorithm, bits(&signature)]);
    Made { der, subject, serial, key }
}

fn name(common_name: &str, words: &Words<'_>) -> Vec<u8> {
    if words.get("subject") == Some("none") {
        return sequence(&[]);
    }
    let attribute = |id: &str, value: Vec<u8>| set(&[sequence(&[oid(id), value])]);
    let mut parts = Vec::new();
    if let Some(organization) = words.get("o") {
        parts.push(attribute("2.5.4.10", text(0x0c, &organization.replace('_', " "))));
    }
    parts.push(attribute("2.5.4.3", text(0x0c, common_name)));
    if let Some(email) = words.get("email") {
        parts.push(attribute("1.2.840.113549.1.9.1", text(0x16, email)));
    }
    sequence(&parts)
}

/// A list of the issuer that is as `kind` says.
fn revocation_list(kind: &str, leaf: &Made, issuer: &Made, signer: &Key) -> Vec<u8> {
    let at = |days: i64| utc_time(i64::try_from(NOON).unwrap() + days * DAY);
    let other = Key::make("p256");
    let signer = if kind.starts_with("forged") { &other } else { signer };
    let serial = if kind.ends_with("revoked") { leaf.serial.clone() } else { vec![0x55] };
    let (from, till) = match kind {
        "expired" => (-20, -10),
        "future" => (10, 20),
        // Not valid yet by a real clock.
        "far-future" => (5_000, 5_010),
        _ => (-10, 10),
    };
    let extension =
        |id: &str, critical: bool, value: Vec<u8>| extensions::extension(id, critical, &value);
    let mut all = Vec::new();
    if kind != "no-aki" {
        all.push(extension("2.5.29.35", false, sequence(&[raw(0x80, &issuer.key.id())])));
    }
    if kind != "no-number" {
        all.push(extension("2.5.29.20", kind == "critical-number", integer(&[1])));
    }
    match kind {
        "delta" => all.push(extension("2.5.29.27", true, integer(&[1]))),
        "unknown" => all.push(extension("1.2.3.4", true, vec![5, 0])),
        "indirect" => all.push(extension("2.5.29.28", true, sequence(&[raw(0x84, &[0xff])]))),
        "only-users" | "only-authorities" | "only-attributes" => {
            let tag = ["only-users", "only-authorities", "", "", "only-attributes"];
            let tag = tag.iter().position(|one| *one == kind).unwrap() + 1;
            let flag = raw(0x80 | u8::try_from(tag).unwrap(), &[0xff]);
            all.push(extension("2.5.29.28", true, sequence(&[flag])))
        }
        place if place.starts_with("at=") => {
            let point = raw(0xa0, &extensions::distribution_point(&place[3..]));
            all.push(extension("2.5.29.28", true, sequence(&[point])))
        }
        _ => {}
    }
    let mut entry = vec![integer(&serial), at(-11)];
    if kind == "unknown-entry" {
        entry.push(sequence(&[extension("1.2.3.5", true, vec![5, 0])]));
    }
    let other = |serial: u16| sequence(&[integer(&serial.to_be_bytes()), at(-11)]);
    let entries = match kind {
        "twice" => vec![sequence(&entry); 2],
        // More than fits into one command.
        "long" => (0x4000..0x5000).map(other).collect(),
        // More than 1 MiB as PEM.
        "large-revoked" => (0x1000..0xf000).map(other).chain([sequence(&entry)]).collect(),
        _ => vec![sequence(&entry)],
    };
    let name = if kind == "foreign" {
        name("Somebody", &Words::parse("root").1)
    } else {
        issuer.subject.clone()
    };
    let mut parts = vec![integer(&[1]), signer.algorithm(None), name, at(from)];
    if kind != "no-next" {
        parts.push(at(till));
    }
    parts.push(sequence(&entries));
    parts.push(context(0, &sequence(&all)));
    let tbs = sequence(&parts);
    let signature = signer.sign(&tbs, None);
    sequence(&[tbs, signer.algorithm(None), bits(&signature)])
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
