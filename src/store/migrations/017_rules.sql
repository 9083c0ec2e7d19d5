-- Who may see an app by a password, which is kept as a hash.
CREATE TABLE proxy_users (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT;

-- Paths of an app whose requests go elsewhere.
CREATE TABLE proxy_paths (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    prefix TEXT NOT NULL,
    target TEXT NOT NULL,
    strip INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, prefix)
) STRICT;

-- A text in Caddy's own words, and the routes that Caddy makes of it, in JSON.
CREATE TABLE proxy_snippets (
    app_id INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    routes TEXT NOT NULL,
    actor TEXT NOT NULL,
    set_at INTEGER NOT NULL
) STRICT;

-- The Caddys behind the first, which have the rules of single apps: one serves, former ones finish what they began.
CREATE TABLE inner_proxies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    port INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('starting', 'serving', 'draining')),
    -- What its configuration is made of, as a hash.
    digest TEXT NOT NULL,
    -- The apps that it has rules of, by number, in JSON.
    apps TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX inner_proxy_that_serves ON inner_proxies (state) WHERE state = 'serving';
