-- Templates whose first event is of the last day, by the clock of the source's newest event.
SELECT
    source,
    template_id,
    any_value(template) AS template,
    min(happened_at) AS first_seen,
    count(*) AS events,
    arg_min(body, happened_at) AS first_message
FROM events
GROUP BY source, template_id
QUALIFY min(happened_at) > max(max(happened_at)) OVER (PARTITION BY source) - INTERVAL 1 DAY
ORDER BY first_seen DESC, source, template_id;
