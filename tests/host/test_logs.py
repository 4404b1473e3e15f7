from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections import Counter

import pytest
import structlog

from confsync.host import logs
from confsync.model.status import Event, EventType


@pytest.fixture
def stream():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield io.StringIO()
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_without_a_terminal_each_line_is_json(stream):
    logs.configure(stream=stream)
    structlog.get_logger().info("txn.committed", took_ms=812)
    (line,) = lines(stream)
    assert ("txn.committed", "info", 812) == (line["event"], line["level"], line["took_ms"])
    assert line["timestamp"].endswith("Z")


def test_for_people_it_is_text(stream):
    logs.configure(stream=stream, as_json=False)
    structlog.get_logger().info("txn.committed", took_ms=812)
    assert "txn.committed" in stream.getvalue()
    assert "took_ms=812" in stream.getvalue()


def test_a_line_end_in_a_value_makes_no_second_line(stream):
    logs.configure(stream=stream)
    structlog.get_logger().info("change.seen", why="a\nERROR forged")
    assert 1 == len(stream.getvalue().splitlines())


def test_the_level_hides_and_each_written_line_is_counted(stream):
    counts = Counter()
    logs.configure("warning", stream=stream, count=lambda level: counts.update([level]))
    log = structlog.get_logger()
    log.info("hidden")
    log.warning("shown")
    log.error("shown")
    assert ["shown", "shown"] == [line["event"] for line in lines(stream)]
    assert {"warning": 1, "error": 1} == counts


def test_libraries_warnings_take_the_same_road_and_their_talk_does_not(stream):
    logs.configure(stream=stream)
    logging.getLogger("aiohttp.server").warning("odd %s", "thing")
    logging.getLogger("aiohttp.server").info("chatter")
    (line,) = lines(stream)
    assert ("library.message", "aiohttp.server", "odd thing") == (
        line["event"],
        line["logger"],
        line["message"],
    )


def test_a_trace_is_kept_in_its_line(stream):
    logs.configure(stream=stream)
    try:
        int("deep")
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    (line,) = lines(stream)
    assert "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("level", logs.LEVELS)
def test_every_level_of_the_settings_works(stream, level):
    logs.configure(level, stream=stream)
    structlog.get_logger().error("x")
    assert 1 == len(lines(stream))


def test_the_reporter_logs_by_meaning_and_counts(stream):
    seen = []
    logs.configure("debug", stream=stream)
    reporter = logs.LogReporter(seen.append)
    events = {
        EventType.APPLY_HALTED: "error",
        EventType.APPLY_ROLLED_BACK: "warning",
        EventType.APPLY_COMMITTED: "info",
        EventType.RECONCILED: "debug",
    }
    for type_ in events:
        reporter.emit(Event(type_, {"revision": "abc", "event": "ignored", "level": "odd"}))
    assert list(events) == [event.type for event in seen]
    assert list(events) == [line["event"] for line in lines(stream)]
    assert list(events.values()) == [line["level"] for line in lines(stream)]


@pytest.mark.parametrize("end", ["closed", "nobody reads"])
def test_a_stream_that_is_gone_stops_nobody(stream, end):
    reading, writing = os.pipe()
    os.close(reading)
    pipe = os.fdopen(writing, "w", buffering=1)
    logs.configure(stream=pipe)
    if end == "closed":
        pipe.close()
    logs.LogReporter(lambda _: None).emit(Event(EventType.APPLY_HALTED, {}))
    logging.getLogger("asyncio").error("task failed")
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
