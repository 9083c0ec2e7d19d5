//! The five fields of a cron, and the times that they mean.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

use super::super::{Invalid, Result};

/// The longest text that is read as a schedule.
const LONGEST: usize = 200;
/// For how many days a time is looked for. The 29th of February stays away for eight years at most, and one that must be
/// a certain day of the week for twelve.
const DAYS_LOOKED_AT: usize = 13 * 366;
/// By how much no change to winter time sets a clock back, nor a correction of a clock that is no mistake.
pub(super) const MOST_SET_BACK: TimeDelta = TimeDelta::hours(3);
/// The times that are answered: from 1970 to the year 9000.
const LATEST: i64 = 221_845_392_000_000;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Words for schedules that many have.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// When a cron is due: minute, hour, day of the month, month and day of the week, or a word such as `@daily`.
///
/// Where both days are given, either will do, as in every cron. A schedule whose minute or hour begins with `*` goes on
/// with the time that passes: it runs twice in an hour that a day has twice, and not in one that it does not have. Any
/// other names times of a day: of a time that a day has twice it is the first, and of one that it does not have it is the
/// first moment after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronSchedule {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be of both kinds, because one of them is any.
    both_days: bool,
    /// Whether it goes on with the time that passes.
    is_steady: bool,
}

/// What a field may hold.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of the month", first: 1, last: 31, names: &[] },
    Field { name: "month", first: 1, last: 12, names: &MONTHS },
    Field { name: "day of the week", first: 0, last: 7, names: &WEEKDAYS },
];

impl Field {
    /// The numbers of the field, as bits.
    fn read(&self, text: &str) -> std::result::Result<u64, String> {
        let mut bits = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(self.step(step)?)),
                None => (part, None),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.first, self.last),
                Some((first, last)) => (self.number(first)?, self.number(last)?),
                None => {
                    let only = self.number(range)?;
                    // `5/15` is from five on.
                    (only, if step.is_some() { self.last } else { only })
                }
            };
            // A week may be said to end with its Sunday.
            let last = if self.last == 7 && last == 0 && first > 0 { 7 } else { last };
            if first > last {
                return Err(format!("the {} {range:?} ends before it begins", self.name));
            }
            let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
            bits |= (first..=last).step_by(step).fold(0, |bits, number| bits | 1 << number);
        }
        // Sunday has two numbers.
        Ok(if self.last == 7 { (bits | bits >> 7) & 0x7f } else { bits })
    }

    fn step(&self, text: &str) -> std::result::Result<u32, String> {
        let step = plain_number(text).filter(|step| (1..=self.last).contains(step));
        step.ok_or_else(|| format!("the step of the {} is a number from 1 to {}, not {text:?}", self.name, self.last))
    }

    fn number(&self, text: &str) -> std::result::Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|index| u32::try_from(index).ok()).map(|index| index + self.first);
        let number = named.or_else(|| plain_number(text)).filter(|number| (self.first..=self.last).contains(number));
        number.ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(", or a name from {first} to {last}"),
                _ => String::new(),
            };
            format!("the {} is a number from {} to {}{names}, not {text:?}", self.name, self.first, self.last)
        })
    }
}

/// A number of one or two digits.
fn plain_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The numbers of the bits that are set.
fn numbers(bits: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |number| bits >> number & 1 == 1)
}

impl FromStr for CronSchedule {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<CronSchedule> {
        read(text).map_err(|rule| Invalid::new("schedule", text, rule))
    }
}

