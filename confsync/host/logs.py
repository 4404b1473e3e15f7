"""The log: one event name with fields per line, JSON for machines, readable for people.

Separate so that nobody else configures logging, and foreign libraries' records take the same
road. Invariants: each line is counted by its level before it is written; a line that cannot be
written is lost, and nothing else with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO, cast

import structlog

from confsync.model.status import Event, EventType

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")

_ERRORS: Final = frozenset({EventType.APPLY_HALTED})
_WARNINGS: Final = frozenset(
    {
        EventType.VALIDATION_REJECTED,
        EventType.GUARD_BLOCKED,
        EventType.APPLY_ROLLED_BACK,
        EventType.APPLY_REFUSED,
        EventType.DRIFT_FOUND,
        EventType.CONSUL_LOST,
        EventType.SETTINGS_REJECTED,
        EventType.REPORT_REFUSED,
    }
)
_DEBUG: Final = frozenset(
    {
        EventType.RECONCILED,
        EventType.PHASE_DONE,
        EventType.STEP_DONE,
    }
)


def level_of(event: Event) -> Level:
    """Return how loud an event is: a human must act, we kept the old state, or it changed."""
    if event.type in _ERRORS:
        return "error"
    if event.type in _WARNINGS:
        return "warning"
    return "debug" if event.type in _DEBUG else "info"


class LogReporter:
    """A Reporter that logs each event and hands it to the metrics."""

    def __init__(self, count: Callable[[Event], None]) -> None:
        self._count = count
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    def emit(self, event: Event) -> None:
        """Take note of one event; never waits."""
        self._count(event)
        fields = {str(key): value for key, value in event.fields.items() if key != "event"}
        getattr(self._log, level_of(event))(event.type, **fields)


def configure(
    level: Level = "info",
    *,
    stream: TextIO | None = None,
    as_json: bool | None = None,
    count: Callable[[str], None] = lambda _level: None,
) -> None:
    """Set up the whole process's log on `stream` (stderr).

    `as_json` None = JSON unless a person watches; `count` hears the level of each line.
    """
    out = stream or sys.stderr
    machine = _nobody_watches(out) if as_json is None else as_json
    number = logging.getLevelNamesMapping()[level.upper()]

    def counted(_: object, method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        count(method)
        return line

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            counted,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=False)
            if machine
            else structlog.dev.ConsoleRenderer(colors=out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy(out))),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Foreign()], level=max(number, logging.WARNING), force=True)


class _Lossy:
    """A stream whose end stops nobody: journald is restarted, a terminal goes away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class _Foreign(logging.Handler):
    """Takes the records of libraries into our log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        log = structlog.get_logger()
        getattr(log, level)(
            "library.message",
            logger=record.name,
            message=record.getMessage(),
            **({"exc_info": record.exc_info} if record.exc_info else {}),
        )


def _nobody_watches(stream: TextIO) -> bool:
    return "JOURNAL_STREAM" in os.environ or not stream.isatty()
