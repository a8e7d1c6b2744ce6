-- How often does each template occur, and what part of its source is that?
SELECT
    source,
    template_id,
    any_value(template) AS template,
    count(*) AS events,
    round(100 * count(*) / sum(count(*)) OVER (PARTITION BY source), 1) AS percent
FROM events
GROUP BY source, template_id
ORDER BY events DESC, source, template_id
LIMIT 20;