fn read(text: &str) -> std::result::Result<CronSchedule, String> {
    if text.len() > LONGEST {
        return Err(format!("it has {LONGEST} characters at most"));
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let known = |word: &str| WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    let (shown, fields): (String, Vec<&str>) = match words.as_slice() {
        [word] if word.eq_ignore_ascii_case("@reboot") => {
            return Err(
                "a container has no boot: let a process of the app do what is to be done at its start".to_owned()
            );
        }
        ["@every", ..] => return Err("say it in five fields: `*/5 * * * *` is every five minutes".to_owned()),
        [word] if word.starts_with('@') => {
            let (word, fields) = known(word).ok_or_else(|| {
                let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                format!("the words are {}", words.join(", "))
            })?;
            ((*word).to_owned(), fields.split(' ').collect())
        }
        [first, ..] if first.contains('=') => return Err("a time zone has a key of its own, `timezone`".to_owned()),
        fields => (fields.join(" "), fields.to_vec()),
    };
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(format!(
            "it has five fields, minute, hour, day of the month, month and day of the week, not {}: `30 4 * * *` is half \
             past four, every day",
            fields.len()
        ));
    };
    let [of_minute, of_hour, of_day, of_month, of_weekday] = &FIELDS;
    let schedule = CronSchedule {
        text: shown,
        minutes: of_minute.read(minute)?,
        hours: of_hour.read(hour)?,
        days: of_day.read(day)?,
        months: of_month.read(month)?,
        weekdays: of_weekday.read(weekday)?,
        both_days: day.starts_with('*') || weekday.starts_with('*'),
        is_steady: minute.starts_with('*') || hour.starts_with('*'),
    };
    // A leap year has every day that there is.
    let is_ever = (0..366).filter_map(|day| NaiveDate::from_yo_opt(2024, day + 1)).any(|day| {
        let fits = |bits: u64, number: u32| bits >> number & 1 == 1;
        fits(schedule.months, day.month()) && (!schedule.both_days || fits(schedule.days, day.day()))
    });
    if !is_ever {
        return Err("no month that it names has such a day".to_owned());
    }
    Ok(schedule)
}

impl CronSchedule {
    /// The first time after `after` at which it is due, in milliseconds since 1970; nothing if none comes in thirteen
    /// years. `zone`: where its hours are.
    pub fn next_after(&self, zone: &impl TimeZone, after: i64) -> Option<i64> {
        let after = after.clamp(0, LATEST);
        let local = DateTime::<Utc>::from_timestamp_millis(after)?.with_timezone(zone).naive_local();
        // A clock that was set back shows these hours once more.
        let start = local - MOST_SET_BACK;
        let mut found: Option<i64> = None;
        let mut end: Option<NaiveDateTime> = None;
        let mut day = start.date();
        for _ in 0..DAYS_LOOKED_AT {
            if end.is_some_and(|end| day.and_time(NaiveTime::MIN) > end) {
                return found;
            }
            if self.is_on(day) {
                for (hour, minute) in
                    numbers(self.hours).flat_map(|hour| numbers(self.minutes).map(move |it| (hour, it)))
                {
                    let at = day.and_hms_opt(hour, minute, 0)?;
                    if end.is_some_and(|end| at > end) {
                        return found;
                    }
                    let moments = if at < start { Vec::new() } else { self.moments(zone, at) };
                    for moment in moments.into_iter().filter(|moment| *moment > after) {
                        found = Some(found.map_or(moment, |found| found.min(moment)));
                        end = end.or(Some(at + MOST_SET_BACK));
                    }
                }
            }
            day = day.succ_opt()?;
        }
        found
    }

    /// The newest time up to `now` at which it was due; nothing if there was none in thirteen years.
    pub fn last_until(&self, zone: &impl TimeZone, now: i64) -> Option<i64> {
        const MINUTE: i64 = 60_000;
        // The nearer it is looked for, the fewer there are to pass.
        for minutes in [1, 60, 24 * 60, 32 * 24 * 60, 366 * 24 * 60, 13 * 366 * 24 * 60] {
            let mut last = None;
            let mut next = self.next_after(zone, now.saturating_sub(minutes * MINUTE));
            while let Some(at) = next.filter(|at| *at <= now) {
                last = Some(at);
                next = self.next_after(zone, at);
            }
            if last.is_some() {
                return last;
            }
        }
        None
    }

    /// Whether it is due on some time of a day.
    fn is_on(&self, day: NaiveDate) -> bool {
        let fits = |bits: u64, number: u32| bits >> number & 1 == 1;
        let of_month = fits(self.days, day.day());
        let of_week = fits(self.weekdays, day.weekday().num_days_from_sunday());
        fits(self.months, day.month()) && if self.both_days { of_month && of_week } else { of_month || of_week }
    }

    /// When it is due for a time that a clock on the wall shows.
    fn moments(&self, zone: &impl TimeZone, at: NaiveDateTime) -> Vec<i64> {
        match zone.from_local_datetime(&at) {
            LocalResult::Single(moment) => vec![moment.timestamp_millis()],
            LocalResult::Ambiguous(first, second) if self.is_steady => {
                vec![first.timestamp_millis(), second.timestamp_millis()]
            }
            LocalResult::Ambiguous(first, second) => vec![first.timestamp_millis().min(second.timestamp_millis())],
            LocalResult::None if self.is_steady => Vec::new(),
            // A zone has left out whole days.
            LocalResult::None => (1..=48 * 60)
                .find_map(|minutes| zone.from_local_datetime(&(at + TimeDelta::minutes(minutes))).earliest())
                .map(|moment| moment.timestamp_millis())
                .into_iter()
                .collect(),
        }
    }
}

