-- Which addresses do messages name, and in what kinds of messages? A redacted address is a pseudonym and groups alike.
SELECT
    regexp_replace(value, ':\d+$', '') AS address,
    count(*) AS events,
    count(DISTINCT template_id) AS templates,
    mode(template) AS most_often
FROM parameters
WHERE type IN ('ip', 'ip:port') OR value LIKE '<ip:%>'
GROUP BY address
ORDER BY events DESC, address
LIMIT 20;
