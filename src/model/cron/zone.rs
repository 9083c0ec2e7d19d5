use std::{fmt, str::FromStr};

use chrono::{Datelike, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike};
use jiff::{
    Timestamp, civil,
    tz::{self, AmbiguousOffset},
};
use serde::{Deserialize, Serialize};

use crate::model::{Invalid, Result};

/// A time zone by its name, as IANA has it: `Europe/Berlin`. The zones are in the program, as bytes: tables of pointers would
/// take memory and time in every process that starts, whether it asks for a zone or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(tz::TimeZone);

impl FromStr for ZoneName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ZoneName> {
        let known = tz::TimeZoneDatabase::bundled().get(text).ok().filter(|zone| zone.iana_name().is_some());
        known.map(ZoneName).ok_or_else(|| {
            Invalid::new("time zone", text, "it is a name of the IANA list, such as Europe/Berlin or UTC")
        })
    }
}

impl TryFrom<String> for ZoneName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<ZoneName> {
        text.parse()
    }
}

impl From<ZoneName> for String {
    fn from(zone: ZoneName) -> String {
        zone.to_string()
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// As chrono asks for it. What is beyond the years that the zones know (-9999 to 9999) is taken for UTC.
impl TimeZone for ZoneName {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> ZoneName {
        let offset = tz::Offset::from_seconds(offset.local_minus_utc());
        ZoneName(offset.map_or(tz::TimeZone::UTC, tz::TimeZone::fixed))
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> LocalResult<FixedOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<FixedOffset> {
        let Some(civil) = civil_of(local) else { return LocalResult::Single(fixed(tz::Offset::UTC)) };
        match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => LocalResult::Single(fixed(offset)),
            AmbiguousOffset::Gap { .. } => LocalResult::None,
            AmbiguousOffset::Fold { before, after } => LocalResult::Ambiguous(fixed(before), fixed(after)),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        let moment = Timestamp::from_second(utc.and_utc().timestamp());
        fixed(moment.map_or(tz::Offset::UTC, |moment| self.0.to_offset(moment)))
    }
}

fn fixed(offset: tz::Offset) -> FixedOffset {
    // Of less than a day to both sides, as all are.
    FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| chrono::Offset::fix(&chrono::Utc))
}

fn civil_of(local: &NaiveDateTime) -> Option<civil::DateTime> {
    let small = |number: u32| i8::try_from(number).ok();
    civil::DateTime::new(
        i16::try_from(local.year()).ok()?,
        small(local.month())?,
        small(local.day())?,
        small(local.hour())?,
        small(local.minute())?,
        small(local.second())?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn a_zone_is_known_by_its_name_in_any_case() {
        for (typed, name) in [
            ("europe/berlin", "Europe/Berlin"),
            ("UTC", "UTC"),
            ("America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
        ] {
            assert_eq!(typed.parse::<ZoneName>().unwrap().to_string(), name);
        }
        for bad in ["", "Berlin", "Europe/", "../etc/passwd", "/etc/localtime", "UTC+1", "Europe/Berlin\0"] {
            assert!(bad.parse::<ZoneName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn it_is_as_another_reader_of_the_same_list_has_it() {
        for other in [
            Tz::UTC,
            Tz::Europe__Berlin,
            Tz::America__New_York,
            Tz::Australia__Lord_Howe,
            Tz::Pacific__Apia,
            Tz::Asia__Kathmandu,
            Tz::Africa__Cairo,
            Tz::America__St_Johns,
        ] {
            let zone: ZoneName = other.name().parse().unwrap();
            // Each half hour around what changes a clock, and each 61 hours of 60 years.
            let begin: DateTime<chrono::Utc> = "1975-01-01T00:00:00Z".parse().unwrap();
            for number in 0..8_600 {
                let utc = (begin + TimeDelta::hours(61 * number)).naive_utc();
                for minutes in [0, 30, 60, 90] {
                    let at = utc + TimeDelta::minutes(minutes);
                    let theirs = other.from_utc_datetime(&at);
                    assert_eq!(zone.from_utc_datetime(&at).naive_local(), theirs.naive_local(), "{other} {at}");
                    let local = |moments: LocalResult<i64>| moments;
                    assert_eq!(
                        local(zone.from_local_datetime(&at).map(|moment| moment.timestamp())),
                        local(other.from_local_datetime(&at).map(|moment| moment.timestamp())),
                        "{other} {at}"
                    );
                }
            }
        }
        assert_eq!(
            "UTC".parse::<ZoneName>().unwrap().offset_from_utc_datetime(&NaiveDateTime::MAX).local_minus_utc(),
            0
        );
    }
}
