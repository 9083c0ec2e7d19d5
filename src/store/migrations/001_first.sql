CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE apps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('new', 'running', 'stopped')),
    deploy_branch TEXT,
    current_release_id INTEGER REFERENCES releases (id),
    last_version INTEGER NOT NULL DEFAULT 0,
    freeze TEXT,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE ssh_keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL UNIQUE,
    public_key TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Values are sealed with age.
CREATE TABLE config (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (app_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    branch TEXT,
    commit_id TEXT,
    release_id INTEGER REFERENCES releases (id) ON DELETE SET NULL,
    error TEXT,
    canceled_by TEXT,
    superseded_by INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX deployments_of_app ON deployments (app_id, id);
CREATE INDEX deployments_alive ON deployments (state) WHERE finished_at IS NULL;

CREATE TABLE deployment_events (
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_of_deployment ON deployment_events (deployment_id);

-- Never updated once written, but for status.
CREATE TABLE releases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'good', 'failed')),
    image TEXT NOT NULL,
    sealed_config BLOB NOT NULL,
    processes TEXT NOT NULL,
    overrides TEXT NOT NULL,
    port INTEGER NOT NULL,
    declared_port INTEGER,
    commit_id TEXT,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (app_id, version)
) STRICT;

-- What the server was told about process types, over what their source says; process '' is all of them.
CREATE TABLE process_settings (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process TEXT NOT NULL,
    setting TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (app_id, process, setting)
) STRICT, WITHOUT ROWID;

CREATE TABLE formation (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 0 AND 100),
    PRIMARY KEY (app_id, process)
) STRICT, WITHOUT ROWID;

-- A row is written before its container is made and deleted after the container is gone.
CREATE TABLE containers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id INTEGER NOT NULL REFERENCES apps (id),
    release_id INTEGER NOT NULL REFERENCES releases (id),
    deployment_id INTEGER NOT NULL,
    process TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL UNIQUE,
    port INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('candidate', 'live', 'suspended', 'draining')),
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
CREATE INDEX containers_of_app ON containers (app_id);

-- Addresses given back, which must rest a while before they are used again.
CREATE TABLE released_addresses (
    address TEXT PRIMARY KEY,
    released_at INTEGER NOT NULL
) STRICT;
