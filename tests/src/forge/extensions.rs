//! Extensions: sane ones for each role, and what the words make of them.

use super::{
    Words,
    der::{boolean, context, integer, octets, oid, raw, sequence, set, text},
};

pub(super) fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![oid(id)];
    if critical {
        parts.push(boolean(true));
    }
    parts.push(octets(value));
    sequence(&parts)
}

/// All extensions of one certificate.
pub(super) fn of(
    role: &str,
    words: &Words<'_>,
    key_id: &[u8],
    authority_key_id: Option<&Vec<u8>>,
    own: (&[u8], &[u8]),
) -> Vec<Vec<u8>> {
    let is_ca = role != "leaf";
    let mut all = Vec::new();
    basic_constraints(is_ca, words, &mut all);
    key_usage(is_ca, words, &mut all);
    if words.get("ski") != Some("none") && (is_ca || words.has("ski")) {
        all.push(extension("2.5.29.14", words.get("ski") == Some("critical"), &octets(key_id)));
    }
    match (words.get("aki"), authority_key_id) {
        (Some("none"), _) | (None, None) => {}
        (how, id) => {
            let value = authority(how, id.map_or(key_id, Vec::as_slice), own);
            all.push(extension("2.5.29.35", how == Some("critical"), &value));
        }
    }
    extended_key_usage(is_ca, words, &mut all);
    let default = if is_ca { "none" } else { "dns:shop.example" };
    match words.get("san").unwrap_or(default) {
        "none" => {}
        "empty" => all.push(extension("2.5.29.17", words.has("sancritical"), &sequence(&[]))),
        names => {
            let names: Vec<Vec<u8>> = names.split(',').map(general_name).collect();
            all.push(extension("2.5.29.17", words.has("sancritical"), &sequence(&names)));
        }
    }
    name_constraints(words, &mut all);
    policies(words, &mut all);
    if let Some(place) = words.get("cdp") {
        let point = sequence(&[raw(0xa0, &distribution_point(place))]);
        all.push(extension("2.5.29.31", false, &sequence(&[point])));
    }
    match words.get("ext") {
        Some("critical") => all.push(extension("1.2.3.4.5", true, &raw(5, &[]))),
        Some("plain") => all.push(extension("1.2.3.4.5", false, &raw(5, &[]))),
        Some("twice") => {
            all.push(extension("1.2.3.4.5", false, &raw(5, &[])));
            all.push(extension("1.2.3.4.5", false, &raw(5, &[])));
        }
        Some("aia-critical") => {
            let access = sequence(&[oid("1.3.6.1.5.5.7.48.1"), general_name("uri:http://a.test/")]);
            all.push(extension("1.3.6.1.5.5.7.1.1", true, &sequence(&[access])));
        }
        Some("aia-malformed") => all.push(extension("1.3.6.1.5.5.7.1.1", false, b"nothing")),
        _ => {}
    }
    all
}

/// An authority key identifier; `own` are subject and serial number of the certificate itself.
fn authority(how: Option<&str>, id: &[u8], (subject, serial): (&[u8], &[u8])) -> Vec<u8> {
    let issuer = raw(0xa1, &raw(0xa4, subject));
    let number = |serial: &[u8]| raw(0x82, serial);
    sequence(&match how {
        Some("other") => vec![raw(0x80, &[9; 20])],
        Some("empty") => vec![],
        Some("issuer") => vec![raw(0x80, id), issuer],
        Some("serial") => vec![raw(0x80, id), number(serial)],
        Some("full") => vec![raw(0x80, id), issuer, number(serial)],
        Some("full-other") => vec![raw(0x80, id), issuer, number(&[0x77])],
        _ => vec![raw(0x80, id)],
    })
}

/// A DistributionPointName: names, or `relative` to the issuer.
pub(super) fn distribution_point(place: &str) -> Vec<u8> {
    if place == "relative" {
        return raw(0xa1, &sequence(&[oid("2.5.4.3"), text(0x0c, "lists")]));
    }
    raw(0xa0, &place.split(',').flat_map(general_name).collect::<Vec<u8>>())
}

fn basic_constraints(is_ca: bool, words: &Words<'_>, all: &mut Vec<Vec<u8>>) {
    let how = words.get("bc").unwrap_or(if is_ca { "ca" } else { "none" });
    if how == "none" {
        return;
    }
    let mut parts = Vec::new();
    if how != "leaf" {
        parts.push(boolean(true));
    }
    if let Some(length) = words.get("path") {
        parts.push(integer(&[length.parse().unwrap()]));
    }
    all.push(extension("2.5.29.19", how != "plain", &sequence(&parts)));
}

