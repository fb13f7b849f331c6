-- Times are milliseconds since the Unix epoch.

-- One row: what the process that wrote last knows of the time. A process that starts with its clock ahead finds here
-- how far time had come, and so does one that runs beside another with a clock that is wrong.
CREATE TABLE clock (
    singleton  INTEGER PRIMARY KEY CHECK (singleton = 1),
    -- Made for one process's life, to tell its own words from another's.
    writer     TEXT NOT NULL,
    -- The time by which it forgets what has expired; never ahead of its clock.
    settled_at BIGINT NOT NULL,
    -- Its clock at that moment.
    seen_at    BIGINT NOT NULL
);

-- An installation that was made before this table has at least come as far as the newest thing in it.
INSERT INTO clock (singleton, writer, settled_at, seen_at)
SELECT 1, '', newest, newest
FROM (
    SELECT MAX(at) AS newest
    FROM (
        SELECT MAX(created_at) AS at FROM installation
        UNION ALL SELECT MAX(created_at) FROM signing_keys
        UNION ALL SELECT MAX(created_at) FROM api_keys
        UNION ALL SELECT MAX(last_used_at) FROM api_keys
        UNION ALL SELECT MAX(issued_at) FROM client_tokens
    ) AS times
) AS latest
WHERE newest IS NOT NULL;
