//! Bounds of the live index.

/// Most failed commands kept in a report.
pub(super) const FAILED_MAX: usize = 64;
/// Most domains with open private keys. Estimated size: 1 KiB for a domain with an EC key, 3 KiB
/// with an RSA key. Other domains unseal their key during the handshake.
pub(super) const OPENED_MAX: usize = 128 * 1024;
/// Most domains with prepared certificates and settings, about 5 KiB each by estimate. Other
/// domains prepare them again for each handshake.
pub(super) const PREPARED_MAX: usize = 8 * 1024;
/// Most listeners per domain with cached settings.
pub(super) const DOORS_MAX: usize = 32;
/// Most rounds of messages in a proof; no handshake needs as many.
pub(super) const ROUNDS_MAX: usize = 16;