impl fmt::Display for CronSchedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    fn schedule(text: &str) -> CronSchedule {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    /// The next few times, in UTC.
    fn next(text: &str, zone: Tz, after: &str, count: usize) -> Vec<String> {
        let (schedule, mut after) = (schedule(text), at(after));
        let mut found = Vec::new();
        while let Some(next) = schedule.next_after(&zone, after).filter(|_| found.len() < count) {
            found.push(DateTime::from_timestamp_millis(next).unwrap().format("%Y-%m-%dT%H:%MZ").to_string());
            after = next;
        }
        found
    }

    #[test]
    fn fields_are_lists_ranges_steps_and_names() {
        let from = "2026-11-27T10:00:00Z";
        for (text, times) in [
            ("* * * * *", ["2026-11-27T10:01Z", "2026-11-27T10:02Z"]),
            ("*/20 * * * *", ["2026-11-27T10:20Z", "2026-11-27T10:40Z"]),
            ("5/25 * * * *", ["2026-11-27T10:05Z", "2026-11-27T10:30Z"]),
            ("1-10/4,7 10 * * *", ["2026-11-27T10:01Z", "2026-11-27T10:05Z"]),
            ("0 0 * * 0", ["2026-11-29T00:00Z", "2026-12-06T00:00Z"]),
            ("0 0 * * 7", ["2026-11-29T00:00Z", "2026-12-06T00:00Z"]),
            ("0 9 * * Mon-fri", ["2026-11-30T09:00Z", "2026-12-01T09:00Z"]),
            ("0 9 * * sat-sun", ["2026-11-28T09:00Z", "2026-11-29T09:00Z"]),
            ("0 9 1 JAN,jul *", ["2027-01-01T09:00Z", "2027-07-01T09:00Z"]),
            ("  0   9\t1 * *  ", ["2026-12-01T09:00Z", "2027-01-01T09:00Z"]),
            ("0 0 31 * *", ["2026-12-31T00:00Z", "2027-01-31T00:00Z"]),
            // Of two days that are given either will do; with a star, both must be.
            ("0 0 1 * mon", ["2026-11-30T00:00Z", "2026-12-01T00:00Z"]),
            ("0 0 */10 * mon", ["2026-12-21T00:00Z", "2027-01-11T00:00Z"]),
            ("@hourly", ["2026-11-27T11:00Z", "2026-11-27T12:00Z"]),
            ("@DAILY", ["2026-11-28T00:00Z", "2026-11-29T00:00Z"]),
            ("@weekly", ["2026-11-29T00:00Z", "2026-12-06T00:00Z"]),
            ("@monthly", ["2026-12-01T00:00Z", "2027-01-01T00:00Z"]),
            ("@yearly", ["2027-01-01T00:00Z", "2028-01-01T00:00Z"]),
        ] {
            assert_eq!(next(text, Tz::UTC, from, 2), times, "{text}");
        }
        // A time that is due is not the one after itself, and is the last until itself.
        let noon = at("2026-11-27T12:00:00Z");
        assert_eq!(schedule("0 12 * * *").next_after(&Tz::UTC, noon - 1), Some(noon));
        assert_eq!(schedule("0 12 * * *").next_after(&Tz::UTC, noon), Some(noon + 24 * 3_600_000));
        for until in [noon, noon + 1, noon + 23 * 3_600_000] {
            assert_eq!(schedule("0 12 * * *").last_until(&Tz::UTC, until), Some(noon));
        }
        assert_eq!(schedule("0 0 29 2 *").last_until(&Tz::UTC, noon), Some(at("2024-02-29T00:00:00Z")));
    }

    #[test]
    fn a_leap_day_comes_after_eight_years_too() {
        assert_eq!(next("0 0 29 2 *", Tz::UTC, "2026-01-01T00:00:00Z", 2), ["2028-02-29T00:00Z", "2032-02-29T00:00Z"]);
        assert_eq!(next("0 0 29 2 *", Tz::UTC, "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00Z"]);
        assert_eq!(next("0 0 */28 2 mon", Tz::UTC, "2096-03-01T00:00:00Z", 1), ["2100-02-01T00:00Z"]);
    }

