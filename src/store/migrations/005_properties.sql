-- What is set on the server, over what an app's source says. A row is for all apps, for an app, or for one of its
-- process types. Who set what 0.1.0 kept is not known.
CREATE TABLE properties (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    app_id INTEGER REFERENCES apps (id) ON DELETE CASCADE,
    process TEXT NOT NULL DEFAULT '',
    noun TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    actor TEXT,
    set_at INTEGER,
    CHECK ((scope IN ('app', 'process')) = (app_id IS NOT NULL)),
    CHECK ((scope = 'process') = (process <> ''))
) STRICT;
CREATE UNIQUE INDEX properties_place ON properties (coalesce(app_id, 0), process, noun, name);
INSERT INTO properties (scope, app_id, process, noun, name, value)
SELECT iif(process = '', 'app', 'process'), app_id, process, iif(setting LIKE 'check-%', 'checks', 'ps'),
       iif(setting LIKE 'check-%', substr(setting, 7), setting), value
FROM process_settings;
DROP TABLE process_settings;
INSERT INTO properties (scope, app_id, noun, name, value)
SELECT 'app', id, 'apps', 'deploy-branch', deploy_branch FROM apps WHERE deploy_branch IS NOT NULL;
ALTER TABLE apps DROP COLUMN deploy_branch;

-- Every value that is sealed with age, but for the config that a release keeps.
CREATE TABLE secrets (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    app_id INTEGER REFERENCES apps (id) ON DELETE CASCADE,
    noun TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    actor TEXT,
    set_at INTEGER,
    CHECK ((scope = 'app') = (app_id IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX secrets_place ON secrets (coalesce(app_id, 0), noun, name);
INSERT INTO secrets (scope, app_id, noun, name, sealed) SELECT 'app', app_id, 'config', key, sealed FROM config;
DROP TABLE config;
