-- Certificates with their chain, as PEM with the host's own first. A renewal is a new row, and no row ever changes. The
-- private keys are in `secrets`, under the noun 'certs' and the id. What the authority issued is the server's, whichever
-- app it was for: an app that is made again needs no new one. `names`: a JSON list, in lower case, as punycode.
CREATE TABLE certificates (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    app_id INTEGER REFERENCES apps (id) ON DELETE CASCADE,
    names TEXT NOT NULL,
    chain TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_of_app ON certificates (app_id);

-- What is answered below /.well-known/acme-challenge/ while the authority looks.
CREATE TABLE acme_challenges (
    token TEXT PRIMARY KEY,
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Orders that are not over, so that one whose process died is taken up again. Their private keys are in `secrets`, under
-- the noun 'certs' and 'order URL'. `names`: a JSON list.
CREATE TABLE acme_orders (
    url TEXT PRIMARY KEY,
    directory TEXT NOT NULL,
    names TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How the last try for a name went, and when the next one is due. `trouble` is the kind of what was wrong, if anything was;
-- `reason` what was said. `refused_at` and `refused_before` are the last two times that the authority looked in vain: it
-- counts those.
CREATE TABLE acme_names (
    name TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    refused_at INTEGER,
    refused_before INTEGER,
    trouble TEXT,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- The accounts at authorities. Their keys are in `secrets`, under the noun 'certs' and 'account DIRECTORY'. Until `next_at`
-- nothing is asked of the authority, because of `trouble`.
CREATE TABLE acme_accounts (
    directory TEXT PRIMARY KEY,
    contact TEXT NOT NULL,
    failures INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    trouble TEXT,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- Of which certificates it was said that they end soon, and how many days before.
CREATE TABLE certificate_warnings (
    certificate_id INTEGER NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
    days INTEGER NOT NULL,
    PRIMARY KEY (certificate_id, days)
) STRICT, WITHOUT ROWID;
