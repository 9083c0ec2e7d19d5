-- Who may log in is something on the server, or for single apps. All keys that were there before are admin.
ALTER TABLE ssh_keys ADD COLUMN role TEXT CHECK (role IN ('viewer', 'deployer', 'admin'));
UPDATE ssh_keys SET role = 'admin';

CREATE TABLE key_grants (
    key_id INTEGER NOT NULL REFERENCES ssh_keys (id) ON DELETE CASCADE,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'deployer', 'admin')),
    PRIMARY KEY (key_id, app_id)
) STRICT, WITHOUT ROWID;

-- The audit. Rows outlive what they are about, so nothing is referenced.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    door TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    app TEXT,
    outcome TEXT NOT NULL,
    detail TEXT,
    operation_id INTEGER
) STRICT;
CREATE INDEX events_of_app ON events (app, id);
