//! PROXY headers for upstreams. `docs/proxy-protocol.md` describes the fields.

use std::net::{IpAddr, SocketAddr};

use conclave_pki::name::deceives;
use conclave_store::record::ProxyVersion;

use super::{SIGNATURE, TYPE_CRC32C, crc32c};
use crate::limits::{PROXY_EMAILS_MAX, PROXY_TEXT_BYTES_MAX};

const TYPE_ALPN: u8 = 0x01;
const TYPE_AUTHORITY: u8 = 0x02;
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_VERSION: u8 = 0x21;
const SUBTYPE_COMMON_NAME: u8 = 0x22;
const SUBTYPE_CIPHER: u8 = 0x23;
/// §2.2.8: types reserved for applications.
const TYPE_FINGERPRINT: u8 = 0xE0;
const TYPE_EMAIL: u8 = 0xE1;
const TYPE_ISSUER: u8 = 0xE2;
const TYPE_DOMAIN: u8 = 0xE3;

const CLIENT_TLS: u8 = 0x01;
const CLIENT_CERTIFICATE_CONNECTION: u8 = 0x02;
const CLIENT_CERTIFICATE_SESSION: u8 = 0x04;

/// TLS facts in a header of version 2.
#[derive(Debug, Clone)]
pub struct Protection<'a> {
    /// Whether the connection is DTLS, over UDP.
    pub is_datagram: bool,
    /// TLS version, such as `TLSv1.3`.
    pub version: &'a str,
    /// IANA name of the cipher suite.
    pub cipher: &'a str,
    /// Application protocol agreed on (RFC 7301).
    pub alpn: Option<&'a [u8]>,
    /// Name of the served domain.
    pub domain: &'a str,
    /// Server name of the hello.
    pub server_name: Option<&'a str>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The client's certificate, if it presented one.
    pub client: Option<ClientFacts<'a>>,
}

/// Certificate facts about a client. All text comes from the certificate.
#[derive(Debug, Clone)]
pub struct ClientFacts<'a> {
    /// Common name of its subject.
    pub common_name: Option<&'a str>,
    /// E-mail addresses of its subject alternative names.
    pub emails: &'a [String],
    /// Its issuer (RFC 4514).
    pub issuer: &'a str,
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: &'a str,
    /// Whether the certificate is valid by the domain's trust and was issued by the chosen
    /// certificate.
    pub is_verified: bool,
}

/// Encodes the header for a connection from `remote` to `local`. `protection` is none for a
/// connection without TLS.
pub fn header(
    version: ProxyVersion,
    remote: SocketAddr,
    local: Option<SocketAddr>,
    protection: Option<&Protection<'_>>,
) -> Vec<u8> {
    let ends = local.map(|local| one_family(remote, local));
    match version {
        ProxyVersion::V1 => line(ends),
        ProxyVersion::V2 => binary(ends, protection),
    }
}

/// Converts both addresses to one family, as a header requires. An IPv4-mapped address means IPv4
/// (RFC 4291 §2.5.5.2).
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (mapped(source), mapped(destination))
}

fn line(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let protocol = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {protocol} {from} {to} {} {}\r\n", source.port(), destination.port())
        .into_bytes()
}

fn binary(ends: Option<(SocketAddr, SocketAddr)>, protection: Option<&Protection<'_>>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let transport = if protection.is_some_and(|found| found.is_datagram) { 0x02 } else { 0x01 };
    let family = match ends {
        None => 0x00,
        Some((source, _)) if source.is_ipv4() => 0x10 | transport,
        Some(_) => 0x20 | transport,
    };
    header.extend([0x21, family, 0, 0]);
    if let Some((source, destination)) = ends {
        for ip in [source.ip(), destination.ip()] {
            match ip {
                IpAddr::V4(v4) => header.extend(v4.octets()),
                IpAddr::V6(v6) => header.extend(v6.octets()),
            }
        }
        header.extend(source.port().to_be_bytes());
        header.extend(destination.port().to_be_bytes());
    }
    if let Some(protection) = protection {
        fields(&mut header, protection);
    }
    field(&mut header, TYPE_CRC32C, &[0; 4]);
    let length = u16::try_from(header.len() - 16).unwrap_or(u16::MAX);
    if let Some(place) = header.get_mut(14..16) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    let checksum = crc32c(&header).to_be_bytes();
    if let Some(place) = header.last_chunk_mut::<4>() {
        *place = checksum;
    }
    header
}

fn fields(header: &mut Vec<u8>, protection: &Protection<'_>) {
    if let Some(alpn) = protection.alpn {
        field(header, TYPE_ALPN, alpn);
    }
    if let Some(name) = protection.server_name {
        text_field(header, TYPE_AUTHORITY, name);
    }
    field(header, TYPE_SSL, &ssl(protection));
    text_field(header, TYPE_DOMAIN, protection.domain);
    let Some(client) = &protection.client else { return };
    text_field(header, TYPE_FINGERPRINT, client.fingerprint);
    for email in client.emails.iter().take(PROXY_EMAILS_MAX) {
        text_field(header, TYPE_EMAIL, email);
    }
    text_field(header, TYPE_ISSUER, client.issuer);
}

/// Encodes the value of `PP2_TYPE_SSL`, §2.2.6.
fn ssl(protection: &Protection<'_>) -> Vec<u8> {
    let client = protection.client.as_ref();
    let certificate = match client {
        None => 0,
        Some(_) if protection.is_resumed => CLIENT_CERTIFICATE_SESSION,
        Some(_) => CLIENT_CERTIFICATE_CONNECTION | CLIENT_CERTIFICATE_SESSION,
    };
    let is_verified = client.is_some_and(|client| client.is_verified);
    let mut value = vec![CLIENT_TLS | certificate];
    value.extend(u32::from(!is_verified).to_be_bytes());
    text_field(&mut value, SUBTYPE_VERSION, protection.version);
    text_field(&mut value, SUBTYPE_CIPHER, protection.cipher);
    if let Some(name) = client.and_then(|client| client.common_name) {
        text_field(&mut value, SUBTYPE_COMMON_NAME, name);
    }
    value
}

/// Appends a text field. Clients choose the names, so deceptive characters are written as `\u{…}`.
/// A text that is too long is omitted rather than shortened.
fn text_field(header: &mut Vec<u8>, kind: u8, text: &str) {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    if escaped.len() <= PROXY_TEXT_BYTES_MAX {
        field(header, kind, escaped.as_bytes());
    }
}

fn field(header: &mut Vec<u8>, kind: u8, value: &[u8]) {
    // All values are bounded far below this.
    let Ok(length) = u16::try_from(value.len()) else { return };
    header.push(kind);
    header.extend(length.to_be_bytes());
    header.extend(value);
}
