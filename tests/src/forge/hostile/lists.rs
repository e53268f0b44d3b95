//! Revocation lists of no end.

use super::*;

pub(super) fn all() -> Vec<Hostile> {
    let unknown = extension("1.2.3", false, &[]);
    vec![
        one_list("a list of short entries", "ed25519", None),
        one_list("a list under P-384", "p384", None),
        one_list("a list of entries with an extension", "ed25519", Some(unknown.clone())),
        one_list("a list of entries with many extensions", "ed25519", Some(unknown.repeat(5_000))),
        many_lists(),
        large_name(),
    ]
}

/// A list of that issuer.
fn list(issuer: &[u8], key: &Key, entries: &[u8]) -> Vec<u8> {
    let noon = i64::try_from(NOON).unwrap();
    let extensions = [
        extension("2.5.29.35", false, &sequence(&[raw(0x80, &key.id())])),
        extension("2.5.29.20", false, &integer(&[1])),
    ];
    let mut parts = vec![
        integer(&[1]),
        key.algorithm(None),
        issuer.to_vec(),
        utc_time(noon - 86_400),
        utc_time(noon + 86_400),
    ];
    if !entries.is_empty() {
        parts.push(raw(0x30, entries));
    }
    parts.push(context(0, &sequence(&extensions)));
    let tbs = sequence(&parts);
    let signature = key.sign(&tbs, None);
    sequence(&[tbs, key.algorithm(None), bits(&signature)])
}

fn plain(label: &'static str, key: &Key, crls: Vec<Vec<u8>>) -> Hostile {
    let issuer = name("Issuer");
    let leaf = leaf(&name("leaf"), &issuer, key, key).with(shop()).pem();
    // Several ways up, of which each asks the lists.
    let mut draft = authority(&issuer, &issuer, key, key);
    let mut anchors = String::new();
    for serial in 0..20 {
        draft.serial = serial;
        anchors.push_str(&draft.pem());
    }
    Hostile { name: label, leaf, intermediates: String::new(), anchors, crls }
}

/// As long as an honest one may be: fifteen intermediates, all of P-384, and a list of 15 MB.
pub(super) fn longest() -> Hostile {
    let keys: Vec<Key> = (0..16).map(|_| Key::make("p384")).collect();
    let names: Vec<Vec<u8>> = (0..16).map(|number| name(&format!("CA {number}"))).collect();
    let leaf = leaf(&name("leaf"), &names[0], &keys[0], &keys[0]).with(shop()).pem();
    let above = |lower: usize, upper: usize| {
        authority(&names[lower], &names[upper], &keys[lower], &keys[upper]).pem()
    };
    let intermediates = (0..15).map(|lower| above(lower, lower + 1)).collect();
    let crls = vec![list(&names[0], &keys[0], &entries(15_000_000, None))];
    Hostile { name: "long and honest", leaf, intermediates, anchors: above(15, 15), crls }
}

fn one_list(label: &'static str, kind: &str, extensions: Option<Vec<u8>>) -> Hostile {
    let key = Key::make(kind);
    let mut entries = entries(BYTES_MAX - 60_000, extensions);
    // The leaf's own number stands last: each way up ends there, and the next one is tried.
    let date = utc_time(i64::try_from(NOON).unwrap());
    entries.extend(sequence(&[integer(&0x0100_0000_u32.to_be_bytes()), date]));
    plain(label, &key, vec![list(&name("Issuer"), &key, &entries)])
}

fn entries(bytes: usize, extensions: Option<Vec<u8>>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut serial = 0x0200_0000_u32;
    while entries.len() < bytes {
        let mut entry =
            vec![integer(&serial.to_be_bytes()), utc_time(i64::try_from(NOON).unwrap())];
        entry.extend(extensions.as_ref().map(|all| raw(0x30, all)));
        entries.extend(sequence(&entry));
        serial += 1;
    }
    entries
}

fn many_lists() -> Hostile {
    let key = Key::make("p384");
    let one = list(&name("Issuer"), &key, &[]);
    let count = (BYTES_MAX - 30_000) / one.len();
    plain("thousands of lists", &key, vec![one; count])
}

fn large_name() -> Hostile {
    let key = Key::make("ed25519");
    let attribute = set(&[sequence(&[raw(6, &[0x2a]), raw(5, &[])])]);
    let issuer = sequence(&[attribute.repeat((BYTES_MAX - 30_000) / attribute.len())]);
    plain("a list by a name of many parts", &key, vec![list(&issuer, &key, &[])])
}
