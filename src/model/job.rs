use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};

use super::names::words;

/// A day, in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

words! {
    /// The jobs that the daemon does by time.
    JobName, "job", {
        /// Removes images that no app needs, and what the build cache has too much of.
        PruneImages = "prune-images",
        /// Removes logs of old deploys and files that a killed process left.
        RemoveFiles = "remove-files",
        /// Empties the log that SQLite writes to first.
        Checkpoint = "checkpoint",
        /// Obtains and renews certificates, and says which end soon.
        Certificates = "certificates",
        /// Forgets old runs of jobs.
        ForgetJobs = "forget-jobs",
        /// Runs a command of an app: there is one for each cron.
        Cron = "cron",
    }
}

words! {
    /// Where a run of a job stands.
    JobState, "job state", {
        /// Planned for its due time.
        Waiting = "waiting",
        /// Running now.
        Running = "running",
        /// Over, and well.
        Done = "done",
        /// Over, with an error.
        Failed = "failed",
        /// Cut short by the end of the daemon, or of the machine.
        Interrupted = "interrupted",
        /// Its time has passed without a run.
        Missed = "missed",
        /// Left out, because the run before it was under way.
        Skipped = "skipped",
    }
}

/// When a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Again and again, this long after the last due time; the first time at once.
    Every(Duration),
    /// Once a day at this time of the day, where the server is. A time that a day does not have, because summer time
    /// begins, is the first one after it; of a time that a day has twice, it is the first.
    DailyAt {
        /// The hour, from 0 to 23.
        hour: u8,
        /// The minute, from 0 to 59.
        minute: u8,
    },
}

impl Schedule {
    /// When a job is due whose last run was due at `last`. All times are in milliseconds since 1970.
    ///
    /// What was missed, however often, is due once. A `last` that is in the future comes from a clock that was set back
    /// since: then nothing waits longer than its interval, and a daily job does not run a second time on its day.
    fn next_due(self, zone: &impl TimeZone, last: Option<i64>, now: i64) -> i64 {
        match (self, last) {
            (Schedule::Every(_), None) => now,
            (Schedule::Every(interval), Some(last)) => {
                let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
                match now.saturating_sub(last) {
                    negative if negative < 0 => now.saturating_add(interval),
                    passed => last.saturating_add(interval.saturating_mul((passed / interval).max(1))),
                }
            }
            (Schedule::DailyAt { hour, minute }, last) => {
                let time = NaiveTime::from_hms_opt(hour.into(), minute.into(), 0).unwrap_or_default();
                let day_of = |at: i64| last_day_of(zone, time, at);
                let due_on = |day: NaiveDate| on_day(zone, time, day);
                let due_after = |day: NaiveDate| due_on(day + TimeDelta::days(1));
                match last {
                    Some(last) if last > now && last - now <= DAY => due_after(day_of(last)),
                    Some(last) if last <= now && day_of(now) > day_of(last) => due_on(day_of(now)),
                    _ => due_after(day_of(now)),
                }
            }
        }
    }

    /// When the next run is to wait for: `waiting` is the due time of the run that waits now, if one does.
    ///
    /// It moves a run that waits only if it must: several missed ones become one, and one that was planned before the
    /// clock was set back comes nearer. `zone`: where the server is.
    pub fn plan(self, zone: &impl TimeZone, last: Option<i64>, waiting: Option<i64>, now: i64) -> i64 {
        let next = self.next_due(zone, last, now);
        match waiting {
            Some(waiting) if waiting <= next && next > now => waiting,
            _ => next,
        }
    }
}

/// When it is this time of a day.
fn on_day(zone: &impl TimeZone, time: NaiveTime, day: NaiveDate) -> i64 {
    let mut local = day.and_time(time);
    loop {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.timestamp_millis(),
            // Clocks go forward by whole quarters of an hour.
            LocalResult::None => local += TimeDelta::minutes(15),
        }
    }
}

/// The newest day whose time of this name is not after `at`.
fn last_day_of(zone: &impl TimeZone, time: NaiveTime, at: i64) -> NaiveDate {
    let moment = DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default();
    let day = moment.with_timezone(zone).date_naive();
    if on_day(zone, time, day) <= at { day } else { day - TimeDelta::days(1) }
}