fn key_usage(is_ca: bool, words: &Words<'_>, all: &mut Vec<Vec<u8>>) {
    // Unused bits, then the bits from digitalSignature (0x80) on.
    let value: &[u8] =
        match words.get("ku").unwrap_or(if is_ca { "authority" } else { "signature" }) {
            "none" => return,
            "authority" => &[1, 0x06],
            "certsign" => &[2, 0x04],
            "crlsign" => &[1, 0x02],
            "signature" => &[7, 0x80],
            "encipher" => &[5, 0x20],
            "data" => &[4, 0x10],
            "signature+certsign" => &[2, 0x84],
            "empty" => &[0],
            other => panic!("no key usage {other}"),
        };
    all.push(extension("2.5.29.15", true, &raw(3, value)));
}

fn extended_key_usage(is_ca: bool, words: &Words<'_>, all: &mut Vec<Vec<u8>>) {
    let how = words.get("eku").unwrap_or(if is_ca { "none" } else { "server" });
    let id = |purpose: &str| match purpose {
        "server" => oid("1.3.6.1.5.5.7.3.1"),
        "client" => oid("1.3.6.1.5.5.7.3.2"),
        "email" => oid("1.3.6.1.5.5.7.3.4"),
        "code" => oid("1.3.6.1.5.5.7.3.3"),
        "any" => oid("2.5.29.37.0"),
        other => panic!("no purpose {other}"),
    };
    match how {
        "none" => {}
        "empty" => all.push(extension("2.5.29.37", false, &sequence(&[]))),
        list => {
            let ids: Vec<Vec<u8>> = list.split(',').map(id).collect();
            all.push(extension("2.5.29.37", false, &sequence(&ids)));
        }
    }
}

fn general_name(word: &str) -> Vec<u8> {
    let (kind, value) = word.split_once(':').unwrap();
    match kind {
        "dns" => text(0x82, value),
        "email" => text(0x81, value),
        "uri" => text(0x86, value),
        "dn" => {
            let part = |part: &str| {
                let (id, value) = part.split_once('~').unwrap();
                let id = if id == "o" { "2.5.4.10" } else { "2.5.4.3" };
                set(&[sequence(&[oid(id), text(0x13, &value.replace('_', " "))])])
            };
            context(4, &sequence(&value.split('+').map(part).collect::<Vec<_>>()))
        }
        "ip" => raw(0x87, &octets_of(value)),
        "id" => raw(0x88, &oid(value)[2..]),
        other => panic!("no kind of name {other}"),
    }
}

/// `10.0.0.0`, `10.0.0.0/255.0.0.0`, `::1`.
fn octets_of(text: &str) -> Vec<u8> {
    let one = |part: &str| match part.parse::<std::net::IpAddr>().unwrap() {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    text.split('/').flat_map(one).collect()
}

fn name_constraints(words: &Words<'_>, all: &mut Vec<Vec<u8>>) {
    let Some(how) = words.get("nc") else { return };
    let side = |sign: char| -> Vec<Vec<u8>> {
        let trees = how.split(',').filter_map(|tree| tree.strip_prefix(sign));
        trees.filter(|tree| *tree != "none").map(|tree| sequence(&[general_name(tree)])).collect()
    };
    let is_none = |sign: char| how.split(',').any(|tree| tree.strip_prefix(sign) == Some("none"));
    let mut parts = Vec::new();
    for (number, sign) in [(0, '+'), (1, '-')] {
        let trees = side(sign);
        if !trees.is_empty() || is_none(sign) {
            parts.push(raw(0xa0 | number, &trees.concat()));
        }
    }
    all.push(extension("2.5.29.30", !words.has("ncplain"), &sequence(&parts)));
}

fn policies(words: &Words<'_>, all: &mut Vec<Vec<u8>>) {
    let id = |policy: &str| if policy == "any" { oid("2.5.29.32.0") } else { oid(policy) };
    if let Some(list) = words.get("pol") {
        let found: Vec<Vec<u8>> = list.split(',').map(|policy| sequence(&[id(policy)])).collect();
        all.push(extension("2.5.29.32", words.has("polcritical"), &sequence(&found)));
    }
    if let Some(mapping) = words.get("map") {
        let (from, to) = mapping.split_once('>').unwrap();
        all.push(extension("2.5.29.33", true, &sequence(&[sequence(&[id(from), id(to)])])));
    }
    if let Some(constraint) = words.get("pc") {
        let number = |text: &str| vec![text.parse::<u8>().unwrap()];
        let value = match constraint.split_once(':') {
            Some(("explicit", skip)) => sequence(&[raw(0x80, &number(skip))]),
            Some(("mapping", skip)) => sequence(&[raw(0x81, &number(skip))]),
            _ => sequence(&[]),
        };
        all.push(extension("2.5.29.36", !words.has("pcplain"), &value));
    }
    if let Some(skip) = words.get("inhibit") {
        let value = integer(&[skip.parse().unwrap()]);
        all.push(extension("2.5.29.54", !words.has("inhibitplain"), &value));
    }
}
