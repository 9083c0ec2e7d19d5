-- The names that lead to an app beside its default ones: exact, one label below another name ('*.example.com'), or '_',
-- all that lead nowhere else. In lower case, as punycode, without a final dot; `typed` is what people read.
CREATE TABLE domains (
    name TEXT PRIMARY KEY,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    typed TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX domains_of_app ON domains (app_id);

-- Names below which each app has a default name, beside the server's own domain.
CREATE TABLE global_domains (
    name TEXT PRIMARY KEY,
    typed TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whether an app is reached at all, and whether at its default names.
ALTER TABLE apps ADD COLUMN domains_enabled INTEGER NOT NULL DEFAULT 1;
ALTER TABLE apps ADD COLUMN default_domains INTEGER NOT NULL DEFAULT 1;

-- What keeps strangers from the edge's answers that hold private keys.
INSERT INTO meta (name, value) VALUES ('edge_token', lower(hex(randomblob(16))));
