-- Events and announcements of templates as tables. Every other file here stands on these views.
--   logloom tail --all --json > events.ndjson
--   logloom tail --all --json --topic logloom.templates > templates.ndjson
--   duckdb -cmd '.read views.sql' -c '.read count_by_template.sql'

-- Columns are declared, so that a field that a later version adds changes nothing here.
CREATE OR REPLACE VIEW raw_events AS
SELECT
    -- A timestamp holds up to nine digits of a second; TIMESTAMP keeps six.
    CAST(coalesce(timestamp, observed_timestamp) AS TIMESTAMPTZ) AS happened_at,
    severity_text,
    severity_number,
    body,
    attributes ->> '$."logloom.source"' AS source,
    attributes ->> '$."log.record.template.id"' AS template_id,
    attributes ->> '$."log.record.template"' AS template,
    attributes ->> '$."log.record.type"' AS type,
    attributes ->> '$."logloom.topic"' AS topic,
    CAST(attributes ->> '$."logloom.partition"' AS INTEGER) AS partition,
    CAST(attributes ->> '$."logloom.offset"' AS BIGINT) AS "offset",
    CAST(attributes ->> '$."logloom.index"' AS INTEGER) AS "index",
    resource,
    attributes
FROM read_json(
    'events.ndjson',
    format = 'newline_delimited',
    columns = {
        timestamp: 'VARCHAR', observed_timestamp: 'VARCHAR', severity_text: 'VARCHAR', severity_number: 'TINYINT',
        body: 'VARCHAR', resource: 'JSON', attributes: 'JSON'
    }
);

-- Each event once: with at-least-once delivery a fault may have doubled some. One record may hold several logs: the index
-- tells which, and the body which lines of it were joined. Events of `logloom parse` come from no topic and stay as they
-- are.
CREATE OR REPLACE VIEW events AS
SELECT * FROM raw_events WHERE topic IS NULL
UNION ALL
SELECT * FROM raw_events WHERE topic IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY topic, partition, "offset", "index", body) = 1;

-- A row per parameter; what has no name is known by its place in the template, from 1.
CREATE OR REPLACE VIEW parameters AS
SELECT
    happened_at, source, template_id, template, body,
    place,
    coalesce(parameter.name, CAST(place AS VARCHAR)) AS name,
    parameter.type AS type,
    parameter.value AS value,
    TRY_CAST(parameter.value AS DOUBLE) AS number
FROM (
    SELECT *, unnest(list) AS parameter, generate_subscripts(list, 1) AS place
    FROM (
        SELECT *, from_json(
            attributes -> '$."log.record.parameters"', '[{"value": "VARCHAR", "type": "VARCHAR", "name": "VARCHAR"}]'
        ) AS list
        FROM events
    )
);

-- What the templates topic says of each template now: its last announcement.
CREATE OR REPLACE VIEW templates AS
SELECT source, id, template, reason, replaced_by, time
FROM read_json(
    'templates.ndjson',
    format = 'newline_delimited',
    columns = {
        id: 'VARCHAR', source: 'VARCHAR', template: 'VARCHAR', reason: 'VARCHAR', replaced_by: 'VARCHAR',
        parser_version: 'VARCHAR', time: 'TIMESTAMPTZ'
    }
)
QUALIFY row_number() OVER (PARTITION BY source, id ORDER BY time DESC, replaced_by IS NULL) = 1;
