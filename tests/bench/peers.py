"""The peers: each a process that reads raw logs from one topic and writes JSON to another. `python peers.py NAME ...`.

They are written as their documentation shows, with the settings that their users would choose for throughput, and
compress in lz4, as the worker does.
"""

import json
import os
import sys
import tempfile


def stock_faust(broker: str, group: str, source: str, target: str) -> None:
    """Stock Faust: `take(1000)` and `Topic.send`, an echo as JSON, nothing parsed."""
    import faust  # noqa: PLC0415  each peer needs its own library alone

    app = faust.App(
        group,
        broker=f"kafka://{broker}",
        web_enabled=False,
        topic_disable_leader=True,
        datadir=tempfile.mkdtemp(),
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=5000,
        producer_linger=0.02,
        producer_compression_type="lz4",
        producer_max_batch_size=1 << 20,
        stream_buffer_maxsize=16384,
    )
    raw = app.topic(source, value_serializer="raw")
    events = app.topic(target, value_serializer="raw")

    @app.agent(raw)  # type: ignore[untyped-decorator]  # Faust has no types
    async def echo(stream: faust.Stream[bytes]) -> None:
        async for lines in stream.take(1000, within=0.1):
            for line in lines:
                await events.send(value=json.dumps({"body": line.decode()}).encode())

    app.finalize()
    faust.Worker(app, loglevel="error").execute_from_commandline()


def quix_streams(broker: str, group: str, source: str, target: str) -> None:
    """Quix Streams: an echo as JSON, nothing parsed."""
    from quixstreams import Application  # noqa: PLC0415  the same

    app = Application(
        broker_address=broker,
        consumer_group=group,
        auto_offset_reset="earliest",
        producer_extra_config={"compression.type": "lz4"},
        loglevel="ERROR",
    )
    rows = app.dataframe(app.topic(source, value_deserializer="str"))
    rows = rows.apply(lambda line: {"body": line})
    rows.to_topic(app.topic(target, value_serializer="json"))
    app.run()


def confluent_drain3(broker: str, group: str, source: str, target: str) -> None:
    """confluent-kafka and drain3: header split, match, parameters, JSON."""
    import re  # noqa: PLC0415  the same

    from confluent_kafka import Consumer, Producer  # noqa: PLC0415  the same
    from drain3 import TemplateMiner  # noqa: PLC0415  the same
    from drain3.masking import MaskingInstruction  # noqa: PLC0415  the same
    from drain3.template_miner_config import TemplateMinerConfig  # noqa: PLC0415  the same

    config = TemplateMinerConfig()
    config.masking_instructions = [
        MaskingInstruction(r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
        MaskingInstruction(r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
    ]
    miner = TemplateMiner(config=config)
    header = re.compile(r"(\S+ \S+) (\w+) \[([^]]+)\] (\S+): (.*)", re.DOTALL)
    consumer = Consumer({
        "bootstrap.servers": broker, "group.id": group, "auto.offset.reset": "earliest", "fetch.min.bytes": 100_000,
        "queued.min.messages": 100_000, "enable.auto.offset.store": False,
    })  # fmt: skip
    producer = Producer({
        "bootstrap.servers": broker, "linger.ms": 20, "batch.size": 1 << 20, "compression.type": "lz4",
        "queue.buffering.max.messages": 1_000_000,
    })  # fmt: skip
    consumer.subscribe([source])
    while True:
        messages = consumer.consume(1000, 0.2)
        for message in messages:
            line = message.value().decode()
            match = header.match(line)
            time, level, thread, logger, text = match.groups() if match else ("", "", "", "", line)
            cluster = miner.match(text, "never") or miner.drain.id_to_cluster[miner.add_log_message(text)["cluster_id"]]
            template = cluster.get_template()
            parameters = miner.extract_parameters(template, text, exact_matching=False) or []
            event = {
                "timestamp": time, "severity_text": level, "body": text,
                "attributes": {
                    "log.record.template": template, "thread.name": thread, "log.logger": logger,
                    "log.record.parameters": [{"value": value.value, "type": value.mask_name} for value in parameters],
                },
            }  # fmt: skip
            producer.produce(target, json.dumps(event).encode(), key=message.key(), partition=message.partition())
        producer.poll(0)
        if messages:
            producer.flush()
            consumer.store_offsets(message=messages[-1])


PEERS = {"stock-faust-echo": stock_faust, "quix-echo": quix_streams, "confluent-drain3": confluent_drain3}

if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    _, name, broker, group, source, target = sys.argv
    sys.argv = sys.argv[:1] + (["worker"] if name.startswith("stock") else [])
    PEERS[name](broker, group, source, target)
