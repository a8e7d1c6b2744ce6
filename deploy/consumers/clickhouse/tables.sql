-- Events and announcements of templates from Kafka into ClickHouse: clickhouse-client --multiquery < tables.sql
CREATE DATABASE IF NOT EXISTS logloom;

-- What comes from Kafka, as it is. ClickHouse reads committed records alone and commits after the insert: at least once.
CREATE TABLE IF NOT EXISTS logloom.events_queue (raw String)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka:9092',
    kafka_topic_list = 'logloom.events',
    kafka_group_name = 'clickhouse-events',
    kafka_format = 'JSONAsString',
    -- Consumers of one table, at most one per partition.
    kafka_num_consumers = 1,
    -- A record that is no JSON must not stop the others: it comes with _error set, and the view below leaves it out.
    kafka_handle_error_mode = 'stream';

-- The sorting key is what makes an event itself, so that a second delivery replaces the first: always, with FINAL; at
-- the next merge, without. A record may hold several logs: the place in it tells which, the body which lines were joined.
CREATE TABLE IF NOT EXISTS logloom.events
(
    happened_at DateTime64(9, 'UTC'),
    observed_at DateTime64(3, 'UTC'),
    severity LowCardinality(String),
    severity_number UInt8,
    source LowCardinality(String),
    template_id LowCardinality(String),
    template LowCardinality(String),
    type LowCardinality(String),
    body String CODEC(ZSTD(3)),
    -- In the order of the template; a name may be empty.
    parameters Array(Tuple(name String, type String, value String)),
    -- All else as text: header fields, fields of the envelope, fields asked for in words.
    attributes Map(LowCardinality(String), String),
    parser LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    place_in_record Int32,
    INDEX by_template template_id TYPE set(1000) GRANULARITY 4
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(happened_at)
ORDER BY (source, toStartOfHour(happened_at), topic, partition, offset, place_in_record, cityHash64(body))
TTL toDateTime(happened_at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS logloom.events_reader TO logloom.events AS
WITH
    JSONExtractString(raw, 'timestamp') AS timestamp,
    JSONExtractString(raw, 'observed_timestamp') AS observed_timestamp,
    JSONExtractRaw(raw, 'attributes') AS own
SELECT
    parseDateTime64BestEffort(if(timestamp = '', observed_timestamp, timestamp), 9, 'UTC') AS happened_at,
    parseDateTime64BestEffort(observed_timestamp, 3, 'UTC') AS observed_at,
    JSONExtractString(raw, 'severity_text') AS severity,
    JSONExtractUInt(raw, 'severity_number') AS severity_number,
    JSONExtractString(own, 'logloom.source') AS source,
    JSONExtractString(own, 'log.record.template.id') AS template_id,
    JSONExtractString(own, 'log.record.template') AS template,
    JSONExtractString(own, 'log.record.type') AS type,
    JSONExtractString(raw, 'body') AS body,
    arrayMap(
        one -> (JSONExtractString(one, 'name'), JSONExtractString(one, 'type'), JSONExtractString(one, 'value')),
        JSONExtractArrayRaw(own, 'log.record.parameters')
    ) AS parameters,
    CAST(arrayFilter(
        pair -> NOT startsWith(pair.1, 'logloom.') AND pair.1 NOT IN (
            'log.record.template', 'log.record.template.id', 'log.record.parameters', 'log.record.type'
        ),
        CAST(JSONExtract(own, 'Map(String, String)'), 'Array(Tuple(String, String))')
    ), 'Map(String, String)') AS attributes,
    JSONExtractString(own, 'logloom.parser') AS parser,
    JSONExtractString(own, 'logloom.topic') AS topic,
    JSONExtractInt(own, 'logloom.partition') AS partition,
    JSONExtractInt(own, 'logloom.offset') AS offset,
    JSONExtractInt(own, 'logloom.index') AS place_in_record
FROM logloom.events_queue
WHERE _error = '';

CREATE TABLE IF NOT EXISTS logloom.templates_queue (raw String)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka:9092',
    kafka_topic_list = 'logloom.templates',
    kafka_group_name = 'clickhouse-templates',
    kafka_format = 'JSONAsString',
    kafka_handle_error_mode = 'stream';

-- The last announcement of each template; read it with FINAL.
CREATE TABLE IF NOT EXISTS logloom.templates
(
    source LowCardinality(String),
    id String,
    template String,
    reason LowCardinality(String),
    replaced_by String,
    announced_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(announced_at)
ORDER BY (source, id);

CREATE MATERIALIZED VIEW IF NOT EXISTS logloom.templates_reader TO logloom.templates AS
SELECT
    JSONExtractString(raw, 'source') AS source,
    JSONExtractString(raw, 'id') AS id,
    JSONExtractString(raw, 'template') AS template,
    JSONExtractString(raw, 'reason') AS reason,
    JSONExtractString(raw, 'replaced_by') AS replaced_by,
    parseDateTime64BestEffort(JSONExtractString(raw, 'time'), 3, 'UTC') AS announced_at
FROM logloom.templates_queue
WHERE _error = '';
