//! DER, written by hand: a library would refuse what the cases need.

/// Tag, length, content.
pub(crate) fn raw(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    if length < 128 {
        out.push(u8::try_from(length).unwrap());
    } else {
        let bytes = length.to_be_bytes();
        let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap());
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    raw(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    raw(0x31, &parts.concat())
}

/// `[number]`, explicit.
pub(crate) fn context(number: u8, content: &[u8]) -> Vec<u8> {
    raw(0xa0 | number, content)
}

/// Bytes as they stand: a first byte above 0x7f makes it negative.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    raw(2, bytes)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    raw(1, &[if value { 0xff } else { 0 }])
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    raw(4, content)
}

/// BIT STRING of whole bytes.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    raw(3, &[&[0], content].concat())
}

pub(crate) fn text(tag: u8, text: &str) -> Vec<u8> {
    raw(tag, text.as_bytes())
}

pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut out = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for arc in &arcs[2..] {
        let mut septets = vec![u8::try_from(arc & 0x7f).unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            septets.push(0x80 | u8::try_from(rest & 0x7f).unwrap());
            rest >>= 7;
        }
        out.extend(septets.iter().rev());
    }
    raw(6, &out)
}

/// UTCTime of seconds since 1970, for days before 2050.
pub(crate) fn utc_time(seconds: i64) -> Vec<u8> {
    let time = jiff::Timestamp::from_second(seconds).unwrap();
    text(0x17, &time.strftime("%y%m%d%H%M%SZ").to_string())
}
