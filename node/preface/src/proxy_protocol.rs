//! The PROXY protocol: a proxy sends the addresses of its client before the client's bytes.
//!
//! Source: HAProxy's `doc/proxy-protocol.txt`, versions 1 and 2. Fields other than the two
//! addresses are only checked for their form. They never reach an upstream.

mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use write::{ClientFacts, Protection, header};

use crate::limits::{PROXY_HEADER_BYTES_MAX, PROXY_LINE_BYTES_MAX};

/// Signature of version 2, §2.2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// First word of version 1, §2.1.
const WORD: &[u8] = b"PROXY ";
/// Type of the TLV with a checksum over the header, §2.2.3.
const TYPE_CRC32C: u8 = 0x03;

/// Addresses of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Local address of the client's connection.
    pub destination: SocketAddr,
}

/// A complete header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the header.
    pub bytes: usize,
    /// None if the proxy speaks for itself (LOCAL) or does not know the client (UNKNOWN). Then the
    /// addresses of the connection itself apply.
    pub ends: Option<Ends>,
}

/// Why there is no valid PROXY header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes begin with neither signature.
    #[error("it begins with no PROXY header")]
    Missing,
    /// The header is longer than this limit.
    #[error("its PROXY header is larger than {0} bytes")]
    TooLarge(usize),
    /// This part of the header violates the specification.
    #[error("its PROXY header has a malformed {0}")]
    Malformed(&'static str),
    /// The checksum field does not match the header.
    #[error("the checksum of its PROXY header is wrong")]
    Checksum,
}

/// Parses a header from the first bytes of a connection. Returns none if more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, known)| byte == known);
    if begins(&SIGNATURE) {
        parse_binary(bytes)
    } else if begins(WORD) {
        parse_line(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Parses version 1, §2.1.
fn parse_line(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some(length) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        let is_partial = bytes.len() < PROXY_LINE_BYTES_MAX;
        return if is_partial {
            Ok(None)
        } else {
            Err(HeaderError::TooLarge(PROXY_LINE_BYTES_MAX))
        };
    };
    let header = |ends| Ok(Some(Header { bytes: length + 2, ends }));
    if length + 2 > PROXY_LINE_BYTES_MAX {
        return Err(HeaderError::TooLarge(PROXY_LINE_BYTES_MAX));
    }
    let line = bytes.get(WORD.len()..length).and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(HeaderError::Malformed("line"))?.split(' ');
    let is_v6 = match words.next() {
        // §2.1: the rest of the line must be ignored.
        Some("UNKNOWN") => return header(None),
        Some("TCP4") => false,
        Some("TCP6") => true,
        _ => return Err(HeaderError::Malformed("protocol")),
    };
    let mut address = || -> Option<IpAddr> {
        let address: IpAddr = words.next()?.parse().ok()?;
        (address.is_ipv6() == is_v6).then_some(address)
    };
    let addresses = address().zip(address()).ok_or(HeaderError::Malformed("address"))?;
    let mut port = || -> Option<u16> {
        let word = words.next()?;
        word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
    };
    let ports = port().zip(port()).ok_or(HeaderError::Malformed("port"))?;
    if words.next().is_some() {
        return Err(HeaderError::Malformed("end"));
    }
    header(Some(Ends {
        source: SocketAddr::new(addresses.0, ports.0),
        destination: SocketAddr::new(addresses.1, ports.1),
    }))
}

/// Parses version 2, §2.2.
fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<16>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(HeaderError::TooLarge(PROXY_HEADER_BYTES_MAX));
    }
    let total = length + 16;
    let Some(body) = rest.get(..length) else { return Ok(None) };
    match command {
        // LOCAL, a health check of the proxy. §2.2: the block and its family must be discarded.
        0x20 => return Ok(Some(Header { bytes: total, ends: None })),
        0x21 => {}
        _ => return Err(HeaderError::Malformed("version or command")),
    }
    let mut rest = body;
    let ends = match family {
        0x11 => Some(ends::<4, Ipv4Addr>(&mut rest)),
        0x21 => Some(ends::<16, Ipv6Addr>(&mut rest)),
        // Unspecified, datagrams, unix sockets: no TCP client has such an address. The addresses
        // are skipped; their sizes are in §2.2.
        0x00 => None,
        0x12 => Some(take::<12>(&mut rest).map(|_| None)),
        0x22 => Some(take::<36>(&mut rest).map(|_| None)),
        0x31 | 0x32 => Some(take::<216>(&mut rest).map(|_| None)),
        _ => return Err(HeaderError::Malformed("address family")),
    };
    let ends = match ends {
        Some(ends) => ends.ok_or(HeaderError::Malformed("address"))?,
        // Unspecified family: the layout of the rest is unknown.
        None => return Ok(Some(Header { bytes: total, ends: None })),
    };
    check_fields(bytes.get(..total).unwrap_or_default(), rest)?;
    Ok(Some(Header { bytes: total, ends }))
}

fn ends<const N: usize, A>(rest: &mut &[u8]) -> Option<Option<Ends>>
where
    A: From<[u8; N]> + Into<IpAddr>,
{
    let mut address = || take::<N>(rest).map(|octets| A::from(octets).into());
    let (source, destination) = (address()?, address()?);
    let mut port = || take::<2>(rest).map(u16::from_be_bytes);
    let (source_port, destination_port) = (port()?, port()?);
    Some(Some(Ends {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }))
}

/// Checks that the fields are complete, and verifies a checksum (§2.2.3).
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), HeaderError> {
    let malformed = HeaderError::Malformed("field");
    let mut is_checked = false;
    while !fields.is_empty() {
        let [kind, high, low] = take::<3>(&mut fields).ok_or(malformed.clone())?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = fields.split_at_checked(length).ok_or(malformed.clone())?;
        // Allow only one checksum field: each costs a pass over the whole header.
        if kind == TYPE_CRC32C && std::mem::replace(&mut is_checked, true) {
            return Err(malformed);
        }
        if kind == TYPE_CRC32C {
            let found = <[u8; 4]>::try_from(value).map_err(|_| malformed.clone())?;
            let before = header.len() - fields.len();
            let mut zeroed = header.to_vec();
            if let Some(place) = zeroed.get_mut(before..before + 4) {
                place.fill(0);
            }
            if crc32c(&zeroed) != u32::from_be_bytes(found) {
                return Err(HeaderError::Checksum);
            }
        }
        fields = after;
    }
    Ok(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// Computes the CRC32C of RFC 3309 (Castagnoli), which PROXY version 2 uses.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let reduced = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            (crc >> 1) ^ reduced
        })
    })
}

#[cfg(test)]
mod tests;
