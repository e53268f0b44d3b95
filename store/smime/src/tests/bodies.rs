//! Every kind of body comes back, through each form.

use std::io::Cursor;

use conclave_pki::key::KeyAlgorithm;
use data_encoding::BASE64_MIME;
use proptest::prelude::*;

use super::{RSA, fill, person, succeed, world};
use crate::{
    cms::{Cipher, Opening},
    message::{Encryption, Form, MessageError, decrypt, encrypt, sign, verify},
};

/// Splits a message into its header and its body, without the transfer encoding.
fn decoded(mail: &[u8]) -> (String, Vec<u8>) {
    let at = mail.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (header, body) = (String::from_utf8(mail[..at].to_vec()).unwrap(), &mail[at + 4..]);
    let header = header.to_lowercase();
    let body = if header.contains("encoding: base64") {
        BASE64_MIME.decode(body).unwrap()
    } else if header.contains("encoding: quoted-printable") {
        let mut rest = body;
        let mut out = Vec::new();
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after) {
                (b'=', [b'\r', b'\n', after @ ..]) => rest = after,
                (b'=', [one, two, after @ ..]) => {
                    let digits = String::from_utf8(vec![*one, *two]).unwrap();
                    out.push(u8::from_str_radix(&digits, 16).unwrap());
                    rest = after;
                }
                (byte, _) => out.push(*byte),
            }
        }
        out
    } else {
        body.to_vec()
    };
    (header, body)
}

fn canonical(body: &[u8]) -> Vec<u8> {
    let (mut out, mut before) = (Vec::new(), 0);
    for byte in body {
        if *byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        before = *byte;
    }
    out
}

fn signed(mail: &[u8], form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    sign(mail, &mut out, &person(KeyAlgorithm::EcP256).signer(), form, &mut fill).unwrap();
    out
}

fn verified(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    verify(mail, &mut out, Opening::default()).unwrap();
    out
}

fn check(header: &str, body: &[u8]) {
    let mail = [format!("From: ann@a.example\n{header}\n").as_bytes(), body].concat();
    let expected = match header.contains("binary") {
        true => body.to_vec(),
        false => canonical(body),
    };
    for form in [Form::Detached, Form::Opaque] {
        let sent = signed(&mail, form);
        assert!(sent.is_ascii() && sent.split(|b| *b == b'\n').all(|line| line.len() <= 999));
        assert_eq!(decoded(&verified(&sent)).1, expected, "{header} {form:?}");
        // A mail server that keeps messages with LF changes nothing.
        let short = String::from_utf8(sent).unwrap().replace("\r\n", "\n");
        assert_eq!(decoded(&verified(short.as_bytes())).1, expected, "{header} {form:?} LF");
    }
    let recipients = [person(KeyAlgorithm::EcP256).certificate.clone()];
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes128Gcm] {
        let encryption = Encryption { cipher, ..Encryption::to(&recipients) };
        let (mut sent, mut out) = (Vec::new(), Vec::new());
        encrypt(mail.as_slice(), &mut sent, &encryption, &mut fill).unwrap();
        let holders = [person(KeyAlgorithm::EcP256).holder()];
        let mut spool = Cursor::new(Vec::new());
        decrypt(sent.as_slice(), &mut out, &holders, &mut spool, &mut fill).unwrap();
        let at = out.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        assert_eq!(&out[at + 4..], expected, "{header} {cipher:?}");
    }
}

const HEADERS: [&str; 5] = [
    "",
    "Content-Type: text/html\n",
    "Content-Type: application/octet-stream\nContent-Transfer-Encoding: 8bit\n",
    "Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n",
    "Content-Type: text/plain\nContent-Transfer-Encoding: binary\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_body_comes_back(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "\n", "\r\n", "\r", "\r\r\n", " ", "\t", "From x", ".", "--", "=", "=3D", "\0", "\u{fc}",
            "a", "",
        ]), 0..40),
        raw in prop::collection::vec(any::<u8>(), 0..60),
        long in 0_usize..3000,
        header in prop::sample::select(HEADERS.to_vec()),
    ) {
        let body = [pieces.concat().as_bytes(), &raw, &vec![b'x'; long]].concat();
        check(header, &body);
    }
}

#[test]
fn bodies_at_the_edges_come_back() {
    for header in HEADERS {
        check(header, b"");
        check(header, b"\n");
        check(header, b"no end");
        // A line end at the bound of what is read and held at once.
        for bytes in [65_534, 65_535, 65_536, 131_072] {
            check(header, &[&vec![b'x'; bytes][..], b"\r\nnext\r\n"].concat());
        }
        check(header, "short\n".repeat(40_000).as_bytes());
    }
}

#[test]
fn parts_inside_parts_become_safe_each_for_itself() {
    let mail = "From: ann@a.example\r\nContent-Type: multipart/mixed; boundary=\"a\"\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--a\r\n\
        Content-Type: multipart/alternative; boundary=ab\r\n\r\n--ab\r\n\r\nplain\r\n--ab\r\n\
        Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        <p>\u{fc}</p>\r\n--ab--\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\nFrom: bob@a.example\r\n\r\nGr\u{fc}\u{df}e\r\n--a\r\n\
        Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--a--\r\n";
    let sent = signed(mail.as_bytes(), Form::Detached);
    assert!(sent.is_ascii());
    let inside = String::from_utf8(verified(&sent)).unwrap();
    for expected in
        ["\r\n\r\nplain\r\n--ab\r\n", "<p>=C3=BC</p>", "Gr=C3=BC=C3=9Fe", "\r\n\r\nAAAA\r\n--a--"]
    {
        assert!(inside.contains(expected), "{expected}: {inside}");
    }
    assert!(!inside.to_lowercase().contains("8bit"), "{inside}");
    let arguments = ["cms", "-verify", "-CAfile", &world().authority_file];
    succeed("openssl", &arguments, &sent);
}

#[test]
fn a_signed_message_that_is_signed_again_stays_signed() {
    let first = signed("From: ann@a.example\r\n\r\nGr\u{fc}\u{df}e\r\n".as_bytes(), Form::Detached);
    for form in [Form::Detached, Form::Opaque] {
        let inside = verified(&signed(&first, form));
        assert!(decoded(&verified(&inside)).1.ends_with("Gr\u{fc}\u{df}e\r\n".as_bytes()));
    }
}

#[test]
fn what_must_not_be_changed_and_is_not_safe_is_refused() {
    let signer = person(RSA).signer();
    let check = |mail: &str| {
        let made = sign(mail.as_bytes(), std::io::sink(), &signer, Form::Detached, &mut fill);
        assert!(matches!(made, Err(MessageError::NotSevenBit)), "{made:?}");
        assert!(sign(mail.as_bytes(), std::io::sink(), &signer, Form::Opaque, &mut fill).is_ok());
    };
    check("Content-Type: multipart/signed; boundary=a\n\n--a\n\n\u{fc}\n--a\n\n--a--\n");
    check("Content-Transfer-Encoding: base64\n\n\u{fc}\n");
    check("Subject: \u{fc}\n\n");
    let deep: String = (0..20).map(|_| "Content-Type: message/rfc822\n\n").collect();
    let made = sign(deep.as_bytes(), std::io::sink(), &signer, Form::Detached, &mut fill);
    assert!(matches!(made, Err(MessageError::TooDeep)), "{made:?}");
}
