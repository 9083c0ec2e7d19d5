//! Crons: commands of an app that run by time. What is due is decided here, from the rows that there are and the time
//! that it is; a clock that jumps is just another time.

mod schedule;
mod zone;

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use chrono::TimeZone;
pub use schedule::CronSchedule;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
pub use zone::ZoneName;

use super::{
    AppId, Invalid, ProcessType, Result,
    names::{checked_string, is_dns_label, words},
};

/// How late a run may begin for its time, in milliseconds: a machine may be down for as long as it takes to start.
const GRACE: i64 = 300_000;
/// How many times that were missed are counted.
const MOST_COUNTED: u32 = 1000;
/// The longest command line, in bytes.
const LONGEST_COMMAND: usize = 4000;
/// How long a run may take, in seconds, if nothing else is said, and at most.
const USUAL_TIMEOUT: u32 = 24 * 3600;
const LONGEST_TIMEOUT: u64 = 7 * 24 * 3600;
/// The most that a run begins after the time of its schedule, in seconds.
const MOST_JITTER: u64 = 3600;
/// How many crons an app may have.
pub const MOST_CRONS: usize = 100;

checked_string! {
    /// The name of a cron within its app.
    CronName, "name of a cron", |text| {
        // With `cron-` before it, it is a process type.
        if is_dns_label(text) && text.len() <= 32 {
            Ok(())
        } else {
            Err("it takes 1 to 32 lower-case letters, digits and dashes, and begins and ends with no dash".to_owned())
        }
    }
}

impl CronName {
    /// What its runs are called among the processes of the app.
    pub fn process(&self) -> ProcessType {
        format!("cron-{self}").parse().unwrap_or_else(|_| unreachable!("it is short enough"))
    }

    /// A name for a command that was given none: its words, as far as a name can hold them; with a number if it is taken.
    pub fn of_command(command: &str, taken: &BTreeSet<CronName>) -> CronName {
        let plain =
            |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { ' ' };
        let words: String = command.chars().map(plain).collect();
        let mut stem = words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
        stem.truncate(28);
        let stem = Some(stem.trim_end_matches('-')).filter(|stem| !stem.is_empty()).unwrap_or("cron").to_owned();
        let numbered = (1_usize..).map(|number| if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
        let mut free = numbered.filter_map(|name| name.parse().ok()).filter(|name| !taken.contains(name));
        free.next().unwrap_or_else(|| CronName(stem.clone()))
    }
}

words! {
    /// What becomes of a run that is due while one before it is under way.
    Overlap, "overlap", {
        /// It runs beside it.
        Allow = "allow",
        /// It is left out.
        Forbid = "forbid",
        /// It takes its place.
        Replace = "replace",
    }
}

words! {
    /// What becomes of times at which nothing could run.
    Missed, "missed", {
        /// They are left out.
        Skip = "skip",
        /// It runs once for all of them, as soon as it can.
        RunOnce = "run-once",
    }
}

words! {
    /// What becomes of a run that something else ended, such as a reboot.
    Interrupted, "interrupted", {
        /// It is left as it is.
        Leave = "leave",
        /// It runs again, twice at most.
        Repeat = "repeat",
    }
}

/// A command line that runs inside a container of the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronCommand(String);

impl CronCommand {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CronCommand {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<CronCommand> {
        let line = text.trim();
        let wrong = match line {
            "" => "it is empty".to_owned(),
            line if line.contains('\0') => "it has a NUL character".to_owned(),
            line if line.len() > LONGEST_COMMAND => format!("it has {LONGEST_COMMAND} bytes at most"),
            line => return Ok(CronCommand(line.to_owned())),
        };
        Err(Invalid::new("command", text, wrong))
    }
}

impl TryFrom<String> for CronCommand {
    type Error = Invalid;

    fn try_from(text: String) -> Result<CronCommand> {
        text.parse()
    }
}

impl From<CronCommand> for String {
    fn from(command: CronCommand) -> String {
        command.0
    }
}

impl fmt::Display for CronCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl TryFrom<String> for CronSchedule {
    type Error = Invalid;

