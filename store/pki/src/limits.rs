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
/// Work for one question of path validation, in nanoseconds as estimated on one slow core.
pub const VERIFY_WORK_MAX: u64 = 20_000_000;
/// Work for each byte of a revocation list that is asked; lists bring as much with them.
pub const VERIFY_WORK_PER_LIST_BYTE: u64 = 6;
/// Attributes in the names of one certificate, request or list; real ones have at most 30.
pub const NAME_PARTS_MAX: usize = 128;
/// The same for all certificates of one input.
pub const INPUT_NAME_PARTS_MAX: usize = 16 * 1024;
/// Longest name of the issuer of a revocation list.
pub const NAME_BYTES_MAX: usize = 16 * 1024;
/// Extensions of one certificate; real ones have at most 30.
pub const EXTENSIONS_MAX: usize = 128;
/// Rounds of PBKDF2 that an encrypted key may ask for.
pub const PASSPHRASE_ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes that the scrypt of an encrypted key may ask to be mixed; at most as much is memory.
pub const PASSPHRASE_MEMORY_MAX: u64 = 128 * 1024 * 1024;
