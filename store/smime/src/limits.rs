//! Bounds of messages and of the work for them.

/// Nested elements of a BER encoding. A time stamp inside a signature has about 20.
pub const DEPTH_MAX: usize = 32;
/// Longest element held in memory: certificates, a signature with its attributes, a recipient.
pub const ELEMENT_BYTES_MAX: usize = 1024 * 1024;
/// Certificates in one signed message.
pub const CERTIFICATES_MAX: usize = 64;
/// Signers of one message.
pub const SIGNERS_MAX: usize = 16;
/// Attributes of one signer.
pub const ATTRIBUTES_MAX: usize = 64;
/// Recipients of one message.
pub const RECIPIENTS_MAX: usize = 1024;
/// Keys that a recipient tries, such as those of earlier years.
pub const KEYS_MAX: usize = 64;
/// Content handled at once.
pub const PIECE_BYTES: usize = 16 * 1024;
/// Longest content under AES-GCM with one nonce (NIST SP 800-38D §5.2.1.1).
pub const GCM_BYTES_MAX: u64 = (1 << 36) - 32;
/// Longest header of a message or of one of its parts.
pub const HEADER_BYTES_MAX: usize = 512 * 1024;
/// Nested parts of a message.
pub const PARTS_DEPTH_MAX: usize = 16;
/// Longest boundary of a multipart (RFC 2046 §5.1.1).
pub const BOUNDARY_BYTES_MAX: usize = 70;
/// Longest detached signature, before base64.
pub const SIGNATURE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Body of a part that is held in memory to see whether it needs a transfer encoding.
pub const HELD_BYTES_MAX: usize = 64 * 1024;
/// Longest line that a 7-bit path leaves alone (RFC 5321 §4.5.3.1.6, without its end).
pub const LINE_BYTES_MAX: usize = 998;
