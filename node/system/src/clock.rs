//! The only wall clock of the node.

use conclave_store::time::UnixMillis;
use jiff::Timestamp;

/// Returns the current time of the system's clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> UnixMillis {
    let since_epoch =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Formats a time by RFC 3339, in UTC and whole seconds.
pub fn rfc3339(time: UnixMillis) -> String {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(UnixMillis(1_795_500_000_999)), "2026-11-24T06:00:00Z");
    }
}
