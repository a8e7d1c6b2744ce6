-- Numeric parameters by template: how many values, median, 95th percentile, most.
SELECT
    template_id,
    place,
    any_value(name) AS name,
    any_value(template) AS template,
    count(number) AS numbers,
    quantile_cont(number, 0.5) AS p50,
    quantile_cont(number, 0.95) AS p95,
    max(number) AS most
FROM parameters
WHERE type IN ('integer', 'float')
GROUP BY template_id, place
HAVING count(number) >= 20
ORDER BY numbers DESC, template_id, place
LIMIT 20;
