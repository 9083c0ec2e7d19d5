-- Programs that somebody runs in a container of an app: `run`, `run:detached`, `enter`. A row is written before its
-- container is made, and ended after the container is gone.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('attached', 'detached', 'enter')),
    -- The release may be pruned once the run is over.
    release_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    image TEXT NOT NULL,
    container TEXT NOT NULL,
    inside TEXT,
    address TEXT UNIQUE,
    exec TEXT,
    command TEXT NOT NULL,
    -- Names of variables, as a JSON array.
    given TEXT NOT NULL,
    actor TEXT NOT NULL,
    door TEXT NOT NULL,
    caller_address TEXT,
    goes_on INTEGER NOT NULL,
    tty INTEGER NOT NULL,
    time_limit INTEGER NOT NULL,
    stop_timeout INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('starting', 'running', 'ended')),
    end TEXT,
    exit_code INTEGER,
    created_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX runs_of_app ON runs (app_id, id);
CREATE INDEX runs_at_work ON runs (id) WHERE state <> 'ended';
