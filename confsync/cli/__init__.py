"""The command line: parse, one call, print, exit code.

Separate modules per group of verbs; whatever is heavy is imported inside a verb, so that asking
for help or for the status is quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence

import click

from confsync import __version__
from confsync.cli import adopt, agent, explain, plan, publish, status
from confsync.cli.output import EXIT_CODES, Exit, common
from confsync.model.errors import ConfsyncError


@click.group(
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="confsync", message="%(prog)s %(version)s")
@common
def cli() -> None:
    """Carry layered configuration from Consul KV to this host, as one transaction."""


cli.add_command(status.status)
cli.add_command(plan.plan)
cli.add_command(plan.apply)
cli.add_command(explain.explain)
cli.add_command(adopt.adopt)
cli.add_command(publish.validate)
cli.add_command(publish.push)
cli.add_command(agent.agent)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what really happened: a group of tasks wraps what ended it."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing escapes as a traceback unasked."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(cli.main(argv, "confsync", standalone_mode=False) or 0)
    except click.UsageError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.UNEXPECTED
    except (click.Abort, KeyboardInterrupt):
        print("interrupted; a transaction that runs in the agent goes on", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader went away; leave nothing for the interpreter to flush at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNEXPECTED
    except ConfsyncError as error:  # only with -v, which asks for the trace
        traceback.print_exc()
        return error.exit_code
    except Exception as error:  # noqa: BLE001, the last frame: one line instead of a trace
        if {"-v", "--verbose"} & set(argv):
            traceback.print_exc()
        else:
            for leaf in _leaves(error):
                print(
                    f"confsync: unexpected {type(leaf).__name__}: {leaf}; -v shows where",
                    file=sys.stderr,
                )
        return Exit.UNEXPECTED
