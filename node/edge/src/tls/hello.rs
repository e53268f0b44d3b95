//! The first bytes of a connection: a TLS hello, or the protocol that the client tried instead.

/// Number of bytes sufficient for a verdict.
pub(crate) const CLEAR_BYTES: usize = 11;

/// Verdict about the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// Too few bytes for a verdict.
    Unclear,
    /// A TLS record, with the legacy version of its hello or `no hello`. An extension of the hello
    /// may offer a newer version.
    Hello(&'static str),
    /// Not a TLS record.
    Tried(Tried),
}

/// Other protocols sent to a TLS port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// A hello of SSL 2.0, or a newer hello in that format (RFC 6176 forbids both).
    Ssl2,
    /// HTTP without TLS.
    Http,
    /// Text of another protocol.
    Text,
    /// Anything else.
    Other,
}

impl Tried {
    /// Returns the description for the log.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Tried::Ssl2 => "SSL 2.0",
            Tried::Http => "plain HTTP",
            Tried::Text => "plain text",
            Tried::Other => "no TLS",
        }
    }
}

/// Request methods, each with the space after it (RFC 9110 §9, RFC 9113 §3.4).
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
];

impl FirstBytes {
    /// Judges the bytes received so far. Never returns [`FirstBytes::Unclear`] for [`CLEAR_BYTES`]
    /// bytes.
    pub(crate) fn of(bytes: &[u8]) -> FirstBytes {
        match bytes {
            // A handshake record with a ClientHello (RFC 8446 §5.1, §4.1.2). The version in the
            // hello says what is offered, not the version of the record.
            [22, 3, _, _, _, 1, _, _, _, major, minor, ..] => {
                FirstBytes::Hello(version(*major, *minor))
            }
            [22, 3, ..] if bytes.len() < CLEAR_BYTES => FirstBytes::Unclear,
            [20..=24, 3, ..] => FirstBytes::Hello("no hello"),
            // SSL 2.0: two bytes of length with the highest bit set, then CLIENT-HELLO.
            [0x80..=0xff, _, 1, 0 | 3, ..] => FirstBytes::Tried(Tried::Ssl2),
            [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] | [22] => FirstBytes::Unclear,
            [] => FirstBytes::Unclear,
            _ => FirstBytes::no_tls(bytes),
        }
    }

    fn no_tls(bytes: &[u8]) -> FirstBytes {
        if METHODS.iter().any(|method| bytes.starts_with(method)) {
            return FirstBytes::Tried(Tried::Http);
        }
        if METHODS.iter().any(|method| method.starts_with(bytes)) {
            return FirstBytes::Unclear;
        }
        let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        let is_text = bytes.iter().take(CLEAR_BYTES).all(is_text);
        FirstBytes::Tried(if is_text { Tried::Text } else { Tried::Other })
    }
}

/// Returns whether the version of a hello is obsolete (RFC 8996).
pub(crate) fn is_old(version: &str) -> bool {
    ["SSL 3.0", "TLS 1.0", "TLS 1.1"].contains(&version)
}

/// Returns the name of a version.
fn version(major: u8, minor: u8) -> &'static str {
    match (major, minor) {
        (3, 0) => "SSL 3.0",
        (3, 1) => "TLS 1.0",
        (3, 2) => "TLS 1.1",
        (3, 3) => "TLS 1.2",
        (3, 4) => "TLS 1.3",
        _ => "an unknown version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_a_client_tries() {
        let check = |bytes: &[u8], expected: FirstBytes| {
            assert_eq!(FirstBytes::of(bytes), expected, "{bytes:?}");
        };
        let hello = |minor: u8| [22, 3, 1, 0, 100, 1, 0, 0, 96, 3, minor, 7, 7];
        check(&hello(0), FirstBytes::Hello("SSL 3.0"));
        check(&hello(1), FirstBytes::Hello("TLS 1.0"));
        check(&hello(2), FirstBytes::Hello("TLS 1.1"));
        check(&hello(3), FirstBytes::Hello("TLS 1.2"));
        check(&[21, 3, 3, 0, 2, 2, 40], FirstBytes::Hello("no hello"));
        check(&[0x80, 46, 1, 0, 2, 0, 21], FirstBytes::Tried(Tried::Ssl2));
        check(&[0x80, 46, 1, 3, 1, 0, 21], FirstBytes::Tried(Tried::Ssl2));
        check(b"GET / HTTP/1.1\r\n", FirstBytes::Tried(Tried::Http));
        check(b"PRI * HTTP/2.0\r\n", FirstBytes::Tried(Tried::Http));
        check(b"EHLO client.example\r\n", FirstBytes::Tried(Tried::Text));
        check(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], FirstBytes::Tried(Tried::Other));
        check(&[0x80, 46, 9, 3, 1], FirstBytes::Tried(Tried::Other));
    }

    /// However the bytes are split, the verdict is the same and comes by `CLEAR_BYTES` bytes.
    #[test]
    fn an_answer_does_not_change_as_more_bytes_come() {
        let inputs: [&[u8]; 7] = [
            &[22, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3, 7],
            &[22, 3, 1, 0, 100, 2, 0, 0, 96, 3, 3, 7],
            &[0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16, 1],
            b"OPTIONS * HTTP/1.1",
            b"PATIENCE, please",
            b"DELETED by me",
            &[0xff; 12],
        ];
        for input in inputs {
            let whole = FirstBytes::of(input);
            assert_ne!(whole, FirstBytes::Unclear, "{input:?}");
            for length in 0..=input.len() {
                let part = FirstBytes::of(&input[..length]);
                let is_clear = part == whole || part == FirstBytes::Unclear;
                assert!(is_clear, "{:?}: {part:?}", &input[..length]);
                assert!(part == whole || length < CLEAR_BYTES, "{input:?} at {length}");
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut seed = 7_u64;
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..seed % 14)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    u8::try_from(seed >> 56).unwrap()
                })
                .collect();
            let _ = FirstBytes::of(&bytes);
            seed = seed.wrapping_add(1);
        }
    }
}
