//! Bounds of inputs and of the work for them.

/// Longest PKCS#12 file.
pub const PKCS12_BYTES_MAX: usize = 1024 * 1024;
/// Values within values of a PKCS#12 file; real ones have at most 15.
pub const BER_DEPTH_MAX: usize = 32;
/// Encrypted or plain parts of a PKCS#12 file. GnuTLS writes one for each certificate.
pub const SAFES_MAX: usize = conclave_pki::limits::CERTIFICATES_MAX + 8;
/// Keys, certificates and other entries of a PKCS#12 file.
pub const BAGS_MAX: usize = 128;
/// SafeContents bags within SafeContents bags; real files have none.
pub const BAG_DEPTH_MAX: usize = 4;
/// Attributes of one entry; real ones have at most four.
pub const ATTRIBUTES_MAX: usize = 16;
/// Characters of a friendly name. A longer one is cut.
pub const FRIENDLY_NAME_CHARS_MAX: usize = 128;
/// Hashes for all keys derived from a passphrase for one PKCS#12 file: some seconds of work. GnuTLS
/// 3.7, the most costly of the known writers, needs 1.2 million for the key and each certificate,
/// and half as many for the MAC.
pub const PKCS12_HASHES_MAX: u64 = 12_000_000;
/// Iterations of each key derivation of a written PKCS#12 file. OpenSSL takes 2048 and NIST SP
/// 800-132 asks for as many as the user bears; the loader of .NET 9 refuses more than 300,000 for
/// one derivation and a million for a file, which has three.
pub const PKCS12_ITERATIONS: u32 = 200_000;
/// Shortest key of PBMAC1 (RFC 9579 §6).
pub const PBMAC1_KEY_BYTES_MIN: usize = 20;
/// Longest key of PBMAC1, that of the output of SHA-512.
pub const PBMAC1_KEY_BYTES_MAX: usize = 64;

/// Memory of Argon2id for a new lock: the second recommended option of RFC 9106 §4.
pub const LOCK_MEMORY_KIB: u32 = 64 * 1024;
/// Passes of Argon2id for a new lock, from the same option.
pub const LOCK_PASSES: u32 = 3;
/// Lanes of Argon2id for a new lock, from the same option.
pub const LOCK_LANES: u32 = 4;
/// Most memory that a locked key may ask for.
pub const LOCK_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Most passes that a locked key may ask for.
pub const LOCK_PASSES_MAX: u32 = 16;
/// Most lanes that a locked key may ask for.
pub const LOCK_LANES_MAX: u32 = 16;
/// Longest locked or sealed key. PKCS#8 of RSA 8192 has 4.7 KB.
pub const LOCKED_BYTES_MAX: usize = 16 * 1024;
/// Fewest characters of a new passphrase of an account.
pub const PASSPHRASE_CHARS_MIN: usize = 12;
/// Longest passphrase, in bytes of UTF-8.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
