//! Files as they are damaged on their way, and messages that contain nothing of them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    certificate::read_bundle,
    key::{KeyAlgorithm, PrivateKey, read_private_key},
};

fn key_pem() -> String {
    let mut seed = 0_u8;
    let mut fill = |bytes: &mut [u8]| {
        for byte in bytes {
            seed = seed.wrapping_mul(31).wrapping_add(7);
            *byte = seed;
        }
    };
    let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
    encode("PRIVATE KEY", key.pkcs8_der())
}

/// Returns whether any 12 letters of the body are in the text.
fn leaks(body: &str, text: &str) -> bool {
    let letters: Vec<char> = body.chars().collect();
    letters.windows(12).any(|window| text.contains(&window.iter().collect::<String>()))
}

fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[test]
fn lost_and_written_line_ends_are_taken() {
    let pem = key_pem();
    let whole = read_private_key(pem.as_bytes(), None).ok().unwrap();
    let shapes = [
        pem.trim().replace('\n', " "),
        pem.trim().replace('\n', "\\n"),
        pem.trim().replace('\n', "\\r\\n"),
        pem.trim().replace('\n', ""),
        pem.replace('\n', "\r"),
        pem.replace('\n', "\r\n"),
        format!("\"{}\"\n", pem.trim().replace('\n', "\\n")),
        pem.replacen("-----\n", "-----", 1),
        format!("\u{FEFF}{pem}"),
        pem.lines().map(|line| format!("    {line}\n")).collect(),
        format!("key: |\n  {}", pem.replace('\n', "\n  ")),
    ];
    for shape in shapes {
        let read = read_private_key(shape.as_bytes(), None);
        let read = read.unwrap_or_else(|error| panic!("{error}: {shape}"));
        assert_eq!(read.pkcs8_der(), whole.pkcs8_der(), "{shape}");
    }
}

#[test]
fn nothing_of_a_key_gets_into_a_message_however_it_is_cut_and_joined() {
    let pem = key_pem();
    let secret = body(&pem);
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        let below = below.max(1);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for round in 0..3_000 {
        let mut text = pem.clone();
        for _ in 0..1 + random(3) {
            let place = random(text.len().max(1));
            match random(5) {
                0 => drop(text.drain(place..(place + random(40)).min(text.len()))),
                1 => text = text.replacen('\n', ["", " ", "\\n", "\r"][random(4)], 1 + random(4)),
                2 => text.insert_str(place, ["-----", "-----BEGIN ", "\n", "!"][random(4)]),
                3 => text = format!("{text}{}", pem.get(place..).unwrap_or_default()),
                _ => text.truncate(place.max(1)),
            }
        }
        for error in [
            read_private_key(text.as_bytes(), None).err().map(|e| format!("{e} {}", e.hint())),
            read_bundle(text.as_bytes()).err().map(|e| format!("{e} {}", e.hint())),
        ] {
            let told = error.unwrap_or_default();
            assert!(!leaks(&secret, &told), "round {round}: {told}");
        }
    }
}

#[test]
fn an_unknown_label_is_not_repeated() {
    let pem = "-----BEGIN MySecretLabelMySecret-----\nAAAA\n-----END MySecretLabelMySecret-----\n";
    let told = read_private_key(pem.as_bytes(), None).err().unwrap().to_string();
    assert!(told.contains("unknown kind"), "{told}");
    assert!(!told.contains("MySecret"), "{told}");
}

#[test]
fn lines_are_counted_whatever_stands_between() {
    let pem = key_pem();
    let text = format!("a\nb\n{pem}c\n{pem}");
    let lines: Vec<usize> =
        blocks(text.as_bytes()).unwrap().iter().map(|block| block.line).collect();
    assert_eq!(lines, [3, 4 + pem.lines().count()]);
}
