use conclave_store::record::ProxyVersion;

use super::*;

fn ends(source: &str, destination: &str) -> Option<Ends> {
    Some(Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

#[test]
fn lines_are_read_as_the_specification_says() {
    let check = |line: &str, expected: Result<Option<Ends>, HeaderError>| {
        let with_more = format!("{line}\x16\x03\x01");
        let found = parse(with_more.as_bytes()).map(|header| {
            let header = header.unwrap();
            assert_eq!(header.bytes, line.len(), "{line}");
            header.ends
        });
        assert_eq!(found, expected, "{line}");
    };
    // The examples of §2.1.
    check(
        "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Ok(ends("255.255.255.255:65535", "255.255.255.255:65535")),
    );
    let all = "ffff:f...f:ffff".replace("f...f", "ffff:ffff:ffff:ffff:ffff:ffff");
    check(
        &format!("PROXY TCP6 {all} {all} 65535 65535\r\n"),
        Ok(ends(&format!("[{all}]:65535"), &format!("[{all}]:65535"))),
    );
    check("PROXY UNKNOWN\r\n", Ok(None));
    check(&format!("PROXY UNKNOWN {all} {all} 65535 65535\r\n"), Ok(None));
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Ok(ends("192.0.2.1:1", "192.0.2.2:2")));
    let malformed = |what| Err(HeaderError::Malformed(what));
    check("PROXY TCP4 ::1 192.0.2.2 1 2\r\n", malformed("address"));
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", malformed("port"));
    check("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", malformed("port"));
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", malformed("port"));
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", malformed("end"));
    check("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", malformed("protocol"));
    check("PROXY \r\n", malformed("protocol"));
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(PROXY_LINE_BYTES_MAX));
    check(&long, Err(HeaderError::TooLarge(PROXY_LINE_BYTES_MAX)));
}

#[test]
fn binary_headers_are_read_as_the_specification_says() {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x01, 0xbb];
    let known = ends("192.0.2.1:12345", "192.0.2.2:443");
    let check = |header: &[u8], expected: Result<Option<Ends>, HeaderError>| {
        let found = parse(&[header, b"\x16\x03\x01"].concat()).map(|parsed| {
            let parsed = parsed.unwrap();
            assert_eq!(parsed.bytes, header.len());
            parsed.ends
        });
        assert_eq!(found, expected, "{header:02x?}");
    };
    check(&v2(0x21, 0x11, &v4), Ok(known));
    check(&v2(0x20, 0x11, &v4), Ok(None));
    check(&v2(0x20, 0x00, &[]), Ok(None));
    // LOCAL with unknown families, blocks that are too short, and fields of no form.
    for family in [0x00, 0x01, 0x11, 0x12, 0x21, 0x31, 0x41, 0xff] {
        check(&v2(0x20, family, &[]), Ok(None));
        check(&v2(0x20, family, &[1, 2, 3]), Ok(None));
        check(&v2(0x20, family, &[3; 300]), Ok(None));
    }
    check(
        &v2(0x20, 0x00, &vec![0; PROXY_HEADER_BYTES_MAX + 1]),
        Err(HeaderError::TooLarge(PROXY_HEADER_BYTES_MAX)),
    );
    check(&v2(0x21, 0x00, &[1, 2, 3]), Ok(None));
    check(&v2(0x21, 0x12, &v4), Ok(None));
    check(&v2(0x21, 0x31, &[0; 216]), Ok(None));
    let v6 = [[0x20; 16].as_slice(), &[0x30; 16], &[0, 1, 0, 2]].concat();
    let (from, to) = (["2020"; 8].join(":"), ["3030"; 8].join(":"));
    check(&v2(0x21, 0x21, &v6), Ok(ends(&format!("[{from}]:1"), &format!("[{to}]:2"))));
    let malformed = |what| Err(HeaderError::Malformed(what));
    let with = |fields: &[u8]| v2(0x21, 0x11, &[&v4[..], fields].concat());
    // A second checksum is refused before it is computed.
    let mut twice = with(&[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]);
    let first = crc32c(&twice).to_be_bytes();
    twice[31..35].copy_from_slice(&first);
    check(&twice, malformed("field"));
    // PP2_TYPE_NOOP, and TLS facts that must be ignored.
    check(&with(&[4, 0, 2, 0, 0, 0x20, 0, 5, 7, 0, 0, 0, 0]), Ok(known));
    check(&with(&[4, 0, 3, 0, 0]), malformed("field"));
    check(&with(&[3, 0, 1, 0]), malformed("field"));
    check(&with(&[3, 0, 4, 0, 0, 0, 0]), Err(HeaderError::Checksum));
    check(&v2(0x21, 0x11, &v4[..11]), malformed("address"));
    check(&v2(0x22, 0x11, &v4), malformed("version or command"));
    check(&v2(0x31, 0x11, &v4), malformed("version or command"));
    check(&v2(0x21, 0x41, &v4), malformed("address family"));
    check(
        &v2(0x21, 0x00, &vec![0; PROXY_HEADER_BYTES_MAX + 1]),
        Err(HeaderError::TooLarge(PROXY_HEADER_BYTES_MAX)),
    );
}

