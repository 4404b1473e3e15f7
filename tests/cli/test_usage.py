from __future__ import annotations

import json
import subprocess
import sys
import time

import click
import pytest

from confsync import __version__
from confsync.cli import cli, main
from confsync.cli.output import EXIT_CODES, Exit, Options, Result, envelope, show

COMMANDS = ("status", "plan", "apply", "validate", "push", "agent")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["--nothing"],
        ["status", "--nothing"],
        ["status", "one", "two"],
        ["agent"],
        ["agent", "nothing"],
        ["agent", "pause"],
        ["agent", "pause", "--reason"],
        ["push", "."],
        ["push", "-m", "why"],
        ["push", "/does/not/exist", "-m", "why"],
        ["validate"],
        ["validate", ".", "--format", "xml"],
        ["plan", "/does/not/exist"],
    ],
)
def test_wrong_usage_is_64(arguments, capsys):
    assert 64 == main(arguments)
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["agent", "--help"], ["push", "-h"]])
def test_help_is_0(arguments, capsys):
    assert 0 == main(arguments)
    assert "Usage: confsync" in capsys.readouterr().out


def test_help_lists_every_command_and_the_exit_codes(capsys):
    main(["--help"])
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)
    assert " ".join(EXIT_CODES.split()) in " ".join(out.split())


def test_version(capsys):
    assert 0 == main(["--version"])
    assert f"confsync {__version__}\n" == capsys.readouterr().out


def test_the_process_ends_with_the_code():
    done = subprocess.run(
        [sys.executable, "-m", "confsync", "nothing"], capture_output=True, text=True, check=False
    )
    assert (64, "") == (done.returncode, done.stdout)
    assert "No such command" in done.stderr


@pytest.fixture
def broken():
    """Give the group a command that fails in a way nobody foresaw."""

    def add(error):
        @click.command("broken")
        def command():
            raise error

        cli.add_command(command)

    yield add
    cli.commands.pop("broken", None)


def test_an_unexpected_exception_is_1_and_one_line(broken, capsys):
    broken(ZeroDivisionError("deep"))
    assert 1 == main(["broken"])
    assert "confsync: unexpected ZeroDivisionError: deep; -v shows where\n" == (
        capsys.readouterr().err
    )


def test_verbose_shows_the_trace(broken, capsys):
    broken(ZeroDivisionError("deep"))
    assert 1 == main(["-v", "broken"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_130_and_says_what_goes_on(broken, capsys, error):
    broken(error)
    assert 130 == main(["broken"])
    assert "goes on" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_trace():
    command = f"{sys.executable} -m confsync --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "" == done.stderr


def test_options_work_before_and_after_the_verb(tmp_path, capsys):
    config = tmp_path / "a.toml"
    config.write_text(f'[http]\nsocket = "{tmp_path}/none"\n')
    for arguments in (
        ["--json", "--config", str(config), "status"],
        ["status", "--json", "--config", str(config)],
    ):
        assert 69 == main(arguments)
        assert "status" == json.loads(capsys.readouterr().out)["command"]


def test_the_envelope():
    found = envelope("plan", Result({"a": 1}, exit=Exit.PENDING, warnings=("w",)))
    at = found.pop("at")
    assert time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")
    assert found == {
        "schema_version": 1,
        "command": "plan",
        "exit": 2,
        "data": {"a": 1},
        "warnings": ["w"],
        "errors": [],
    }


def test_data_goes_to_stdout_and_talk_to_stderr(capsys):
    result = Result(text="data", note="talk", warnings=("w",))
    assert 0 == show("x", result, Options())
    assert ("data\n", "talk\nwarning: w\n") == capsys.readouterr()
    show("x", result, Options(quiet=True))
    assert ("data\n", "") == capsys.readouterr()


def test_quiet_does_not_hide_errors(capsys):
    show("x", Result(note="refused", errors=({"code": "x"},)), Options(quiet=True))
    assert "refused\n" == capsys.readouterr().err


def test_asking_for_help_loads_nothing_heavy():
    code = "import sys, confsync.cli; print([m for m in ('aiohttp', 'pydantic', 'jinja2', "
    code += "'prometheus_client', 'structlog', 'consul') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
