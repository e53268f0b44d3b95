//! Bounds of inputs and of the work for them.

/// Nested elements of a BER encoding. A time stamp inside a signature has about 20, a
/// PKCS#12 file at most 15.
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

/// Longest PKCS#12 file.
pub const PKCS12_BYTES_MAX: usize = 1024 * 1024;
/// Encrypted or plain parts of a PKCS#12 file. GnuTLS writes one for each certificate.
pub const SAFES_MAX: usize = conclave_pki::limits::CERTIFICATES_MAX + 8;
/// Keys, certificates and other entries of a PKCS#12 file.
pub const BAGS_MAX: usize = 128;
/// SafeContents bags within SafeContents bags; real files have none.
pub const BAG_DEPTH_MAX: usize = 4;
/// Attributes of one entry; real ones have at most four.
pub const BAG_ATTRIBUTES_MAX: usize = 16;
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
