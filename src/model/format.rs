use std::{str::FromStr, time::Duration};

use super::{Invalid, names::digits};

/// A duration for people: `0.4 s`, `12.3 s`, `2 min 5 s`.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = duration.as_secs();
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

/// How far back something goes, as people type it: `90s`, `15m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl FromStr for Age {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        let factor = match &text[number.len()..] {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            "d" => Some(86_400),
            _ => None,
        };
        let seconds = factor.and_then(|factor: u32| digits::<u32>(number)?.checked_mul(factor));
        seconds.map(|seconds| Age(Duration::from_secs(seconds.into()))).ok_or_else(|| Invalid {
            what: "time",
            value: text.to_owned(),
            rule: "it is a number with s, m, h or d after it, such as 90s, 15m, 12h or 7d".to_owned(),
        })
    }
}

/// A size for people, in powers of ten: `512 B`, `1.2 kB`, `34.0 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1000.0;
    let mut unit = 0;
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1200), "1.2 kB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(34_000_000), "34.0 MB");
    }
}
