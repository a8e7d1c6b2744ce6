-- Count by template. FINAL leaves out second deliveries; where delivery is exactly-once it is not needed.
SELECT source, template_id, any(template) AS template, count() AS events
FROM logloom.events FINAL
GROUP BY source, template_id
ORDER BY events DESC, source, template_id
LIMIT 20;

-- Errors by template and minute, for a graph.
SELECT toStartOfMinute(happened_at) AS minute, template_id, any(template) AS template, count() AS events
FROM logloom.events FINAL
WHERE severity_number >= 17
GROUP BY minute, template_id
ORDER BY minute, events DESC, template_id;

-- Numeric parameters by template: median and 95th percentile. A place is that in the template, from 1.
SELECT
    template_id,
    place,
    any(parameter.name) AS name,
    any(template) AS template,
    count() AS numbers,
    quantiles(0.5, 0.95)(toFloat64OrZero(parameter.value)) AS p50_p95
FROM logloom.events FINAL
ARRAY JOIN parameters AS parameter, arrayEnumerate(parameters) AS place
WHERE parameter.type IN ('integer', 'float')
GROUP BY template_id, place
ORDER BY numbers DESC, template_id, place
LIMIT 20;

-- Templates whose first event is of the last day, by the clock of the source's newest event.
SELECT source, template_id, any(template) AS template, min(happened_at) AS first_seen, argMin(body, happened_at) AS message
FROM logloom.events
GROUP BY source, template_id
QUALIFY first_seen > max(max(happened_at)) OVER (PARTITION BY source) - INTERVAL 1 DAY
ORDER BY first_seen DESC, source, template_id;

-- Events by the template that their own stands for today: ids that were replaced are followed to the newest one.
WITH RECURSIVE followed AS
(
    SELECT source, id, id AS current_id, 0 AS steps FROM logloom.templates FINAL
    UNION ALL
    SELECT followed.source, followed.id, replaced.replaced_by, followed.steps + 1
    FROM followed
    INNER JOIN (SELECT source, id, replaced_by FROM logloom.templates FINAL WHERE replaced_by != '') AS replaced
        ON replaced.source = followed.source AND replaced.id = followed.current_id
    WHERE followed.steps < 20
),
newest AS (SELECT source, id, argMax(current_id, steps) AS current_id FROM followed GROUP BY source, id)
SELECT
    events.source AS source,
    if(newest.current_id = '', events.template_id, newest.current_id) AS template_id,
    argMax(events.template, events.happened_at) AS template,
    count() AS events,
    uniqExact(events.template_id) AS ids
FROM (SELECT source, template_id, template, happened_at FROM logloom.events FINAL) AS events
LEFT JOIN newest ON newest.source = events.source AND newest.id = events.template_id
GROUP BY source, template_id
ORDER BY ids DESC, events DESC, source, template_id
LIMIT 20;
