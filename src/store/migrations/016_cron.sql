-- Commands of apps that run by time. Those of an app's source are part of its releases.
ALTER TABLE releases ADD COLUMN crons TEXT NOT NULL DEFAULT '[]';

-- Those that were added by a command, over those of the source with the same name.
CREATE TABLE crons (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- JSON.
    spec TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;

-- Whether a cron waits until it is resumed, if that was said of it, over what its own row or source says.
CREATE TABLE cron_switches (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    suspended INTEGER NOT NULL,
    actor TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;

-- A run may be asked for beside its schedule, several of one cron may be under way, and one may have no start at all.
CREATE TABLE jobs_of_now (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    -- What of, for jobs that there are many of: an app's number and its cron, as 3/nightly. '' for the server's own.
    subject TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('waiting', 'running', 'done', 'failed', 'interrupted', 'missed', 'skipped')),
    -- 1, and one more for each time it is repeated after an interruption.
    attempt INTEGER NOT NULL DEFAULT 1,
    started_at INTEGER,
    finished_at INTEGER,
    outcome TEXT,
    -- Who asked for it; NULL: its schedule.
    asked_by TEXT,
    UNIQUE (name, subject, due_at)
) STRICT;
INSERT INTO jobs_of_now (id, name, subject, due_at, state, attempt, started_at, finished_at, outcome)
SELECT id, name, subject, due_at, state, attempt, started_at, finished_at, outcome FROM jobs;
DELETE FROM sqlite_sequence WHERE name = 'jobs_of_now';
INSERT INTO sqlite_sequence (name, seq) SELECT 'jobs_of_now', seq FROM sqlite_sequence WHERE name = 'jobs';
DROP TABLE jobs;
ALTER TABLE jobs_of_now RENAME TO jobs;
CREATE UNIQUE INDEX jobs_waiting ON jobs (name, subject) WHERE state = 'waiting' AND asked_by IS NULL;
CREATE UNIQUE INDEX jobs_running ON jobs (name, subject) WHERE state = 'running' AND name <> 'cron';
CREATE INDEX jobs_alive ON jobs (state) WHERE state IN ('waiting', 'running');

-- What is known of a run of a cron beside its row in jobs, once it has begun.
CREATE TABLE cron_runs (
    job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    release INTEGER NOT NULL,
    command TEXT NOT NULL,
    exit_code INTEGER,
    -- The end of what it printed, without secrets.
    output TEXT NOT NULL DEFAULT '',
    -- How much it printed before that.
    dropped_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A container that runs a command once is no part of what a deploy replaces.
CREATE TABLE containers_of_now (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id INTEGER NOT NULL REFERENCES apps (id),
    release_id INTEGER NOT NULL REFERENCES releases (id),
    deployment_id INTEGER NOT NULL,
    process TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL UNIQUE,
    port INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('candidate', 'live', 'suspended', 'draining', 'once')),
    healthy INTEGER NOT NULL DEFAULT 1,
    -- Why it fails its checks, though it runs.
    failing TEXT,
    -- It ended and is meant to stay so, by its restart policy.
    ended INTEGER NOT NULL DEFAULT 0,
    restart TEXT NOT NULL,
    stop_timeout INTEGER NOT NULL,
    drain_timeout INTEGER NOT NULL,
    retired_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO containers_of_now SELECT * FROM containers;
DELETE FROM sqlite_sequence WHERE name = 'containers_of_now';
INSERT INTO sqlite_sequence (name, seq) SELECT 'containers_of_now', seq FROM sqlite_sequence WHERE name = 'containers';
DROP TABLE containers;
ALTER TABLE containers_of_now RENAME TO containers;
CREATE INDEX containers_of_app ON containers (app_id);
