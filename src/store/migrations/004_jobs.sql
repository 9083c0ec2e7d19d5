-- What is done by time. The row comes first: of a job, a subject and a due time there is one row, which one start takes.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    -- What of, for jobs that there are many of: an app and its entry, a certificate. '' for the server's own.
    subject TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'interrupted')),
    -- 1, and one more for each time it is repeated after an interruption.
    attempt INTEGER NOT NULL DEFAULT 1,
    started_at INTEGER,
    finished_at INTEGER,
    outcome TEXT,
    UNIQUE (name, subject, due_at)
) STRICT;
CREATE UNIQUE INDEX jobs_waiting ON jobs (name, subject) WHERE state = 'waiting';
CREATE UNIQUE INDEX jobs_running ON jobs (name, subject) WHERE state = 'running';
