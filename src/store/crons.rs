use std::collections::HashSet;

use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    model::{Actor, AppId, AppName, AppState, CronName, CronSpec, CronTimes, JobName, JobState, ReleaseVersion},
};

/// A cron of an app, as it counts: what was added by a command goes before what is in the source of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCron {
    /// Its app.
    pub app_id: AppId,
    /// Its app's name.
    pub app: AppName,
    /// Whether the app is meant to run.
    pub app_state: AppState,
    /// The release that serves; none before the first deploy.
    pub release: Option<ReleaseVersion>,
    /// What it is.
    pub spec: CronSpec,
    /// Who added it by a command; none: it is in the source of the release.
    pub added_by: Option<Actor>,
    /// Whether it waits until somebody resumes it.
    pub suspended: bool,
}

impl StoredCron {
    /// Whether its runs begin by time.
    pub fn is_active(&self) -> bool {
        !self.suspended && self.app_state == AppState::Running && self.release.is_some()
    }
}

/// A run of a cron: of its row in the table of jobs, and what is known of it besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRun {
    /// Its number, that of its job.
    pub id: i64,
    /// The app.
    pub app_id: AppId,
    /// The cron.
    pub name: CronName,
    /// When it is or was due, in milliseconds since 1970.
    pub due_at: i64,
    /// Where it stands.
    pub state: JobState,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// What came of it, in one line.
    pub outcome: Option<String>,
    /// Who asked for it; none: its schedule.
    pub asked_by: Option<Actor>,
    /// The release that it runs; none if it did not begin.
    pub release: Option<ReleaseVersion>,
    /// What it runs; none if it did not begin.
    pub command: Option<String>,
    /// How its command ended; none if it did not.
    pub exit_code: Option<i64>,
    /// The end of what it printed, without secrets.
    pub output: String,
    /// How much it printed before that, in bytes.
    pub dropped_bytes: u64,
}

/// What a run of a cron came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronEnd {
    /// In a word.
    pub state: JobState,
    /// In one line.
    pub outcome: String,
    /// How its command ended; none if it did not.
    pub exit_code: Option<i64>,
    /// The end of what it printed, without secrets.
    pub output: String,
    /// How much it printed before that, in bytes.
    pub dropped_bytes: u64,
}

impl CronEnd {
    /// The end of one that printed nothing.
    pub fn of(state: JobState, outcome: impl Into<String>) -> CronEnd {
        CronEnd { state, outcome: outcome.into(), exit_code: None, output: String::new(), dropped_bytes: 0 }
    }
}

const SELECT_RUN: &str = "SELECT id, subject, due_at, state, attempt, started_at, finished_at, outcome, asked_by, release, \
                          command, exit_code, coalesce(output, '') AS output, \
                          coalesce(dropped_bytes, 0) AS dropped_bytes \
                          FROM jobs LEFT JOIN cron_runs ON cron_runs.job_id = jobs.id";

/// What the table of jobs calls a cron.
fn subject(app_id: AppId, name: &CronName) -> String {
    format!("{app_id}/{name}")
}

