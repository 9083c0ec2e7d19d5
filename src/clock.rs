//! The only place that asks the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{Datelike, Timelike};

/// Milliseconds since 1970 (UTC).
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// Where this machine is, for what is said in its own time.
pub fn zone() -> chrono::Local {
    chrono::Local
}

/// A clock that only goes forward, for measuring and for deadlines.
pub fn instant() -> Instant {
    Instant::now()
}

/// The time since `then`, which [`now`] gave; zero where the wall clock was set back.
pub fn since(then: i64) -> Duration {
    Duration::from_millis(u64::try_from(now() - then).unwrap_or(0))
}

/// A stored time as RFC 3339 in UTC, to the second: `2026-11-21T11:22:27Z`.
pub fn rfc3339(milliseconds: i64) -> String {
    // Not by a pattern, which would be read anew for each row of a long list.
    let written = chrono::DateTime::from_timestamp_millis(milliseconds).map(|time| {
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    });
    written.unwrap_or_default()
}

/// Reads a time of RFC 3339 as others write it; nothing where it is none, or before 1970.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_millis()).filter(|milliseconds| *milliseconds > 0)
}

/// The time of day of a stored time, in UTC: `11:22:27`.
pub fn time_of_day(milliseconds: i64) -> String {
    chrono::DateTime::from_timestamp_millis(milliseconds)
        .map(|time| time.format("%H:%M:%S").to_string())
        .unwrap_or_default()
}

/// A stored time as people say it: `12 s ago`, `3 h ago`, `5 days ago`.
pub fn ago(milliseconds: i64) -> String {
    let seconds = since(milliseconds).as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_in_one_form() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_763_724_147_999, "2025-11-21T11:22:27Z"),
            (-1_000, "1969-12-31T23:59:59Z"),
            (i64::MAX, ""),
        ] {
            assert_eq!(rfc3339(milliseconds), text);
        }
        assert_eq!(parse_rfc3339("2025-11-21T12:22:27+01:00"), Some(1_763_724_147_000));
    }
}
