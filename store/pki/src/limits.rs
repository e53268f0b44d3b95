//! Bounds of what is read.

/// Longest PEM input.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Certificates in one input.
pub const CERTIFICATES_MAX: usize = 64;
/// Longest certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;
/// Largest RSA modulus that a node signs with, in bits.
pub const RSA_BITS_MAX: usize = 4096;
/// Smallest RSA modulus that is accepted, in bits.
pub const RSA_BITS_MIN: usize = 2048;
/// Longest revocation list.
pub const CRL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Intermediates in one path.
pub const PATH_INTERMEDIATES_MAX: usize = 15;
/// Signatures checked for one question.
pub const VERIFY_SIGNATURES_MAX: u32 = 128;
/// How many of them one on P-521 counts for; the longest path has sixteen.
pub const VERIFY_P521_COST: u32 = 8;
/// Rounds of PBKDF2 that an encrypted key may ask for.
pub const PASSPHRASE_ITERATIONS_MAX: u32 = 10_000_000;
/// Memory of scrypt that an encrypted key may ask for, in bytes.
pub const PASSPHRASE_MEMORY_MAX: u64 = 128 * 1024 * 1024;
