//! Certificates with more in them than belongs there.

use super::*;

pub(super) fn all() -> Vec<Hostile> {
    let id = |number: u16| {
        raw(6, &[0x2a, 0x81 | (number >> 7) as u8 & 0x7f | 0x80, (number & 0x7f) as u8])
    };
    let many = |one: &dyn Fn(u16) -> Vec<u8>, bytes: usize| -> Vec<u8> {
        let mut all = Vec::new();
        let mut number = 0;
        while all.len() < bytes {
            all.extend(one(number));
            number = number.wrapping_add(1);
        }
        all
    };
    let unknown = many(&|number| sequence(&[id(number), octets(&[])]), EXTENSION_BYTES);
    let policies = many(&|number| sequence(&[id(number)]), 20_000);
    let policies = extension("2.5.29.32", false, &sequence(&[policies]));
    let pairs = many(&|number| sequence(&[id(number), id(number + 1)]), 20_000);
    let mappings = extension("2.5.29.33", true, &sequence(&[pairs]));
    let usages = sequence(&[many(&|number| id(number), 20_000), oid("2.5.29.37.0")]);
    let usages = extension("2.5.29.37", false, &usages);
    let dns = text(0x82, "a.b");
    vec![
        alike("alternative names of no length", &|draft| {
            draft.with(names(&[0x82, 0], EXTENSION_BYTES))
        }),
        alike("directory names of no length", &|draft| {
            draft.with(names(&context(4, &sequence(&[])), EXTENSION_BYTES))
        }),
        alike("directory names of many parts", &|draft| {
            draft.with(names(&context(4, &parts(20_000)), EXTENSION_BYTES))
        }),
        alike("few directory names of many parts", &|draft| {
            draft.with(names(&context(4, &parts(3_000)), 3_400))
        }),
        alike("few alternative names of no length", &|draft| draft.with(names(&[0x82, 0], 3_400))),
        alike("thousands of extensions", &|mut draft| {
            draft.extensions.push(unknown.clone());
            draft
        }),
        alike("extended key usages", &|draft| draft.with(usages.clone())),
        graphs::layered("policies on layers of authorities", |draft| draft.with(policies.clone())),
        graphs::layered("mappings on layers of authorities", |draft| draft.with(mappings.clone())),
        graphs::layered("usages on layers of authorities", |draft| draft.with(usages.clone())),
        constrained("DNS names and constraints", &dns, &text(0x82, "b.c"), 1),
        constrained("long DNS names and constraints", &long(0x82, "a."), &long(0x82, "b."), 1),
        constrained("long DNS names, excluded", &long(0x82, "a."), &long(0x82, "b."), 0),
        constrained("e-mail names and constraints", &text(0x81, "a@b"), &text(0x81, "c"), 1),
        constrained("long URIs and constraints", &uri(), &text(0x86, "b"), 1),
        constrained("addresses and constraints", &raw(0x87, &[1; 4]), &raw(0x87, &[255; 8]), 1),
        constrained(
            "directory names and constraints",
            &context(4, &parts(300)),
            &context(4, &parts(310)),
            1,
        ),
        subject("a subject of control characters", &name(&"\u{1}".repeat(EXTENSION_BYTES / 3))),
        subject("a subject of many parts", &parts(EXTENSION_BYTES / 3)),
        subject(
            "a subject of parts without attributes",
            &sequence(&[raw(0x31, &[]).repeat(9_000)]),
        ),
        subject("a subject of one set", &sequence(&[set(&[attribute().repeat(2_000)])])),
        subject("a subject of spaces", &name(&"a ".repeat(EXTENSION_BYTES / 6))),
        subject("a subject of short attributes", &sequence(&[set(&[attribute()]).repeat(30)])),
    ]
}

fn attribute() -> Vec<u8> {
    sequence(&[raw(6, &[0x2a]), raw(5, &[])])
}

/// A name of as many parts as there is room for.
fn parts(bytes: usize) -> Vec<u8> {
    let one = set(&[attribute()]);
    sequence(&[one.repeat(bytes / one.len())])
}

fn long(tag: u8, label: &str) -> Vec<u8> {
    text(tag, &format!("{}com", label.repeat(2_000)))
}

fn uri() -> Vec<u8> {
    text(0x86, &format!("http://{}com", "a.".repeat(2_000)))
}

/// Authorities that are alike, each with the addition, and none the issuer.
fn alike(label: &'static str, change: &dyn Fn(Draft<'_>) -> Draft<'_>) -> Hostile {
    let (key, same) = (Key::make("ed25519"), name("Same"));
    let leaf = leaf(&name("leaf"), &same, &key, &key).with(shop()).pem();
    let mut draft = change(authority(&same, &same, &key, &key));
    let intermediates = fill(leaf.len(), |serial| {
        draft.serial = serial;
        draft.pem()
    });
    Hostile { name: label, leaf, intermediates, anchors: String::new(), crls: Vec::new() }
}

/// A leaf full of names under authorities full of constraints, permitted ones (and one that
/// permits) or excluded ones.
fn constrained(label: &'static str, name_: &[u8], base: &[u8], permitted: u8) -> Hostile {
    let key = Key::make("ed25519");
    let names_: Vec<Vec<u8>> = (0..16).map(|number| name(&format!("Layer {number}"))).collect();
    let side = |base: &[u8]| sequence(&[base.to_vec()]);
    let mut trees = side(base).repeat(EXTENSION_BYTES / (base.len() + 4));
    if permitted == 1 {
        let of_name = if base[0] == 0x87 { raw(0x87, &[0; 8]) } else { name_.to_vec() };
        trees.extend(side(&of_name));
    }
    let trees = sequence(&[raw(0xa1 - permitted, &trees)]);
    let constraints = extension("2.5.29.30", true, &trees);
    let san = names(name_, EXTENSION_BYTES);
    let leaf = leaf(&name("leaf"), &names_[0], &key, &key).with(san).pem();
    let mut intermediates = String::new();
    for layer in 0..9 {
        let draft = authority(&names_[layer], &names_[layer + 1], &key, &key);
        intermediates.push_str(&draft.with(constraints.clone()).pem());
    }
    let anchors = authority(&names_[9], &names_[9], &key, &key).pem();
    Hostile { name: label, leaf, intermediates, anchors, crls: Vec::new() }
}

/// Everybody has that subject, and nobody issued anybody.
fn subject(label: &'static str, subject: &[u8]) -> Hostile {
    let key = Key::make("ed25519");
    let draft = leaf(subject, subject, &key, &key).with(shop());
    let wrong = Draft { signature: Some((key.algorithm(None), vec![1; 64])), ..draft };
    let leaf = wrong.pem();
    let mut draft = authority(subject, subject, &key, &key);
    let anchors = fill(leaf.len(), |serial| {
        draft.serial = serial;
        draft.pem()
    });
    Hostile { name: label, leaf, intermediates: String::new(), anchors, crls: Vec::new() }
}