    #[test]
    fn where_clocks_are_changed_a_time_of_the_day_comes_once_and_steady_ones_follow_the_time_that_passes() {
        let berlin = Tz::Europe__Berlin;
        // 2026-03-29: 02:00 becomes 03:00 at 01:00 in UTC.
        let spring = "2026-03-28T12:00:00Z";
        assert_eq!(next("30 2 * * *", berlin, spring, 2), ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
        assert_eq!(next("20,40 2 * * *", berlin, spring, 2), ["2026-03-29T01:00Z", "2026-03-30T00:20Z"]);
        assert_eq!(next("0 3 * * *", berlin, spring, 2), ["2026-03-29T01:00Z", "2026-03-30T01:00Z"]);
        let before = "2026-03-29T00:00:00Z";
        assert_eq!(
            next("*/30 * * * *", berlin, before, 3),
            ["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"]
        );
        assert_eq!(next("*/30 2 * * *", berlin, before, 1), ["2026-03-30T00:00Z"]);
        // 2026-10-25: 03:00 becomes 02:00 at 01:00 in UTC.
        let autumn = "2026-10-24T12:00:00Z";
        assert_eq!(next("30 2 * * *", berlin, autumn, 2), ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
        let before = "2026-10-25T00:15:00Z";
        assert_eq!(
            next("*/30 * * * *", berlin, before, 4),
            ["2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"]
        );
        // One that is set back over midnight: 2026-10-25, 01:00 becomes 00:00 at 01:00 in UTC.
        let azores = Tz::Atlantic__Azores;
        assert_eq!(next("30 0 * * *", azores, autumn, 2), ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
        // A half hour; and a day that a zone left out.
        let lord_howe = Tz::Australia__Lord_Howe;
        assert_eq!(next("15 2 * * *", lord_howe, "2026-10-03T12:00:00Z", 1), ["2026-10-03T15:30Z"]);
        assert_eq!(next("0 3 30 12 *", Tz::Pacific__Apia, "2011-12-29T00:00:00Z", 1), ["2011-12-30T10:00Z"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_rule() {
        let mut said = String::new();
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "*/60 * * * *",
            "5-1 * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "1,,2 * * * *",
            "** * * * *",
            "1.5 * * * *",
            "007 * * * *",
            "* * * janu *",
            "* * L * *",
            "@reboot",
            "@every 5m",
            "@sometimes",
            "CRON_TZ=UTC 0 0 * * *",
            "0 0 * * *; rm -rf /",
            "\u{661} * * * *",
        ] {
            said.push_str(&format!("{}\n", text.parse::<CronSchedule>().unwrap_err()));
        }
        insta::assert_snapshot!(said, @r#"
        "" is not a valid schedule: it has five fields, minute, hour, day of the month, month and day of the week, not 0: `30 4 * * *` is half past four, every day
        "* * * *" is not a valid schedule: it has five fields, minute, hour, day of the month, month and day of the week, not 4: `30 4 * * *` is half past four, every day
        "* * * * * *" is not a valid schedule: it has five fields, minute, hour, day of the month, month and day of the week, not 6: `30 4 * * *` is half past four, every day
        "0 0 30 2 *" is not a valid schedule: no month that it names has such a day
        "0 0 31 4,6,9,11 *" is not a valid schedule: no month that it names has such a day
        "60 * * * *" is not a valid schedule: the minute is a number from 0 to 59, not "60"
        "* 24 * * *" is not a valid schedule: the hour is a number from 0 to 23, not "24"
        "* * 0 * *" is not a valid schedule: the day of the month is a number from 1 to 31, not "0"
        "* * * 13 *" is not a valid schedule: the month is a number from 1 to 12, or a name from jan to dec, not "13"
        "* * * * 8" is not a valid schedule: the day of the week is a number from 0 to 7, or a name from sun to sat, not "8"
        "*/0 * * * *" is not a valid schedule: the step of the minute is a number from 1 to 59, not "0"
        "*/60 * * * *" is not a valid schedule: the step of the minute is a number from 1 to 59, not "60"
        "5-1 * * * *" is not a valid schedule: the minute "5-1" ends before it begins
        "-1 * * * *" is not a valid schedule: the minute is a number from 0 to 59, not ""
        "+1 * * * *" is not a valid schedule: the minute is a number from 0 to 59, not "+1"
        "1,,2 * * * *" is not a valid schedule: the minute is a number from 0 to 59, not ""
        "** * * * *" is not a valid schedule: the minute is a number from 0 to 59, not "**"
        "1.5 * * * *" is not a valid schedule: the minute is a number from 0 to 59, not "1.5"
        "007 * * * *" is not a valid schedule: the minute is a number from 0 to 59, not "007"
        "* * * janu *" is not a valid schedule: the month is a number from 1 to 12, or a name from jan to dec, not "janu"
        "* * L * *" is not a valid schedule: the day of the month is a number from 1 to 31, not "L"
        "@reboot" is not a valid schedule: a container has no boot: let a process of the app do what is to be done at its start
        "@every 5m" is not a valid schedule: say it in five fields: `*/5 * * * *` is every five minutes
        "@sometimes" is not a valid schedule: the words are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually
        "CRON_TZ=UTC 0 0 * * *" is not a valid schedule: a time zone has a key of its own, `timezone`
        "0 0 * * *; rm -rf /" is not a valid schedule: it has five fields, minute, hour, day of the month, month and day of the week, not 8: `30 4 * * *` is half past four, every day
        "١ * * * *" is not a valid schedule: the minute is a number from 0 to 59, not "١"
        "#);
        assert!("1,".repeat(200).parse::<CronSchedule>().is_err());
    }

    /// Whether a schedule is due at a time in UTC, by its text alone.
    fn is_due(fields: &[(Vec<u32>, bool); 5], moment: DateTime<Utc>) -> bool {
        use chrono::Timelike;
        let has = |index: usize, number: u32| fields[index].0.contains(&number);
        let (day, weekday) = (has(2, moment.day()), has(4, moment.weekday().num_days_from_sunday()));
        let days = if fields[2].1 || fields[4].1 { day && weekday } else { day || weekday };
        has(0, moment.minute()) && has(1, moment.hour()) && has(3, moment.month()) && days
    }

    fn field(first: u32, last: u32, listed: u32) -> impl Strategy<Value = (Vec<u32>, bool)> {
        prop_oneof![
            Just(((first..=last).collect(), true)),
            proptest::collection::btree_set(first..=listed, 1..5).prop_map(|set| (set.into_iter().collect(), false)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_next_time_is_the_first_minute_that_fits(
            fields in [field(0, 59, 59), field(0, 23, 23), field(1, 31, 28), field(1, 12, 12), field(0, 6, 6)],
            start in 1_600_000_000_000_i64..2_000_000_000_000,
        ) {
            let words = fields.iter().map(|(numbers, is_any)| match is_any {
                true => "*".to_owned(),
                false => numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            });
            let text = words.collect::<Vec<_>>().join(" ");
            let parsed = schedule(&text);
            prop_assert_eq!(parsed.to_string(), &text[..]);
            let next = parsed.next_after(&Tz::UTC, start).unwrap();
            prop_assert!(next > start);
            let mut minute = start / 60_000 * 60_000 + 60_000;
            while !is_due(&fields, DateTime::from_timestamp_millis(minute).unwrap()) {
                minute += 60_000;
            }
            prop_assert_eq!(next, minute, "{}", text);
            prop_assert_eq!(parsed.last_until(&Tz::UTC, next), Some(next));
        }

        /// However clocks are changed, times come one after the other, and a time of the day once a day.
        #[test]
        fn in_every_zone_times_grow_and_a_time_of_the_day_comes_once(
            zone in 0..chrono_tz::TZ_VARIANTS.len(),
            start in 1_600_000_000_000_i64..2_000_000_000_000,
            hour in 0..24_u32,
            minute in 0..60_u32,
        ) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            for text in [format!("{minute} {hour} * * *"), format!("*/{} * * * *", minute.clamp(1, 59)), format!("{minute} * * * *")] {
                let parsed = schedule(&text);
                let mut after = start;
                let mut days = Vec::new();
                for _ in 0..40 {
                    let next = parsed.next_after(&zone, after).unwrap();
                    prop_assert!(next > after, "{} in {}", text, zone);
                    prop_assert_eq!(parsed.next_after(&zone, next - 1), Some(next));
                    days.push(DateTime::from_timestamp_millis(next).unwrap().with_timezone(&zone).date_naive());
                    after = next;
                }
                if !text.contains("* * * * ") && text.split(' ').nth(1) != Some("*") {
                    prop_assert!(days.windows(2).all(|pair| pair[1] > pair[0]), "{} in {}", text, zone);
                }
            }
        }

        #[test]
        fn nothing_that_is_typed_breaks_it(text in "[-0-9*/, @a-z]{0,40}", start in any::<i64>()) {
            if let Ok(parsed) = text.parse::<CronSchedule>() {
                parsed.next_after(&Tz::Europe__Berlin, start);
                let again: CronSchedule = parsed.to_string().parse().unwrap();
                prop_assert_eq!(again, parsed);
            }
        }
    }
}
