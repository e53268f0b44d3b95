//! Bounds of what is read and written before TLS.

/// Largest PROXY line with its end (§2.1 of the specification).
pub(crate) const PROXY_LINE_BYTES_MAX: usize = 107;
/// Largest PROXY header of version 2; room for a client's certificate, which is ignored.
pub const PROXY_HEADER_BYTES_MAX: usize = 8 * 1024;
/// E-mail addresses of a client in a PROXY header.
pub(crate) const PROXY_EMAILS_MAX: usize = 16;
/// Bytes of each text in a PROXY header.
pub(crate) const PROXY_TEXT_BYTES_MAX: usize = 1024;
/// Most unparsed bytes buffered per peer before TLS: the longest answer about capabilities, the
/// longest first message.
pub const SAID_BYTES_MAX: usize = 16 * 1024;
/// Longest command line before TLS, in bytes (RFC 5321 §4.5.3.1.4 wants 512, RFC 2595 some more).
pub(crate) const LINE_BYTES_MAX: usize = 2 * 1024;
/// Commands of a client before TLS; honest ones need three.
pub(crate) const CLEAR_COMMANDS_MAX: usize = 32;
