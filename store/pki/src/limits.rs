//! Bounds of inputs and of the work for them.

/// Longest PEM input.
pub const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Longest PEM input with trusted certificates and revocation lists, which may be long.
pub const TRUSTED_PEM_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Certificates in one input.
pub const CERTIFICATES_MAX: usize = 64;
/// Longest certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;
/// Largest RSA modulus of a node's key, in bits.
pub const RSA_BITS_MAX: usize = 8192;
/// Smallest accepted RSA modulus, in bits.
pub const RSA_BITS_MIN: usize = 2048;
/// Elements of a DER value that are looked at to recognise it.
pub const CONTENT_PARTS_MAX: usize = 10;
/// Shortest text that is taken for base64 without its BEGIN and END lines.
pub const BARE_BYTES_MIN: usize = 64;
/// Longest revocation list.
pub const CRL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Certificates in one revocation list that is issued here.
pub const REVOKED_MAX: usize = 250_000;
/// E-mail addresses in the certificate of one account.
pub const ACCOUNT_EMAILS_MAX: usize = 64;
/// Longest URL of a revocation list in a certificate.
pub const CRL_URL_BYTES_MAX: usize = 1024;
/// Intermediates in one path.
pub const PATH_INTERMEDIATES_MAX: usize = 15;
/// Work for one path validation, in nanoseconds as estimated for one slow core.
pub const VERIFY_WORK_MAX: u64 = 20_000_000;
/// Nanoseconds added to the budget, and spent, for each byte of a revocation list.
pub const VERIFY_WORK_PER_LIST_BYTE: u64 = 6;
/// Attributes in the names of one certificate, request or list; real ones have at most 30.
pub const NAME_PARTS_MAX: usize = 128;
/// Attributes in the names of all certificates of one input.
pub const INPUT_NAME_PARTS_MAX: usize = 16 * 1024;
/// Longest name of the issuer of a revocation list.
pub const NAME_BYTES_MAX: usize = 16 * 1024;
/// Extensions of one certificate; real ones have at most 30.
pub const EXTENSIONS_MAX: usize = 128;
/// Rounds of PBKDF2 for an encrypted key.
pub const PASSPHRASE_ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes mixed by the scrypt of an encrypted key; its memory is at most as large.
pub const PASSPHRASE_MEMORY_MAX: u64 = 128 * 1024 * 1024;
