-- Up to now a process type that nobody gave a number had one container; from now on only web has. An app that was
-- deployed before keeps what it runs. It is scaled to that, for what is pushed next: the newest release that has a type
-- decides. And each release that has such a type says so itself, for a rollback to it.
INSERT INTO formation (app_id, process, quantity)
SELECT app_id, process, 1
FROM (
    SELECT releases.app_id, json_extract(value, '$.process') AS process,
           json_extract(value, '$.quantity') AS quantity,
           row_number() OVER (
               PARTITION BY releases.app_id, json_extract(value, '$.process') ORDER BY version DESC
           ) AS place
    FROM releases, json_each(releases.processes)
    WHERE releases.status = 'good'
)
WHERE place = 1 AND process <> 'web' AND quantity IS NULL
ON CONFLICT (app_id, process) DO NOTHING;
UPDATE releases
SET processes = (
    SELECT json_group_array(
        json(iif(json_extract(value, '$.process') <> 'web' AND json_extract(value, '$.quantity') IS NULL,
                 json_set(value, '$.quantity', 1), value))
        ORDER BY key)
    FROM json_each(releases.processes)
);
