-- Hosts, paths and ports that lead to no app, but to addresses or to containers of somebody else's. `source` says what comes
-- in: a host, a host with a path, or a port. `options`: what is set of it, as JSON.
CREATE TABLE routes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL UNIQUE,
    host TEXT,
    options TEXT NOT NULL DEFAULT '{}',
    enabled INTEGER NOT NULL DEFAULT 1,
    actor TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;
CREATE INDEX routes_of_host ON routes (host) WHERE host IS NOT NULL;

-- Where they lead, and where that is now. `addresses`: those that are well, as JSON; `failing`: why there is none, or not all.
CREATE TABLE route_targets (
    route_id INTEGER NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    addresses TEXT NOT NULL DEFAULT '[]',
    failing TEXT,
    since INTEGER NOT NULL,
    PRIMARY KEY (route_id, position)
) STRICT, WITHOUT ROWID;

-- The routes that a Caddy behind the first has, by number, in JSON.
ALTER TABLE inner_proxies ADD COLUMN routes TEXT NOT NULL DEFAULT '[]';
