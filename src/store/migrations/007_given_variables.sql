-- The variables that an app's app.json has given a value once: it is not given again, whatever became of it.
CREATE TABLE given_variables (
    app_id INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT;
