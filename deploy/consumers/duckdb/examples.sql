-- The most frequent templates of errors, since when, and the last message of each.
SELECT
    template_id,
    count(*) AS events,
    min(happened_at) AS first_seen,
    max(happened_at) AS last_seen,
    arg_max(body, happened_at) AS example
FROM events
WHERE severity_number >= 17
GROUP BY template_id
ORDER BY events DESC, template_id
LIMIT 10;
