use std::time::Duration;

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
        /// Forgets old runs of jobs.
        ForgetJobs = "forget-jobs",
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
        /// Cut short by the end of the daemon.
        Interrupted = "interrupted",
    }
}

/// When a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Again and again, this long after the last due time; the first time at once.
    Every(Duration),
    /// Once a day at this time of the day, in UTC, which knows no summer time.
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
    fn next_due(self, last: Option<i64>, now: i64) -> i64 {
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
                let offset = (i64::from(hour) * 60 + i64::from(minute)) * 60_000;
                // The newest of these times that is not after another.
                let newest = |at: i64| (at - offset).div_euclid(DAY) * DAY + offset;
                match last {
                    Some(last) if last > now && last - now <= DAY => newest(last) + DAY,
                    Some(last) if last <= now && newest(now) > last => newest(now),
                    _ => newest(now) + DAY,
                }
            }
        }
    }

    /// When the next run is to wait for: `waiting` is the due time of the run that waits now, if one does.
    ///
    /// It moves a run that waits only if it must: several missed ones become one, and one that was planned before the
    /// clock was set back comes nearer.
    pub fn plan(self, last: Option<i64>, waiting: Option<i64>, now: i64) -> i64 {
        let next = self.next_due(last, now);
        match waiting {
            Some(waiting) if waiting <= next && next > now => waiting,
            _ => next,
        }
    }
}

impl JobName {
    /// When it is due.
    pub fn schedule(self) -> Schedule {
        match self {
            JobName::PruneImages => Schedule::Every(Duration::from_secs(6 * 3600)),
            JobName::RemoveFiles => Schedule::Every(Duration::from_secs(24 * 3600)),
            JobName::Checkpoint => Schedule::Every(Duration::from_secs(5 * 60)),
            JobName::ForgetJobs => Schedule::Every(Duration::from_secs(3600)),
        }
    }

    /// How often it is begun for one due time: more than once is for jobs that can be repeated and whose next time is far
    /// away. Only what was cut short is begun again, not what failed.
    pub fn attempts(self) -> u32 {
        match self {
            JobName::RemoveFiles => 3,
            JobName::PruneImages | JobName::Checkpoint | JobName::ForgetJobs => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1000;
    const HOURLY: Schedule = Schedule::Every(Duration::from_secs(3600));
    const AT_THREE: Schedule = Schedule::DailyAt { hour: 3, minute: 0 };

    /// A daemon that looks every ten seconds, on a clock that is set by the test.
    struct Clockwork {
        schedule: Schedule,
        now: i64,
        last: Option<i64>,
        waiting: Option<i64>,
        /// The due time of each run, and how long after the start of the test it ran, whatever the clock said.
        ran: Vec<(i64, i64)>,
        passed: i64,
    }

    impl Clockwork {
        fn new(schedule: Schedule, now: i64) -> Clockwork {
            Clockwork { schedule, now, last: None, waiting: None, ran: Vec::new(), passed: 0 }
        }

        fn pass(&mut self, time: i64) {
            let end = self.passed + time;
            while self.passed < end {
                let due = self.schedule.plan(self.last, self.waiting, self.now);
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

    #[test]
    fn summer_time_is_nothing_to_a_schedule_in_utc() {
        // 2026-03-29 and 2026-10-25, when Europe changes; in UTC both days have 24 hours.
        for change in [1_774_742_400_000, 1_792_886_400_000] {
            let mut clock = Clockwork::new(AT_THREE, change);
            clock.pass(3 * DAY);
            assert_eq!(clock.hours(), [3, 27, 51]);
        }
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