#[test]
fn every_beginning_of_a_header_asks_for_more_and_other_bytes_are_none() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let whole = written(version, Some(LOCAL));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Ok(None), "{length}");
        }
    }
    assert_eq!(parse(b"\x16\x03\x01"), Err(HeaderError::Missing));
    assert_eq!(parse(b"PROXZ "), Err(HeaderError::Missing));
    assert_eq!(parse(b"GET / HTTP/1.1\r\n\r\n"), Err(HeaderError::Missing));
}

#[test]
fn no_bytes_make_the_reader_panic() {
    // Every change of one byte makes a header invalid, except one that removes the checksum field.
    let whole = written(ProxyVersion::V2, Some(LOCAL));
    let kind_of_checksum = whole.len() - 7;
    for place in (0..whole.len()).filter(|place| *place != kind_of_checksum) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[place] = value;
            let found = parse(&changed).ok().flatten().and_then(|header| header.ends);
            assert!(changed == whole || found.is_none(), "{place} {value}");
        }
    }
}

const REMOTE: &str = "[::ffff:192.0.2.1]:12345";
const LOCAL: &str = "[::ffff:192.0.2.2]:443";

fn protection() -> Protection<'static> {
    Protection {
        is_datagram: false,
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256",
        alpn: Some(b"h2"),
        domain: "shop.example",
        server_name: Some("www.shop.example"),
        is_resumed: false,
        client: None,
    }
}

fn written(version: ProxyVersion, local: Option<&str>) -> Vec<u8> {
    let local = local.map(|local| local.parse().unwrap());
    header(version, REMOTE.parse().unwrap(), local, Some(&protection()))
}

#[test]
fn what_is_written_is_read_again() {
    let known = ends("192.0.2.1:12345", "192.0.2.2:443");
    let mixed = ends("[::ffff:192.0.2.1]:12345", "[2001:db8::1]:443");
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let read = |local| parse(&written(version, Some(local))).unwrap().unwrap().ends;
        assert_eq!(read(LOCAL), known);
        assert_eq!(read("[2001:db8::1]:443"), mixed);
    }
    let line = written(ProxyVersion::V1, Some(LOCAL));
    assert_eq!(line, b"PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\r\n");
    assert_eq!(written(ProxyVersion::V1, None), b"PROXY UNKNOWN\r\n");
    assert_eq!(parse(&written(ProxyVersion::V2, None)).unwrap().unwrap().ends, None);
}

#[test]
fn the_facts_of_tls_stand_where_the_specification_says() {
    let fields = |protection: &Protection<'_>| {
        let (remote, local) = (REMOTE.parse().unwrap(), LOCAL.parse().unwrap());
        let header = header(ProxyVersion::V2, remote, Some(local), Some(protection));
        let mut rest = &header[28..];
        let mut fields = Vec::new();
        while let Some([kind, high, low]) = take::<3>(&mut rest) {
            let (value, after) = rest.split_at(usize::from(u16::from_be_bytes([high, low])));
            fields.push((kind, value.to_vec()));
            rest = after;
        }
        fields
    };
    let mut session = protection();
    let version = [&[0x21, 0, 7][..], b"TLSv1.3"].concat();
    let cipher = [&[0x23, 0, 24][..], b"TLS13_AES_128_GCM_SHA256"].concat();
    let without = [&[1, 0, 0, 0, 1][..], &version, &cipher].concat();
    let found = fields(&session);
    assert_eq!(
        found[..3],
        [(0x01, b"h2".to_vec()), (0x02, b"www.shop.example".to_vec()), (0x20, without),]
    );
    assert_eq!(found[3], (0xE3, b"shop.example".to_vec()));
    let emails = ["eve@example.org".to_owned(), "e@example.net".to_owned()];
    let fingerprint = "ab".repeat(32);
    session.client = Some(ClientFacts {
        common_name: Some("Eve\0\u{202e}\u{1b}"),
        emails: &emails,
        issuer: "CN=Authority",
        fingerprint: &fingerprint,
        is_verified: true,
    });
    let name = [&[0x22, 0, 22][..], br"Eve\u{0}\u{202e}\u{1b}"].concat();
    let with = [&[7, 0, 0, 0, 0][..], &version, &cipher, &name].concat();
    let found = fields(&session);
    assert_eq!(found[2], (0x20, with));
    assert_eq!(
        found[4..8],
        [
            (0xE0, "ab".repeat(32).into_bytes()),
            (0xE1, b"eve@example.org".to_vec()),
            (0xE1, b"e@example.net".to_vec()),
            (0xE2, b"CN=Authority".to_vec()),
        ]
    );
    session.is_resumed = true;
    assert_eq!(fields(&session)[2].1[0], 5);
}

#[test]
fn the_checksum_is_castagnolis() {
    // RFC 3720 B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_connection_without_tls_says_nothing_of_tls() {
    let (remote, local) = ("192.0.2.1:5000".parse().unwrap(), "198.51.100.2:25".parse().unwrap());
    let line = header(ProxyVersion::V1, remote, Some(local), None);
    assert_eq!(line, b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 25\r\n");
    let binary = header(ProxyVersion::V2, remote, Some(local), None);
    // Addresses and the checksum, with its type and length.
    assert_eq!(binary.len(), 16 + 12 + 7);
    let ends = parse(&binary).unwrap().unwrap().ends.unwrap();
    assert_eq!((ends.source, ends.destination), (remote, local));
}