impl Tables<'_> {
    /// The crons of an app, or of all apps, by app and name.
    pub fn crons(&self, app_id: Option<AppId>) -> Result<Vec<StoredCron>> {
        let switches = self.all(
            "SELECT app_id, name, suspended FROM cron_switches WHERE ?1 IS NULL OR app_id = ?1",
            [app_id],
            |row| {
                Ok((row.get::<_, AppId>("app_id")?, row.get::<_, CronName>("name")?, row.get::<_, bool>("suspended")?))
            },
        )?;
        let added =
            self.all("SELECT app_id, spec, actor FROM crons WHERE ?1 IS NULL OR app_id = ?1", [app_id], |row| {
                let spec: CronSpec = serde_json::from_str(&row.get::<_, String>("spec")?).map_err(corrupt)?;
                Ok((row.get::<_, AppId>("app_id")?, spec, row.get::<_, Actor>("actor")?))
            })?;
        let apps = self.all(
            "SELECT apps.id, apps.name, apps.state, releases.version, coalesce(releases.crons, '[]') AS crons
             FROM apps LEFT JOIN releases ON releases.id = apps.current_release_id
             WHERE (?1 IS NULL OR apps.id = ?1)
                   AND (releases.crons <> '[]' OR apps.id IN (SELECT app_id FROM crons))
             ORDER BY apps.name",
            [app_id],
            |row| {
                let specs: Vec<CronSpec> = serde_json::from_str(&row.get::<_, String>("crons")?).map_err(corrupt)?;
                let app =
                    (row.get::<_, AppId>("id")?, row.get::<_, AppName>("name")?, row.get::<_, AppState>("state")?);
                Ok((app, row.get::<_, Option<ReleaseVersion>>("version")?, specs))
            },
        )?;
        let mut crons = Vec::new();
        for ((app_id, app, app_state), release, of_source) in apps {
            let own = added.iter().filter(|(of, ..)| *of == app_id);
            let mut specs: Vec<(CronSpec, Option<Actor>)> =
                own.map(|(_, spec, actor)| (spec.clone(), Some(actor.clone()))).collect();
            for spec in of_source {
                if !specs.iter().any(|(own, _)| own.name == spec.name) {
                    specs.push((spec, None));
                }
            }
            specs.sort_by(|(left, _), (right, _)| left.name.cmp(&right.name));
            crons.extend(specs.into_iter().map(|(spec, added_by)| {
                let switch = switches.iter().find(|(of, name, _)| *of == app_id && *name == spec.name);
                let suspended = switch.map_or(spec.suspended, |(.., suspended)| *suspended);
                StoredCron { app_id, app: app.clone(), app_state, release, spec, added_by, suspended }
            }));
        }
        Ok(crons)
    }

    /// The apps that have crons.
    pub fn apps_with_crons(&self) -> Result<HashSet<AppId>> {
        let rows = self.all(
            "SELECT app_id FROM crons
             UNION SELECT apps.id FROM apps JOIN releases ON releases.id = apps.current_release_id
             WHERE releases.crons <> '[]'",
            [],
            |row| row.get::<_, AppId>("app_id"),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// Adds a cron to an app, or puts it in the place of one that was added.
    pub fn set_cron(&self, app_id: AppId, spec: &CronSpec, actor: &Actor) -> Result<()> {
        let text = serde_json::to_string(spec).map_err(Error::bug)?;
        self.execute(
            "INSERT INTO crons (app_id, name, spec, actor, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (app_id, name) DO UPDATE SET spec = excluded.spec, actor = excluded.actor,
                                                      created_at = excluded.created_at",
            params![app_id, spec.name, text, actor, clock::now()],
        )
        .map(drop)
    }

    /// Removes a cron that was added by a command, and says whether there was one.
    pub fn remove_cron(&self, app_id: AppId, name: &CronName) -> Result<bool> {
        self.execute("DELETE FROM cron_switches WHERE app_id = ?1 AND name = ?2", params![app_id, name])?;
        let removed = self.execute("DELETE FROM crons WHERE app_id = ?1 AND name = ?2", params![app_id, name])?;
        Ok(removed > 0)
    }

    /// Suspends a cron or resumes it.
    pub fn switch_cron(&self, app_id: AppId, name: &CronName, suspended: bool, actor: &Actor) -> Result<()> {
        self.execute(
            "INSERT INTO cron_switches (app_id, name, suspended, actor, since) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (app_id, name) DO UPDATE SET suspended = excluded.suspended, actor = excluded.actor,
                                                      since = excluded.since",
            params![app_id, name, suspended, actor, clock::now()],
        )
        .map(drop)
    }

    /// What is known of the times of a cron.
    pub fn cron_times(&self, app_id: AppId, name: &CronName) -> Result<CronTimes> {
        let find = |which: &str| {
            self.maybe_one(
                &format!(
                    "SELECT due_at FROM jobs
                     WHERE name = ?1 AND subject = ?2 AND asked_by IS NULL AND state {which} 'waiting'
                     ORDER BY id DESC LIMIT 1"
                ),
                params![JobName::Cron, subject(app_id, name)],
                |row| row.get("due_at"),
            )
        };
        Ok(CronTimes { waiting: find("=")?, last: find("<>")? })
    }

    /// Makes the next run of a cron wait for a time; for none: it has no next run.
    pub fn plan_cron(&self, app_id: AppId, name: &CronName, due_at: Option<i64>) -> Result<()> {
        match due_at {
            Some(due_at) => self.plan_job(JobName::Cron, &subject(app_id, name), due_at),
            None => self.forget_waiting(&subject(app_id, name)),
        }
    }

    fn forget_waiting(&self, subject: &str) -> Result<()> {
        self.execute(
            "DELETE FROM jobs WHERE name = ?1 AND subject = ?2 AND state = 'waiting' AND asked_by IS NULL",
            params![JobName::Cron, subject],
        )
        .map(drop)
    }

    /// Forgets what waits for crons that are none of these.
    pub fn forget_strange_crons(&self, known: &[StoredCron]) -> Result<()> {
        let waiting = self.all(
            "SELECT DISTINCT subject FROM jobs WHERE name = ?1 AND state = 'waiting' AND asked_by IS NULL",
            [JobName::Cron],
            |row| row.get::<_, String>("subject"),
        )?;
        let is_known = |it: &String| known.iter().any(|cron| subject(cron.app_id, &cron.spec.name) == *it);
        waiting.iter().filter(|subject| !is_known(subject)).try_for_each(|subject| self.forget_waiting(subject))
    }

    /// Writes down that times of a cron had no run, in the row of the last of them.
    pub fn leave_out_cron(&self, cron: &StoredCron, due_at: i64, state: JobState, outcome: &str) -> Result<()> {
        let subject = subject(cron.app_id, &cron.spec.name);
        self.forget_waiting(&subject)?;
        self.execute(
            "INSERT OR IGNORE INTO jobs (name, subject, due_at, state, finished_at, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![JobName::Cron, subject, due_at, state, clock::now(), outcome],
        )
        .map(drop)
    }

    /// Begins the run of a cron for a time, unless that time has had its own.
    pub fn begin_cron(&self, cron: &StoredCron, due_at: i64) -> Result<Option<i64>> {
        let subject = subject(cron.app_id, &cron.spec.name);
        self.forget_waiting(&subject)?;
        let inserted = self.execute(
            "INSERT OR IGNORE INTO jobs (name, subject, due_at, state, started_at) VALUES (?1, ?2, ?3, 'running', ?4)",
            params![JobName::Cron, subject, due_at, clock::now()],
        )?;
        if inserted == 0 {
            return Ok(None);
        }
        let id = self.connection.last_insert_rowid();
        self.note_begun(cron, id)?;
        Ok(Some(id))
    }

    /// Asks for a run of a cron as soon as can be, and returns its number.
    pub fn ask_for_cron(&self, app_id: AppId, name: &CronName, actor: &Actor, attempt: u32) -> Result<i64> {
        let subject = subject(app_id, name);
        // Each run has a time of its own.
        let mut due_at = clock::now();
        loop {
            let inserted = self.execute(
                "INSERT OR IGNORE INTO jobs (name, subject, due_at, state, attempt, asked_by)
                 VALUES (?1, ?2, ?3, 'waiting', ?4, ?5)",
                params![JobName::Cron, subject, due_at, attempt, actor],
            )?;
            if inserted > 0 {
                return Ok(self.connection.last_insert_rowid());
            }
            due_at += 1;
        }
    }

    /// The runs that somebody asked for and that wait, oldest first.
    pub fn asked_crons(&self) -> Result<Vec<CronRun>> {
        self.all(
            &format!("{SELECT_RUN} WHERE name = ?1 AND state = 'waiting' AND asked_by IS NOT NULL ORDER BY id"),
            [JobName::Cron],
            run,
        )
    }

    /// Takes a run that somebody asked for, and says whether it is ours.
    pub fn take_asked_cron(&self, cron: &StoredCron, id: i64) -> Result<bool> {
        let taken = self.start_job(id, clock::now())?;
        if taken {
            self.note_begun(cron, id)?;
        }
        Ok(taken)
    }

    fn note_begun(&self, cron: &StoredCron, id: i64) -> Result<()> {
        self.execute(
            "INSERT INTO cron_runs (job_id, release, command) VALUES (?1, ?2, ?3)",
            params![id, cron.release.unwrap_or(ReleaseVersion(0)), cron.spec.command.as_str()],
        )
        .map(drop)
    }

    /// Ends a run that waits for its start, because it can have none.
    pub fn refuse_asked_cron(&self, id: i64, state: JobState, outcome: &str) -> Result<()> {
        self.execute(
            "UPDATE jobs SET state = ?2, outcome = ?3, finished_at = ?4 WHERE id = ?1 AND state = 'waiting'",
            params![id, state, outcome, clock::now()],
        )
        .map(drop)
    }

    /// The runs that are under way, of a cron or of all, oldest first.
    pub fn running_crons(&self, of: Option<(AppId, &CronName)>) -> Result<Vec<CronRun>> {
        let subject = of.map(|(app_id, name)| subject(app_id, name));
        self.all(
            &format!("{SELECT_RUN} WHERE name = ?1 AND state = 'running' AND (?2 IS NULL OR subject = ?2) ORDER BY id"),
            params![JobName::Cron, subject],
            run,
        )
    }

    /// Ends a run that is under way, and says whether it was.
    pub fn end_cron(&self, id: i64, end: &CronEnd) -> Result<bool> {
        let ended = self.execute(
            "UPDATE jobs SET state = ?2, outcome = ?3, finished_at = ?4 WHERE id = ?1 AND state = 'running'",
            params![id, end.state, end.outcome, clock::now()],
        )?;
        self.execute(
            "UPDATE cron_runs SET exit_code = ?2, output = ?3, dropped_bytes = ?4 WHERE job_id = ?1",
            params![id, end.exit_code, end.output, end.dropped_bytes as i64],
        )?;
        Ok(ended > 0)
    }

    /// The newest runs of an app's crons, or of one, newest first: what began, was missed or left out.
    pub fn cron_history(&self, app_id: AppId, name: Option<&CronName>, limit: u32) -> Result<Vec<CronRun>> {
        let (exact, below) = (name.map(|name| subject(app_id, name)), format!("{app_id}/*"));
        self.all(
            &format!(
                "{SELECT_RUN} WHERE name = ?1 AND (state <> 'waiting' OR asked_by IS NOT NULL)
                     AND (subject = ?2 OR (?2 IS NULL AND subject GLOB ?3)) ORDER BY id DESC LIMIT ?4"
            ),
            params![JobName::Cron, exact, below, limit],
            run,
        )
    }

    /// A run of an app's crons, by its number.
    pub fn cron_run(&self, app_id: AppId, id: i64) -> Result<Option<CronRun>> {
        let below = format!("{app_id}/*");
        self.maybe_one(
            &format!("{SELECT_RUN} WHERE id = ?1 AND name = ?2 AND subject GLOB ?3"),
            params![id, JobName::Cron, below],
            run,
        )
    }

    /// Forgets all runs of an app's crons.
    pub(super) fn forget_crons(&self, app_id: AppId) -> Result<()> {
        self.execute(
            "DELETE FROM jobs WHERE name = ?1 AND subject GLOB ?2",
            params![JobName::Cron, format!("{app_id}/*")],
        )
        .map(drop)
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<CronRun> {
    let subject: String = row.get("subject")?;
    let (app_id, name) = subject.split_once('/').unwrap_or_default();
    Ok(CronRun {
        id: row.get("id")?,
        app_id: AppId(app_id.parse().map_err(corrupt)?),
        name: name.parse().map_err(corrupt)?,
        due_at: row.get("due_at")?,
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        outcome: row.get("outcome")?,
        asked_by: row.get("asked_by")?,
        release: row.get("release")?,
        command: row.get("command")?,
        exit_code: row.get("exit_code")?,
        output: row.get("output")?,
        dropped_bytes: row.get::<_, i64>("dropped_bytes")?.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ImageId, Override},
        store::{NewRelease, Store},
    };

    fn store() -> (tempfile::TempDir, Store, AppId) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("paas.db")).unwrap();
        let id = store.write(|tables| Ok(tables.create_app(&"blog".parse()?)?.id)).unwrap();
        (directory, store, id)
    }

    fn spec(name: &str, schedule: &str) -> CronSpec {
        CronSpec::new(name.parse().unwrap(), schedule.parse().unwrap(), "true".parse().unwrap())
    }

    fn deploy(tables: &Tables<'_>, app_id: AppId, crons: &[CronSpec]) -> Result<()> {
        let release = tables.cut_release(
            app_id,
            &NewRelease {
                image: &ImageId("sha256:0".to_owned()),
                sealed_config: b"",
                processes: &[],
                crons,
                overrides: &[] as &[Override],
                port: 5000,
                declared_port: None,
                commit: None,
                reason: "test",
                actor: &Actor::Daemon,
            },
        )?;
        assert_eq!(release.crons, crons);
        tables.set_current_release(app_id, release.id)
    }

    #[test]
    fn those_of_the_release_count_and_added_ones_go_before_them_and_stay() -> Result<()> {
        let (_directory, mut store, app) = store();
        let told = |tables: &Tables<'_>| -> Result<Vec<String>> {
            let crons = tables.crons(None)?;
            Ok(crons
                .iter()
                .map(|cron| {
                    let from = if cron.added_by.is_some() { "added" } else { "source" };
                    format!("{} {} {from} {}", cron.spec.name, cron.spec.schedule, cron.is_active())
                })
                .collect())
        };
        store.write(|tables| {
            tables.set_cron(app, &spec("own", "@hourly"), &Actor::Daemon)?;
            assert_eq!(told(tables)?, ["own @hourly added false"], "not deployed yet");
            deploy(tables, app, &[spec("a", "@daily"), spec("own", "@yearly")])?;
            assert_eq!(told(tables)?, ["a @daily source true", "own @hourly added true"]);
            tables.switch_cron(app, &"a".parse()?, true, &Actor::Daemon)?;
            deploy(tables, app, &[spec("a", "@weekly"), spec("b", "@daily")])?;
            assert_eq!(told(tables)?, ["a @weekly source false", "b @daily source true", "own @hourly added true"]);
            tables.switch_cron(app, &"a".parse()?, false, &Actor::Daemon)?;
            assert!(tables.remove_cron(app, &"own".parse()?)? && !tables.remove_cron(app, &"b".parse()?)?);
            tables.set_app_state(app, AppState::Stopped)?;
            assert_eq!(told(tables)?, ["a @weekly source false", "b @daily source false"]);
            Ok(())
        })
    }

    #[test]
    fn a_due_time_is_begun_once_and_runs_that_are_asked_for_have_their_own() -> Result<()> {
        let (_directory, mut store, app) = store();
        store.write(|tables| {
            deploy(tables, app, &[spec("a", "* * * * *"), spec("b", "@daily")])?;
            let [a, b] = tables.crons(None)?.try_into().unwrap();
            let name = a.spec.name.clone();
            tables.plan_cron(app, &name, Some(60_000))?;
            assert_eq!(tables.cron_times(app, &name)?, CronTimes { waiting: Some(60_000), last: None });
            assert!(tables.due_jobs(i64::MAX)?.is_empty(), "no work of the daemon's own");
            let first = tables.begin_cron(&a, 60_000)?.unwrap();
            assert_eq!(tables.begin_cron(&a, 60_000)?, None);
            assert_eq!(tables.cron_times(app, &name)?, CronTimes { waiting: None, last: Some(60_000) });
            // Several of one cron may be under way, where it says so.
            let second = tables.begin_cron(&a, 120_000)?.unwrap();
            let asked = tables.ask_for_cron(app, &name, &Actor::Daemon, 1)?;
            assert_ne!(tables.ask_for_cron(app, &b.spec.name, &Actor::Daemon, 1)?, asked);
            assert_eq!(tables.asked_crons()?.len(), 2);
            tables.plan_cron(app, &name, Some(180_000))?;
            assert!(tables.take_asked_cron(&a, asked)? && !tables.take_asked_cron(&a, asked)?);
            assert_eq!(tables.cron_times(app, &name)?, CronTimes { waiting: Some(180_000), last: Some(120_000) });
            let running: Vec<i64> = tables.running_crons(Some((app, &name)))?.iter().map(|run| run.id).collect();
            assert_eq!(running, [first, second, asked]);
            assert!(tables.interrupt_jobs(1)?.is_empty(), "their containers outlive the daemon");

            let end =
                CronEnd { exit_code: Some(3), output: "said".into(), ..CronEnd::of(JobState::Failed, "exit code 3") };
            assert!(tables.end_cron(first, &end)? && !tables.end_cron(first, &end)?);
            let run = tables.cron_run(app, first)?.unwrap();
            assert_eq!((run.state, run.exit_code, run.output.as_str()), (JobState::Failed, Some(3), "said"));
            assert_eq!((run.command.as_deref(), run.release), (Some("true"), Some(ReleaseVersion(1))));
            assert_eq!(tables.cron_run(AppId(app.0 + 1), first)?, None, "another app's");
            tables.leave_out_cron(&a, 240_000, JobState::Missed, "2 times")?;
            let states: Vec<JobState> = tables.cron_history(app, Some(&name), 9)?.iter().map(|run| run.state).collect();
            assert_eq!(states, [JobState::Missed, JobState::Running, JobState::Running, JobState::Failed]);
            assert_eq!(tables.cron_history(app, None, 9)?.len(), 5, "one waits that was asked for");

            // Of what is over, only so much is kept; what belongs to it goes with it.
            assert_eq!(tables.forget_jobs(1)?, 1);
            assert_eq!(tables.cron_run(app, first)?, None);
            Ok(())
        })
    }

    #[test]
    fn what_waits_for_a_cron_that_is_gone_is_forgotten_and_all_of_an_app_with_it() -> Result<()> {
        let (_directory, mut store, app) = store();
        store.write(|tables| {
            deploy(tables, app, &[spec("a", "@daily"), spec("b", "@daily")])?;
            for name in ["a", "b"] {
                tables.plan_cron(app, &name.parse()?, Some(1))?;
            }
            deploy(tables, app, &[spec("b", "@daily")])?;
            let known = tables.crons(None)?;
            tables.forget_strange_crons(&known)?;
            assert_eq!(tables.cron_times(app, &"a".parse()?)?.waiting, None);
            assert_eq!(tables.cron_times(app, &"b".parse()?)?.waiting, Some(1));
            tables.begin_cron(&known[0], 2)?;
            tables.delete_app(app)?;
            assert!(tables.running_crons(None)?.is_empty() && tables.crons(None)?.is_empty());
            Ok(())
        })
    }
}
