-- Templates that were seen at least ten times, and not once in the last day of their source, which goes on without them.
-- A heartbeat among them is an outage. A template that another one replaced did not vanish: current_templates.sql
-- counts it under its new id.
SELECT
    source,
    template_id,
    any_value(template) AS template,
    count(*) AS events,
    max(happened_at) AS last_seen
FROM events
ANTI JOIN (SELECT source, id AS template_id FROM templates WHERE replaced_by IS NOT NULL) AS replaced
    USING (source, template_id)
GROUP BY source, template_id
QUALIFY count(*) >= 10 AND max(happened_at) < max(max(happened_at)) OVER (PARTITION BY source) - INTERVAL 1 DAY
ORDER BY events DESC, source, template_id;
