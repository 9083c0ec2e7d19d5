-- Names whose requests are sent on to another host. They are of one namespace with domains: a name is one app's. `name` as in
-- domains.
CREATE TABLE redirects (
    name TEXT PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    typed TEXT NOT NULL,
    target TEXT NOT NULL,
    code INTEGER NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX redirects_of_app ON redirects (app_id);
