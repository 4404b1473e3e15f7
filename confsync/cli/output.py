"""What every verb has in common: options, exit codes, the envelope, and who hears what.

Separate so that a verb only computes a `Result`. Invariant: data goes to stdout and talk to
stderr; the exit code that is printed in the envelope is the one that the process ends with.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from confsync.host.toml import DEFAULT_CONFIG
from confsync.model.errors import ConfsyncError, InvalidConfig
from confsync.model.ids import Json, dotted

SCHEMA_VERSION: Final = 1
COLOURS: Final = {"green": 32, "yellow": 33, "red": 31, "bold": 1}


class Exit(IntEnum):
    """What the process ends with; 64 to 78 are sysexits."""

    OK = 0
    UNEXPECTED = 1
    PENDING = 2
    ROLLED_BACK = 4
    HALTED = 5
    USAGE = 64
    INVALID = 65
    UNAVAILABLE = 69
    REFUSED = 75
    DENIED = 77
    BAD_SETTINGS = 78
    TIMED_OUT = 124
    INTERRUPTED = 130


EXIT_CODES: Final = (
    "Exit codes: 0 done, in sync; 1 unexpected; 2 changes pending; 4 failed, rolled back, node "
    "safe; 5 failed and not restored; 64 usage; 65 invalid data; 69 Consul or agent unreachable; "
    "75 refused now; 77 denied; 78 agent settings bad; 124 wait timed out; 130 interrupted."
)


@dataclass(slots=True)
class Options:
    """The options that every verb takes."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    config: Path = DEFAULT_CONFIG

    def paint(self, text: str, colour: str) -> str:
        """Return text in a colour, where colours are wanted."""
        plain = self.no_color or "NO_COLOR" in os.environ or not sys.stdout.isatty()
        return text if plain else f"\033[{COLOURS[colour]}m{text}\033[0m"


@dataclass(frozen=True, slots=True)
class Result:
    """What a verb came to: data for programs, text for people, an exit code for both.

    Shape: `note` is talk (stderr), `errors` are ``{code, msg, hint, doc}`` records.
    """

    data: Json = None
    text: str = ""
    exit: int = Exit.OK
    note: str = ""
    warnings: tuple[str, ...] = ()
    errors: tuple[Json, ...] = field(default=())


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        options = context.ensure_object(Options)
        if value not in (None, False):
            setattr(options, name, value)

    return callback


_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any], str], ...]] = (
    (("--json", "as_json"), {"is_flag": True, "help": "Print the JSON envelope."}, "json"),
    (("-q", "--quiet"), {"is_flag": True, "help": "Only data and errors."}, "quiet"),
    (("-v", "--verbose"), {"is_flag": True, "help": "Traces of errors."}, "verbose"),
    (("--no-color",), {"is_flag": True, "help": "No colours (as NO_COLOR)."}, "no_color"),
    (
        ("--config",),
        {
            "type": click.Path(path_type=Path, dir_okay=False),
            "envvar": "CONFSYNC_CONFIG",
            "help": f"The agent's settings, {DEFAULT_CONFIG} by default.",
        },
        "config",
    ),
)


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all have; they work before and after the verb."""
    for names, settings, attribute in reversed(_OPTIONS):
        option = click.option(*names, expose_value=False, callback=_keep(attribute), **settings)
        function = option(function)
    return function


def verb(name: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Make a function that returns a Result into a command's body."""

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        @wraps(function)
        @click.pass_context
        def body(context: click.Context, /, **arguments: Any) -> None:
            options = context.ensure_object(Options)
            try:
                result = function(options, **arguments)
            except ConfsyncError as error:
                if options.verbose:
                    raise
                result = failed(error)
            context.exit(show(name, result, options))

        return common(body)

    return decorate


def failed(error: ConfsyncError) -> Result:
    """Return what a refusal looks like."""
    if isinstance(error, InvalidConfig):
        records = tuple(
            {
                "code": fault.code,
                "msg": fault.message,
                "hint": fault.hint,
                "doc": "",
                "file": fault.where,
                "line": fault.line,
                "column": fault.column,
                "path": dotted(fault.path),
            }
            for fault in error.violations
        )
    else:
        code = type(error).__name__
        records = ({"code": code, "msg": str(error), "hint": "", "doc": ""},)
    return Result(exit=error.exit_code, errors=records, note=str(error))


def show(name: str, result: Result, options: Options) -> int:
    """Print a result the way that was asked for; return the exit code."""
    if options.json:
        print(json.dumps(envelope(name, result), ensure_ascii=False))
        return result.exit
    if result.text:
        print(result.text)
    if result.note and (result.errors or not options.quiet):
        print(result.note, file=sys.stderr)
    for warning in result.warnings:
        if not options.quiet:
            print(f"warning: {warning}", file=sys.stderr)
    return result.exit


def envelope(name: str, result: Result) -> Json:
    """Return what ``--json`` prints; members are only ever added within a version."""
    return {
        "schema_version": SCHEMA_VERSION,
        "command": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "exit": int(result.exit),
        "data": result.data,
        "warnings": list(result.warnings),
        "errors": list(result.errors),
    }
