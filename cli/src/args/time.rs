//! Durations and points of time, as people write them.

use std::time::Duration;

/// Longest duration. Longer ones overflow the clocks that they are added to.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads a duration as `15s`, `500ms`, `1h 30m` or `7d`, a day being 24 hours. A bare number means
/// seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => span(text)?,
    };
    match duration <= DURATION_MAX {
        true => Ok(duration),
        false => Err(format!("{text:?} is longer than 100 years")),
    }
}

/// Reads a duration with units.
fn span(text: &str) -> Result<Duration, String> {
    let days_are_24_hours = jiff::SpanRelativeTo::days_are_24_hours();
    let span = text.parse::<jiff::Span>().and_then(|span| span.to_duration(days_are_24_hours));
    let duration = span.ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| format!("invalid duration {text:?}, expected e.g. 500ms, 15s, 2h or 7d"))
}

/// Reads a point of time: RFC 3339, or a date or a date with a time, which are then in UTC.
pub(crate) fn point_of_time(text: &str) -> Result<jiff::Timestamp, String> {
    use jiff::{civil::DateTime, tz::TimeZone};
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let at = text.parse::<DateTime>().and_then(|at| TimeZone::UTC.to_timestamp(at));
    at.map_err(|_| {
        format!("invalid time {text:?}, expected e.g. 2028-01-31 or 2028-01-31T12:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("720h", 2_592_000),
            ("30d", 2_592_000),
            ("1d 12h", 129_600),
            ("2w", 1_209_600),
            ("15", 15),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let longest = [3_153_600_000_u64, u64::MAX].map(|seconds| duration(&seconds.to_string()));
        assert!(longest[0].is_ok() && longest[1].is_err());
        assert!(duration("36500d").is_ok() && duration("36501d").is_err());
        assert!(["soon", "-5m", "", "1x", "d"].iter().all(|text| duration(text).is_err()));
    }

    #[test]
    fn points_of_time_are_read() {
        for (text, expected) in [
            ("2028-01-01", "2028-01-01T00:00:00Z"),
            ("2028-01-01T12:30", "2028-01-01T12:30:00Z"),
            ("2028-01-01 12:30:05", "2028-01-01T12:30:05Z"),
            ("2028-01-01T12:00:00+02:00", "2028-01-01T10:00:00Z"),
        ] {
            let at = point_of_time(text).map(|at| at.to_string());
            assert_eq!(at.as_deref(), Ok(expected), "{text}");
        }
        let wrong = ["tomorrow", "2028-13-01", "", "2028"];
        assert!(wrong.iter().all(|text| point_of_time(text).is_err()));
    }
}