impl JobName {
    /// When it is due; nothing for crons, of which each says so itself.
    pub fn schedule(self) -> Option<Schedule> {
        Some(match self {
            JobName::PruneImages => Schedule::Every(Duration::from_secs(6 * 3600)),
            JobName::RemoveFiles => Schedule::Every(Duration::from_secs(24 * 3600)),
            JobName::Checkpoint => Schedule::Every(Duration::from_secs(5 * 60)),
            JobName::Certificates => Schedule::Every(Duration::from_secs(6 * 3600)),
            JobName::ForgetJobs => Schedule::DailyAt { hour: 3, minute: 30 },
            JobName::Cron => return None,
        })
    }

    /// How often it is begun for one due time: more than once is for jobs that can be repeated and whose next time is far
    /// away. Only what was cut short is begun again, not what failed.
    pub fn attempts(self) -> u32 {
        match self {
            JobName::RemoveFiles => 3,
            JobName::PruneImages
            | JobName::Checkpoint
            | JobName::Certificates
            | JobName::ForgetJobs
            | JobName::Cron => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    const HOUR: i64 = 3600 * 1000;
    const HOURLY: Schedule = Schedule::Every(Duration::from_secs(3600));
    const AT_THREE: Schedule = Schedule::DailyAt { hour: 3, minute: 0 };

    /// A daemon that looks every ten seconds, on a clock that is set by the test.
    struct Clockwork {
        schedule: Schedule,
        zone: Tz,
        now: i64,
        last: Option<i64>,
        waiting: Option<i64>,
        /// The due time of each run, and how long after the start of the test it ran, whatever the clock said.
        ran: Vec<(i64, i64)>,
        passed: i64,
    }

    impl Clockwork {
        fn new(schedule: Schedule, now: i64) -> Clockwork {
            Clockwork::in_zone(Tz::UTC, schedule, now)
        }

        fn in_zone(zone: Tz, schedule: Schedule, now: i64) -> Clockwork {
            Clockwork { schedule, zone, now, last: None, waiting: None, ran: Vec::new(), passed: 0 }
        }

        fn pass(&mut self, time: i64) {
            let end = self.passed + time;
            while self.passed < end {
                let due = self.schedule.plan(&self.zone, self.last, self.waiting, self.now);
                self.waiting = Some(due);
                // One row a due time, as in the database.
                if due <= self.now && !self.ran.iter().any(|(other, _)| *other == due) {
                    self.ran.push((due, self.passed));
                    (self.last, self.waiting) = (Some(due), None);
                }
                self.now += 10_000;
                self.passed += 10_000;
            }
        }

        /// The hours, since the start of the test, in which it ran.
        fn hours(&self) -> Vec<i64> {
            self.ran.iter().map(|(_, passed)| passed / HOUR).collect()
        }
    }

    #[test]
    fn an_interval_begins_at_once_and_keeps_its_step() {
        let mut clock = Clockwork::new(HOURLY, 1_000_000 * HOUR + 123);
        clock.pass(3 * HOUR + 60_000);
        assert_eq!(clock.hours(), [0, 1, 2, 3]);
        assert!(clock.ran.windows(2).all(|pair| pair[1].0 - pair[0].0 == HOUR), "{:?}", clock.ran);
    }

    #[test]
    fn with_the_clock_back_an_hour_nothing_stops_for_longer_than_its_interval() {
        let mut clock = Clockwork::new(Schedule::Every(Duration::from_secs(300)), 1_000_000 * HOUR);
        clock.pass(HOUR / 2);
        let before = clock.ran.len();
        assert_eq!(before, 6);
        clock.now -= HOUR;
        clock.pass(HOUR / 2);
        let gaps: Vec<i64> = clock.ran.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert!(gaps.iter().all(|gap| (290_000..=610_000).contains(gap)), "{gaps:?}");
        assert!(clock.ran.len() >= before + 5, "{:?}", clock.ran);
    }

    #[test]
    fn with_the_clock_forward_a_day_what_was_missed_runs_once() {
        let mut clock = Clockwork::new(HOURLY, 1_000_000 * HOUR);
        clock.pass(HOUR / 2);
        clock.now += DAY;
        clock.pass(HOUR + HOUR / 4);
        // At the start; at once after the jump; and at its next step.
        assert_eq!(clock.ran.len(), 3, "{:?}", clock.ran);
        assert_eq!(clock.ran[1].1, HOUR / 2);
    }

    #[test]
    fn a_daily_job_runs_once_a_day_whatever_the_clock_does() {
        let midnight = 20_000 * DAY;
        let mut clock = Clockwork::new(AT_THREE, midnight);
        clock.pass(2 * DAY);
        assert_eq!(clock.hours(), [3, 27]);
        // Back an hour, just after it ran: that would be three o'clock once more.
        clock.pass(3 * HOUR + 60_000);
        assert_eq!(clock.ran.len(), 3);
        clock.now -= HOUR;
        clock.pass(23 * HOUR);
        assert_eq!(clock.ran.len(), 3, "{:?}", clock.hours());
        clock.pass(2 * HOUR);
        assert_eq!(clock.ran.len(), 4, "{:?}", clock.hours());
        // Away for a week: once, and then at its time again.
        clock.now += 7 * DAY;
        clock.pass(DAY);
        assert_eq!(clock.ran.len(), 6, "{:?}", clock.hours());
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_stops_no_daily_job() {
        let mut clock = Clockwork::new(AT_THREE, 20_000 * DAY);
        clock.now += 365 * DAY;
        clock.pass(DAY);
        assert_eq!(clock.ran.len(), 1);
        clock.now -= 365 * DAY;
        clock.pass(2 * DAY);
        assert_eq!(clock.ran.len(), 3, "{:?}", clock.hours());
    }

    /// Midnight in UTC at the beginning of the days on which Europe changes its clocks, 2026-03-29 and 2026-10-25, at
    /// 01:00 in UTC: in Berlin 02:00 becomes 03:00, and then 03:00 becomes 02:00.
    const CHANGES: [i64; 2] = [1_774_742_400_000, 1_792_886_400_000];

    #[test]
    fn summer_time_is_nothing_to_a_schedule_in_utc() {
        for change in CHANGES {
            let mut clock = Clockwork::new(AT_THREE, change);
            clock.pass(3 * DAY);
            assert_eq!(clock.hours(), [3, 27, 51]);
        }
    }

    #[test]
    fn summer_time_moves_a_daily_job_with_the_clock_on_the_wall_and_it_runs_once_a_day() {
        let half_past_two = Schedule::DailyAt { hour: 2, minute: 30 };
        let four = Schedule::DailyAt { hour: 4, minute: 0 };
        let [spring, autumn] = CHANGES;
        // Each begins a day early, and says the hours since in which it ran.
        for (schedule, change, hours) in [
            // 02:30 is 01:30 in UTC, then does not exist (03:00, 01:00 in UTC), then is 00:30 in UTC.
            (half_past_two, spring, [1, 25, 48]),
            // 00:30 in UTC; the day has it twice, at 00:30 and 01:30; then it is 01:30 in UTC.
            (half_past_two, autumn, [0, 24, 49]),
            (four, spring, [3, 26, 50]),
            (four, autumn, [2, 27, 51]),
        ] {
            let mut clock = Clockwork::in_zone(Tz::Europe__Berlin, schedule, change - DAY);
            clock.pass(3 * DAY);
            assert_eq!(clock.hours(), hours, "{schedule:?}");
        }
        // Of a clock that was set back an hour by hand it is the same as of one that was not.
        let mut clock = Clockwork::in_zone(Tz::Europe__Berlin, half_past_two, autumn - DAY);
        clock.pass(DAY + HOUR);
        clock.now -= HOUR;
        clock.pass(DAY);
        assert_eq!(clock.ran.len(), 2, "{:?}", clock.hours());
    }

    #[test]
    fn a_day_that_a_zone_left_out_stops_no_daily_job() {
        // Samoa had no 2011-12-30: what was due then is due as it is over, at midnight. The 28th begins in UTC at 14:00
        // there.
        let mut clock = Clockwork::in_zone(Tz::Pacific__Apia, AT_THREE, 1_325_030_400_000);
        clock.pass(4 * DAY);
        assert_eq!(clock.hours(), [13, 37, 58, 61, 85]);
    }

    #[test]
    fn a_restart_in_the_middle_plans_nothing_twice() {
        let mut clock = Clockwork::new(HOURLY, 1_000_000 * HOUR);
        clock.pass(HOUR / 2);
        // Away for ten minutes: all that is known is what is in the database.
        clock.now += HOUR / 6;
        clock.pass(HOUR);
        assert_eq!(clock.ran.len(), 2);
        assert_eq!(clock.ran[1].0 - clock.ran[0].0, HOUR);
    }
}
