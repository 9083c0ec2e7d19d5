-- Ports of this machine that lead to an app, beside the proxy's own two. `scheme`: `tcp` is relayed, and is one app's; at a
-- port of HTTP, several apps can be reached by their names. `host` is the port of this machine, `container` that of the
-- containers of the process type `process`. `proxy_protocol`: the version in which they are told who the client is; none:
-- they are not.
CREATE TABLE ports (
    host INTEGER NOT NULL,
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    scheme TEXT NOT NULL,
    container INTEGER NOT NULL,
    process TEXT NOT NULL,
    proxy_protocol TEXT,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (host, app_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX relayed_ports ON ports (host) WHERE scheme = 'tcp';
CREATE INDEX ports_of_app ON ports (app_id);
