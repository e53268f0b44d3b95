//! Who may have issued whom, many times over.

use super::*;

pub(super) fn all() -> Vec<Hostile> {
    let mut all: Vec<Hostile> = ["p256", "p384", "ed25519"].into_iter().map(same_names).collect();
    all.extend([big_moduli(8_192), big_moduli(16_384), big_moduli(400_000)]);
    all.extend([loops(), deep(), many_anchors()]);
    all.push(layered("layers of authorities that all lead to an anchor", |draft| draft));
    all
}

/// Every authority has the name of the issuer and the key identifier that the leaf names, but
/// another key: signatures are well made and wrong.
fn same_names(kind: &'static str) -> Hostile {
    let (key, signer, same) = (Key::make(kind), Key::make(kind), name("Same"));
    let subject = name("leaf");
    let mut wrong = leaf(&subject, &same, &key, &signer).with(shop());
    wrong.extensions[0] = identifiers(&key, &key)[1].clone();
    let leaf = wrong.pem();
    let mut draft = authority(&same, &same, &key, &key);
    let intermediates = fill(leaf.len(), |serial| {
        draft.serial = serial;
        draft.pem()
    });
    let label = match kind {
        "p256" => "one name, failing P-256 signatures",
        "p384" => "one name, failing P-384 signatures",
        _ => "one name, failing Ed25519 signatures",
    };
    Hostile { name: label, leaf, intermediates, anchors: String::new(), crls: Vec::new() }
}

/// RSA keys of that many bits, with the largest exponent that ring takes.
fn big_moduli(bits_: usize) -> Hostile {
    let rsa = || sequence(&[oid("1.2.840.113549.1.1.1"), raw(5, &[])]);
    let modulus: Vec<u8> = std::iter::once(0).chain(vec![0xff; bits_ / 8]).collect();
    let numbers = sequence(&[integer(&modulus), integer(&[1, 0xff, 0xff, 0xff, 0xff])]);
    let key = Key::Public(sequence(&[rsa(), bits(&numbers)]));
    let same = name("Same");
    let small = Key::make("ed25519");
    let algorithm = sequence(&[oid("1.2.840.113549.1.1.13"), raw(5, &[])]);
    let signature = Some((algorithm, vec![0x7f; bits_ / 8]));
    let mut wrong = leaf(&same, &same, &small, &key).with(shop());
    wrong.signature = signature.clone();
    let leaf = wrong.pem();
    let mut draft = authority(&same, &same, &key, &key);
    draft.signature = Some((small.algorithm(None), vec![1; 64]));
    let anchors = fill(leaf.len(), |serial| {
        draft.serial = serial;
        draft.pem()
    });
    let name = match bits_ {
        8_192 => "RSA 8192 with a large exponent",
        16_384 => "RSA 16384 with a large exponent",
        _ => "RSA of 400,000 bits",
    };
    Hostile { name, leaf, intermediates: String::new(), anchors, crls: Vec::new() }
}

/// Authorities of which each issued each, and nobody is trusted.
fn loops() -> Hostile {
    let keys: Vec<Key> = (0..30).map(|_| Key::make("ed25519")).collect();
    let names: Vec<Vec<u8>> = (0..30).map(|number| name(&format!("CA {number}"))).collect();
    let leaf = leaf(&name("leaf"), &names[0], &keys[0], &keys[0]).with(shop()).pem();
    let intermediates = fill(leaf.len(), |serial| {
        let (upper, lower) = (serial / 30 % 30, serial % 30);
        authority(&names[lower], &names[upper], &keys[lower], &keys[upper]).pem()
    });
    let anchors = String::new();
    Hostile {
        name: "loops of cross-signed authorities",
        leaf,
        intermediates,
        anchors,
        crls: vec![],
    }
}

/// A straight chain, longer than any.
fn deep() -> Hostile {
    let key = Key::make("p384");
    let names: Vec<Vec<u8>> = (0..1_001).map(|number| name(&format!("CA {number}"))).collect();
    let leaf = leaf(&name("leaf"), &names[0], &key, &key).with(shop()).pem();
    let intermediates =
        fill(leaf.len(), |serial| authority(&names[serial], &names[serial + 1], &key, &key).pem());
    let anchors = String::new();
    Hostile { name: "a deep chain", leaf, intermediates, anchors, crls: vec![] }
}

/// All of them issued the leaf, which is for another name.
fn many_anchors() -> Hostile {
    let (key, same) = (Key::make("p384"), name("Same"));
    let other = names(&text(0x82, "other.example"), 15);
    let leaf = leaf(&name("leaf"), &same, &key, &key).with(other).pem();
    let mut draft = authority(&same, &same, &key, &key);
    let anchors = fill(leaf.len(), |serial| {
        draft.serial = serial;
        draft.pem()
    });
    let intermediates = String::new();
    Hostile { name: "many right anchors", leaf, intermediates, anchors, crls: vec![] }
}

/// Fifteen layers of two authorities, each of which issued both below, under one anchor; the
/// leaf is for another name, so that each of 16,384 paths is right until its last rule.
pub(super) fn layered(
    label: &'static str,
    change: impl for<'d> Fn(Draft<'d>) -> Draft<'d>,
) -> Hostile {
    let key = Key::make("ed25519");
    let names_: Vec<Vec<u8>> = (0..16).map(|number| name(&format!("Layer {number}"))).collect();
    let other = names(&text(0x82, "other.example"), 15);
    let leaf = change(leaf(&name("leaf"), &names_[0], &key, &key)).with(other).pem();
    let mut intermediates = String::new();
    for layer in 0..14 {
        for serial in 0..2 {
            let mut draft = change(authority(&names_[layer], &names_[layer + 1], &key, &key));
            draft.serial = serial;
            intermediates.push_str(&draft.pem());
        }
    }
    let anchors = change(authority(&names_[14], &names_[14], &key, &key)).pem();
    Hostile { name: label, leaf, intermediates, anchors, crls: Vec::new() }
}
