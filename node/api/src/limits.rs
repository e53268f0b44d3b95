//! Bounds of requests.

/// Largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Time until the answer at the latest, if the caller does not say, in milliseconds.
pub const TIMEOUT_MS: u64 = 15_000;
/// Longest time until the answer, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 600_000;
/// Largest page of a long list.
pub const PAGE_MAX: usize = 1_000;
/// Longest value of [`crate::path::AFTER_PARAMETER`], in bytes.
pub const AFTER_BYTES_MAX: usize = 300;
/// Longest reason of a change, in bytes.
pub const REASON_BYTES_MAX: usize = 500;
/// Bytes of a text that entries of the audit trail are chosen by.
pub const FILTER_BYTES_MAX: usize = 512;
/// Longest silence in a stream of events, in seconds. A message without data, which only tells the
/// position, ends it.
pub const EVENTS_SILENCE_S: u64 = 10;
