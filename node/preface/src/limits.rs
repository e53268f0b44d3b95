//! Bounds of the protocols before TLS.

/// Longest PROXY line including its CRLF (§2.1 of the specification).
pub(crate) const PROXY_LINE_BYTES_MAX: usize = 107;
/// Largest PROXY header of version 2. Leaves room for a client's certificate, which is ignored.
pub const PROXY_HEADER_BYTES_MAX: usize = 8 * 1024;
/// Most e-mail addresses of a client in a PROXY header.
pub(crate) const PROXY_EMAILS_MAX: usize = 16;
/// Longest text in a PROXY header, in bytes.
pub(crate) const PROXY_TEXT_BYTES_MAX: usize = 1024;
/// Most unparsed bytes buffered per peer before TLS: enough for the longest list of capabilities
/// and the longest first message.
pub const SAID_BYTES_MAX: usize = 16 * 1024;
/// Longest command line before TLS, in bytes (RFC 5321 §4.5.3.1.4 needs 512, RFC 2595 a little
/// more).
pub(crate) const LINE_BYTES_MAX: usize = 2 * 1024;
/// Longest domain in a stream header, in bytes (RFC 7622 §3.2).
pub(crate) const STREAM_TO_BYTES_MAX: usize = 1023;
/// Most commands of a client before TLS; honest clients need three.
pub(crate) const CLEAR_COMMANDS_MAX: usize = 32;