    fn try_from(text: String) -> Result<CronSchedule> {
        text.parse()
    }
}

impl From<CronSchedule> for String {
    fn from(schedule: CronSchedule) -> String {
        schedule.to_string()
    }
}

impl Serialize for CronSchedule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CronSchedule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A command of an app that runs by time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronSpec {
    /// Its name within the app.
    pub name: CronName,
    /// When it is due.
    pub schedule: CronSchedule,
    /// What it runs, by `/bin/sh -c` inside a container of its own.
    pub command: CronCommand,
    /// Where its hours are; none: where the server is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<ZoneName>,
    /// What becomes of a run that is due while one before it is under way.
    pub overlap: Overlap,
    /// How long a run may take.
    pub timeout_seconds: u32,
    /// By how much a run begins after the time of its schedule, at most.
    pub jitter_seconds: u32,
    /// What becomes of times at which nothing could run.
    pub missed: Missed,
    /// What becomes of a run that something else ended.
    pub interrupted: Interrupted,
    /// Whether it waits until somebody resumes it.
    #[serde(default)]
    pub suspended: bool,
}

/// Reads how long a run may take.
///
/// # Errors
/// The rule, for a message.
pub fn cron_timeout(text: &str) -> std::result::Result<u32, String> {
    let rule = "it is a time from 1s to 7d, such as 90s, 10m or 2h";
    seconds(text, 1, LONGEST_TIMEOUT).ok_or_else(|| rule.to_owned())
}

/// Reads by how much a run may begin after the time of its schedule.
///
/// # Errors
/// The rule, for a message.
pub fn cron_jitter(text: &str) -> std::result::Result<u32, String> {
    seconds(text, 0, MOST_JITTER).ok_or_else(|| "it is a time up to 1h, such as 30s or 5m".to_owned())
}

fn seconds(text: &str, least: u64, most: u64) -> Option<u32> {
    let (number, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    u32::try_from(seconds).ok().filter(|_| (least..=most).contains(&seconds))
}

/// What is known of a cron when it is decided what to do about it. All times are in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CronTimes {
    /// The due time of the run that waits, if one does.
    pub waiting: Option<i64>,
    /// The due time of the newest run that waits no more.
    pub last: Option<i64>,
}

/// What to do about a cron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next run waits for this time.
    Wait(i64),
    /// A run begins for this time. Before it, this many were missed.
    Begin {
        /// The time.
        due: i64,
        /// How many before it had no run.
        missed: u32,
    },
    /// This many times were missed, up to this one, and nothing runs for them.
    Miss {
        /// The last of them.
        last: i64,
        /// How many.
        count: u32,
    },
    /// It never comes again.
    Never,
}

impl CronSpec {
    /// A cron of which no more is said.
    pub fn new(name: CronName, schedule: CronSchedule, command: CronCommand) -> CronSpec {
        CronSpec {
            name,
            schedule,
            command,
            timezone: None,
            overlap: Overlap::Forbid,
            timeout_seconds: USUAL_TIMEOUT,
            jitter_seconds: 0,
            missed: Missed::Skip,
            interrupted: Interrupted::Leave,
            suspended: false,
        }
    }

    /// How long a run may take, if nothing else is said.
    pub fn usual_timeout() -> Duration {
        Duration::from_secs(USUAL_TIMEOUT.into())
    }

    /// How long a run may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// By how much each of its runs begins after the time of the schedule. It is always the same for one cron of one app,
    /// so that its runs stay as far apart as the schedule says, and another for the next.
    fn offset(&self, app: AppId) -> i64 {
        let digest = Sha256::digest(format!("{app}/{}", self.name));
        let number = digest.iter().take(7).fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        number % (i64::from(self.jitter_seconds) + 1) * 1000
    }

    /// The first time after `after` at which a run begins. `server`: where the server is.
    pub fn next_after(&self, server: &impl TimeZone, app: AppId, after: i64) -> Option<i64> {
        let offset = self.offset(app);
        let after = after.saturating_sub(offset);
        let next = match &self.timezone {
            Some(zone) => self.schedule.next_after(zone, after),
            None => self.schedule.next_after(server, after),
        };
        next.map(|next| next + offset)
    }

