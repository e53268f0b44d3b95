//! Bounds of the live index.

/// Failed commands remembered in a report.
pub(super) const FAILED_MAX: usize = 64;
/// Domains whose private keys are open at once: by estimate 1 KiB for a domain with an EC key,
/// 3 KiB with an RSA key. Who finds its key closed waits until it is opened from its seal.
pub(super) const OPENED_MAX: usize = 128 * 1024;
/// Domains whose certificates and settings are ready for a handshake, by estimate 5 KiB each; the
/// others make them anew.
pub(super) const PREPARED_MAX: usize = 8 * 1024;
/// Settings of one domain for different listeners that are kept.
pub(super) const DOORS_MAX: usize = 32;
/// Rounds of messages that no handshake exceeds.
pub(super) const ROUNDS_MAX: usize = 16;
