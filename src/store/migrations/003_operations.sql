-- What takes longer than a second is an operation. A deployment is one with details of its own.
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    -- The command that asked for it, which its event names.
    action TEXT NOT NULL,
    -- NULL for the server, and for an app that is gone.
    app_id INTEGER REFERENCES apps (id) ON DELETE SET NULL,
    subject TEXT NOT NULL,
    actor TEXT NOT NULL,
    door TEXT NOT NULL,
    address TEXT,
    state TEXT NOT NULL
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'superseded', 'interrupted')),
    -- What a running one is at.
    step TEXT,
    -- JSON, without secrets.
    result TEXT,
    error TEXT,
    canceled_by TEXT,
    superseded_by INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

INSERT INTO operations
    (id, kind, action, app_id, subject, actor, door, state, step, error, canceled_by, superseded_by, created_at, finished_at)
SELECT deployments.id, kind,
       CASE kind WHEN 'push' THEN 'git:push' WHEN 'config' THEN 'config:set' WHEN 'settings' THEN 'ps:set'
                 WHEN 'rollback' THEN 'releases:rollback' ELSE 'ps:' || kind END,
       app_id, 'app:' || apps.name, actor,
       CASE WHEN actor NOT LIKE 'key:%' THEN 'local' WHEN kind = 'push' THEN 'git' ELSE 'ssh' END,
       CASE WHEN deployments.state IN ('queued', 'succeeded', 'failed', 'canceled', 'superseded')
            THEN deployments.state ELSE 'running' END,
       CASE WHEN deployments.state IN ('queued', 'succeeded', 'failed', 'canceled', 'superseded')
            THEN NULL ELSE deployments.state END,
       error, canceled_by, superseded_by, deployments.created_at, finished_at
FROM deployments JOIN apps ON apps.id = deployments.app_id;

-- No number is used twice.
DELETE FROM sqlite_sequence WHERE name = 'operations';
INSERT INTO sqlite_sequence (name, seq) SELECT 'operations', seq FROM sqlite_sequence WHERE name = 'deployments';

CREATE TABLE deployment_details (
    operation_id INTEGER PRIMARY KEY REFERENCES operations (id) ON DELETE CASCADE,
    branch TEXT,
    commit_id TEXT,
    release_id INTEGER REFERENCES releases (id) ON DELETE SET NULL
) STRICT;
INSERT INTO deployment_details SELECT id, branch, commit_id, release_id FROM deployments;

CREATE TABLE operation_steps (
    operation_id INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
INSERT INTO operation_steps SELECT deployment_id, state, at FROM deployment_events ORDER BY rowid;
CREATE INDEX steps_of_operation ON operation_steps (operation_id);

DROP TABLE deployment_events;
DROP TABLE deployments;
CREATE INDEX operations_of_app ON operations (app_id, id);
CREATE INDEX operations_alive ON operations (state) WHERE state IN ('queued', 'running');

CREATE VIEW deployments AS
SELECT operations.id, operations.app_id, operations.kind,
       CASE operations.state WHEN 'running' THEN operations.step ELSE operations.state END AS state,
       operations.actor, deployment_details.branch, deployment_details.commit_id, deployment_details.release_id,
       operations.error, operations.canceled_by, operations.superseded_by, operations.created_at,
       operations.finished_at
FROM operations JOIN deployment_details ON deployment_details.operation_id = operations.id;
