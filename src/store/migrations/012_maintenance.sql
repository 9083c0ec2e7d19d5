-- Apps whose requests are answered with 503 while they run on. `page` is what is answered in place of the usual page, and
-- `path` where it was in the repository; `allow` are the networks whose requests go on to the app, with commas between.
CREATE TABLE maintenance (
    app_id INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    message TEXT,
    page BLOB,
    path TEXT,
    allow TEXT NOT NULL,
    actor TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;
