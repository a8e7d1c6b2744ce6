-- Events by the template that their own stands for today: ids that were replaced are followed to the newest one.
WITH RECURSIVE followed AS (
    SELECT source, id, id AS current_id FROM templates
    UNION
    SELECT followed.source, followed.id, templates.replaced_by
    FROM followed
    JOIN templates ON templates.source = followed.source AND templates.id = followed.current_id
    WHERE templates.replaced_by IS NOT NULL
),
newest AS (
    -- The one at the end of the chain is the one that nothing replaced.
    SELECT followed.source, followed.id, followed.current_id
    FROM followed
    ANTI JOIN (SELECT source, id AS current_id FROM templates WHERE replaced_by IS NOT NULL) AS replaced
        USING (source, current_id)
)
SELECT
    events.source,
    coalesce(newest.current_id, events.template_id) AS template_id,
    coalesce(any_value(templates.template), arg_max(events.template, events.happened_at)) AS template,
    count(*) AS events,
    count(DISTINCT events.template_id) AS ids
FROM events
LEFT JOIN newest ON newest.source = events.source AND newest.id = events.template_id
LEFT JOIN templates ON templates.source = newest.source AND templates.id = newest.current_id
GROUP BY ALL
ORDER BY ids DESC, events DESC, 1, 2
LIMIT 20;