    fn last_until(&self, server: &impl TimeZone, app: AppId, now: i64) -> Option<i64> {
        let offset = self.offset(app);
        let now = now.saturating_sub(offset);
        let last = match &self.timezone {
            Some(zone) => self.schedule.last_until(zone, now),
            None => self.schedule.last_until(server, now),
        };
        last.map(|last| last + offset)
    }

    /// What to do about it now.
    ///
    /// A run that waits is due when its time has come. Of several times that have passed meanwhile, the newest is the one
    /// that runs. One that is older than five minutes was missed: then `missed` decides. After a correction of the clock
    /// to an earlier time, nothing is due until the clock shows what it has shown before. That is not waited for longer
    /// than three hours: a clock that was ahead by more than that was wrong.
    pub fn turn(&self, server: &impl TimeZone, app: AppId, times: CronTimes, now: i64) -> Turn {
        let is_due = |at: i64| self.next_after(server, app, at - 1) == Some(at);
        if let Some(waiting) = times.waiting.filter(|waiting| *waiting <= now && is_due(*waiting)) {
            let last = self.last_until(server, app, now).unwrap_or(waiting).max(waiting);
            let mut count = 1;
            let mut at = waiting;
            while at < last && count < MOST_COUNTED {
                at = self.next_after(server, app, at).unwrap_or(last);
                count += 1;
            }
            return match self.missed {
                Missed::Skip if now - last > GRACE => Turn::Miss { last, count },
                Missed::Skip | Missed::RunOnce => Turn::Begin { due: last, missed: count - 1 },
            };
        }
        let set_back = schedule::MOST_SET_BACK.num_milliseconds();
        let from = times.last.filter(|last| *last > now && last - now <= set_back).unwrap_or(now);
        self.next_after(server, app, from).map_or(Turn::Never, Turn::Wait)
    }
}

/// How many times that is, for people.
pub fn counted(count: u32) -> String {
    match count {
        1 => "1 time".to_owned(),
        MOST_COUNTED.. => format!("{MOST_COUNTED} times or more"),
        _ => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    const APP: AppId = AppId(3);
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// A midnight in UTC.
    const MIDNIGHT: i64 = 20_000 * DAY;

    fn spec(schedule: &str) -> CronSpec {
        CronSpec::new("x".parse().unwrap(), schedule.parse().unwrap(), "true".parse().unwrap())
    }

    /// A daemon that looks every ten seconds, on a clock that is set by the test.
    struct Clockwork {
        spec: CronSpec,
        zone: Tz,
        now: i64,
        times: CronTimes,
        /// The due times that have a row that waits no more.
        rows: BTreeSet<i64>,
        /// The due time of each run, and how late it was.
        ran: Vec<(i64, i64)>,
        missed: u32,
    }

    impl Clockwork {
        fn new(spec: CronSpec, now: i64) -> Clockwork {
            let (times, rows, ran) = Default::default();
            Clockwork { spec, zone: Tz::UTC, now, times, rows, ran, missed: 0 }
        }

        /// What the daemon does with each turn, as it does it with its rows.
        fn look(&mut self) {
            match self.spec.turn(&self.zone, APP, self.times, self.now) {
                Turn::Wait(at) => self.times.waiting = (!self.rows.contains(&at)).then_some(at),
                Turn::Begin { due, missed } => {
                    self.missed += missed;
                    if self.rows.insert(due) {
                        self.ran.push((due, self.now - due));
                    }
                    self.times = CronTimes { waiting: None, last: Some(due) };
                }
                Turn::Miss { last, count } => {
                    self.missed += count;
                    self.rows.insert(last);
                    self.times = CronTimes { waiting: None, last: Some(last) };
                }
                Turn::Never => self.times.waiting = None,
            }
        }

        fn pass(&mut self, time: i64) {
            let end = self.now + time;
            while self.now < end {
                self.look();
                self.now += 10_000;
            }
        }
    }

    #[test]
    fn each_time_has_one_run_and_a_new_cron_waits_for_its_first() {
        let mut clock = Clockwork::new(spec("*/5 * * * *"), MIDNIGHT + 30_000);
        clock.pass(20 * MINUTE);
        let due: Vec<i64> = clock.ran.iter().map(|(due, _)| (due - MIDNIGHT) / MINUTE).collect();
        assert_eq!((due, clock.missed), (vec![5, 10, 15, 20], 0));
        assert!(clock.ran.iter().all(|(_, late)| *late < 10_000), "{:?}", clock.ran);
    }

    #[test]
    fn a_short_absence_runs_the_newest_time_and_a_long_one_what_its_property_says() {
        for (missed, away, ran, counted) in [
            // Two minutes: 10 was due meanwhile.
            (Missed::Skip, 2 * MINUTE, 2, 0),
            // Twenty-three: 10 to 30 were due, and 30 has not long passed.
            (Missed::Skip, 23 * MINUTE, 2, 4),
            (Missed::RunOnce, 23 * MINUTE, 2, 4),
        ] {
            let mut clock = Clockwork::new(CronSpec { missed, ..spec("*/5 * * * *") }, MIDNIGHT + 4 * MINUTE);
            clock.pass(5 * MINUTE);
            clock.now += away;
            clock.look();
            assert_eq!((clock.ran.len(), clock.missed), (ran, counted), "{missed} {away}");
        }
        for (missed, ran) in [(Missed::Skip, 0), (Missed::RunOnce, 1)] {
            let mut clock = Clockwork::new(CronSpec { missed, ..spec("0 3 * * *") }, MIDNIGHT);
            clock.look();
            clock.now += 5 * DAY;
            clock.pass(MINUTE);
            assert_eq!(clock.ran.len(), ran, "{missed}");
            assert_eq!(clock.missed + u32::try_from(ran).unwrap(), 5);
            // And then at its time again.
            clock.pass(DAY);
            assert_eq!(clock.ran.len(), ran + 1, "{missed}");
        }
        // What was missed in a year is not counted to its end.
        let mut clock = Clockwork::new(spec("* * * * *"), MIDNIGHT);
        clock.look();
        clock.now += 365 * DAY;
        clock.look();
        assert_eq!((clock.ran.len(), clock.missed), (1, MOST_COUNTED - 1));
    }

    #[test]
    fn a_clock_that_is_set_back_repeats_nothing_and_stops_nothing_for_long() {
        let mut clock = Clockwork::new(spec("*/5 * * * *"), MIDNIGHT);
        clock.pass(HOUR);
        let before = clock.ran.len();
        clock.now -= HOUR;
        clock.pass(HOUR);
        assert_eq!(clock.ran.len(), before, "{:?}", clock.ran);
        clock.pass(11 * MINUTE);
        assert_eq!(clock.ran.len(), before + 3);
        // One that was a month ahead was wrong: it goes on at once, but for times that have had their runs.
        clock.now += 30 * DAY;
        clock.pass(HOUR);
        clock.now -= 30 * DAY;
        let before = clock.ran.len();
        clock.pass(3 * HOUR);
        assert!(clock.ran.len() > before + 20, "{:?}", clock.ran.len() - before);
        let due: BTreeSet<i64> = clock.ran.iter().map(|(due, _)| *due).collect();
        assert_eq!(due.len(), clock.ran.len());
    }

    #[test]
    fn a_schedule_that_changes_waits_for_its_own_time() {
        let mut clock = Clockwork::new(spec("0 3 * * *"), MIDNIGHT);
        clock.look();
        assert_eq!(clock.times.waiting, Some(MIDNIGHT + 3 * HOUR));
        clock.spec = spec("30 1 * * *");
        clock.look();
        assert_eq!(clock.times.waiting, Some(MIDNIGHT + HOUR + 30 * MINUTE));
        // What waited by a schedule that is no more is not due by it.
        clock.now = MIDNIGHT + 2 * HOUR;
        clock.spec = spec("15 4 * * *");
        clock.look();
        assert_eq!((clock.times.waiting, clock.ran.len()), (Some(MIDNIGHT + 4 * HOUR + 15 * MINUTE), 0));
    }

    #[test]
    fn jitter_is_the_same_for_one_cron_and_another_for_the_next() {
        let jittered = |name: &str| CronSpec { name: name.parse().unwrap(), jitter_seconds: 600, ..spec("0 * * * *") };
        let mut offsets = BTreeSet::new();
        for name in ["a", "b", "c", "d", "e"] {
            let cron = jittered(name);
            let first = cron.next_after(&Tz::UTC, APP, MIDNIGHT).unwrap();
            let second = cron.next_after(&Tz::UTC, APP, first).unwrap();
            assert_eq!(second - first, HOUR);
            let offset = first.rem_euclid(HOUR);
            assert!(offset <= 600_000 && offset % 1000 == 0, "{offset}");
            offsets.insert(offset);
        }
        assert!(offsets.len() > 3, "{offsets:?}");
        assert_eq!(spec("0 * * * *").next_after(&Tz::UTC, APP, MIDNIGHT), Some(MIDNIGHT + HOUR));
        let mut clock = Clockwork::new(jittered("a"), MIDNIGHT);
        clock.pass(4 * HOUR);
        assert!((3..=4).contains(&clock.ran.len()) && clock.missed == 0, "{:?}", clock.ran);
    }

    #[test]
    fn a_zone_is_named_in_any_case() {
        let zone: ZoneName = "europe/berlin".parse().unwrap();
        assert_eq!(zone.to_string(), "Europe/Berlin");
        let cron = CronSpec { timezone: Some(zone), ..spec("0 3 * * *") };
        assert_eq!(cron.next_after(&Tz::UTC, APP, 1_792_800_000_000), Some(1_792_803_600_000));
        for bad in ["", "Berlin", "Europe/Berlin ", "../etc/passwd", "UTC+1"] {
            assert!(bad.parse::<ZoneName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_command_without_a_name_gets_one_of_its_words() {
        let mut taken = BTreeSet::new();
        for (command, name) in [
            ("node cleanup.js", "node-cleanup-js"),
            ("node cleanup.js", "node-cleanup-js-2"),
            ("./bin/x --all", "bin-x-all"),
            ("\u{e9}\u{e9}", "cron"),
            ("'''", "cron-2"),
            (&"a".repeat(100), &"a".repeat(28)),
            (&"a".repeat(100), &format!("{}-2", "a".repeat(28))),
            (&format!("{} b", "a".repeat(27)), &"a".repeat(27)),
        ] {
            let made = CronName::of_command(command, &taken);
            assert_eq!(made.as_str(), name);
            taken.insert(made);
        }
    }

    #[test]
    fn times_have_their_bounds() {
        assert_eq!(cron_timeout("90"), Ok(90));
        assert_eq!(cron_timeout("2h"), Ok(7200));
        assert_eq!(cron_timeout("7d"), Ok(604_800));
        for bad in ["0", "0s", "8d", "", "s", "1.5h", "-1", "99999999999999999999h", "1w"] {
            assert!(cron_timeout(bad).is_err(), "{bad:?}");
        }
        assert_eq!((cron_jitter("0"), cron_jitter("1h")), (Ok(0), Ok(3600)));
        assert!(cron_jitter("61m").is_err());
        for bad in ["", "  ", "a\0b", &"x".repeat(4001)] {
            assert!(bad.parse::<CronCommand>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever the clock does: a due time has one run at most, none before its time, and none that is older than the
        /// grace unless that was asked for.
        #[test]
        fn no_time_runs_twice_however_the_clock_jumps(
            jumps in proptest::collection::vec((-5 * HOUR..5 * HOUR, 0..20 * MINUTE), 1..12),
            run_once in any::<bool>(),
            schedule in prop_oneof![Just("* * * * *"), Just("*/7 * * * *"), Just("0 */2 * * *"), Just("30 2 * * *")],
            zone in 0..chrono_tz::TZ_VARIANTS.len(),
        ) {
            let missed = if run_once { Missed::RunOnce } else { Missed::Skip };
            let mut clock = Clockwork::new(CronSpec { missed, ..spec(schedule) }, 1_774_742_400_000);
            clock.zone = chrono_tz::TZ_VARIANTS[zone];
            for (jump, time) in jumps {
                clock.pass(time);
                clock.now += jump;
            }
            let due: BTreeSet<i64> = clock.ran.iter().map(|(due, _)| *due).collect();
            prop_assert_eq!(due.len(), clock.ran.len(), "{:?}", clock.ran);
            prop_assert!(clock.ran.iter().all(|(_, late)| *late >= 0 && (run_once || *late <= GRACE)), "{:?}", clock.ran);
        }
    }
}
