"""The command line of a lab that stays: `scripts/lab`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from tests.lab.sites import control
from tests.lab.sites.shell import Shell
from tests.lab.wait import LabError

POLL_S = 0.1


def main() -> int:
    """Do what the command line says; returns the exit code."""
    options = _parser().parse_args()
    try:
        return int(options.act(options) or 0)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/lab", description=__doc__)
    acts = parser.add_subparsers(required=True, metavar="ORDER")

    def act(name: str, does: object, told: str) -> argparse.ArgumentParser:
        made = acts.add_parser(name, help=told, description=told)
        made.set_defaults(act=does, order=name)
        return made

    up = act("up", _up, "make the lab; it stays until `down`")
    up.add_argument("--sites", type=int, default=2, metavar="N")
    up.add_argument(
        "--hosts", type=int, default=2, metavar="M", help="with an agent, for each site"
    )
    up.add_argument(
        "--servers", type=int, default=3, choices=(1, 3, 5), help="of Consul, for each site"
    )
    up.add_argument("--plain", action="store_true", help="no TLS")
    act("own", _own, argparse.SUPPRESS).add_argument("options", type=json.loads)
    act("down", _down, "remove it")
    act("status", _status, "show every daemon, its processes, and what is cut")
    run = act("exec", _exec, "run a command on a host; the operator is operator-SITE")
    run.add_argument("host")
    run.add_argument("command", nargs=argparse.REMAINDER)
    cut = act("cut", _cut, "pull a link: its host's name, or SITE-wan")
    cut.add_argument("--silent", action="store_true", help="lose every packet, keep the carrier")
    cut.add_argument("name", metavar="LINK")
    delay = act("delay", _delay, "delay every packet of a link, each way")
    delay.add_argument("name", metavar="LINK")
    delay.add_argument("number", metavar="MS")
    delay.add_argument("--lose", default="0", metavar="PERCENT", help="lose some of them")
    delay.add_argument("--kbit", default="0", help="let no more pass in a second")
    heal = act("heal", _tell, "end all faults of a link, or of '*'")
    heal.add_argument("name", metavar="LINK")
    for name, told in (
        ("kill", "SIGKILL a daemon, or all of a pattern: 'osl-*/agent'"),
        ("stop", "hang a daemon"),
        ("cont", "end a hang"),
        ("start", "start a daemon that was killed"),
    ):
        act(name, _tell, told).add_argument("name", metavar="HOST[/DAEMON]")
    return parser


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    try:
        control.ask("status")
    except LabError:
        shutil.rmtree(control.FOLDER, ignore_errors=True)
    else:
        raise LabError("a lab is up: scripts/lab down")
    control.FOLDER.mkdir(mode=0o700, parents=True)
    asked = {name: getattr(options, name) for name in ("sites", "hosts", "servers")}
    text = json.dumps({**asked, "tls": not options.plain})
    with control.LOG.open("w") as log:
        argv = [sys.executable, "-m", "tests.lab.sites", "own", text]
        owner = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not control.SOCKET.exists() and owner.poll() is None:
            time.sleep(POLL_S)
    except BaseException:
        owner.terminate()
        raise
    if owner.poll() is not None:
        raise LabError(f"it did not come up:\n{control.LOG.read_text()[-3000:]}")
    _status(options)
    sys.stdout.write(f"up in {time.monotonic() - began:.1f} s\n")
    return 0


def _own(options: argparse.Namespace) -> None:
    control.own(options.options)


def _down(_: argparse.Namespace) -> None:
    control.ask("down")
    while control.FOLDER.exists():  # which the owner removes last
        time.sleep(POLL_S)


def _status(_: argparse.Namespace) -> None:
    told = control.ask("status")
    for name, state, pids, rss_kib in told["daemons"]:
        shown = " ".join(map(str, pids))
        sys.stdout.write(f"{name:28} {state:8} {rss_kib // 1024:5} MiB  {shown}\n")
    for name, state in told["links"].items():
        if state:
            sys.stdout.write(f"link {name:23} {state}\n")
    total = sum(rss_kib for *_, rss_kib in told["daemons"]) // 1024
    count, folder = len(told["daemons"]), told["folder"]
    sys.stdout.write(f"{count} daemons, {total} MiB, in {folder}, owner {told['owner']}\n")


def _exec(options: argparse.Namespace) -> None:
    there = Shell(**control.ask("host", options.host))
    argv = there.argv(*(options.command or [os.environ.get("SHELL", "sh")]))
    os.execvpe(argv[0], argv, {**os.environ, **there.env})  # noqa: S606 - it takes our place


def _cut(options: argparse.Namespace) -> None:
    order = "cut_silently" if options.silent else "cut"
    sys.stdout.write(f"{control.ask(order, options.name)}\n")


def _delay(options: argparse.Namespace) -> None:
    told = control.ask("delay", options.name, options.number, options.lose, options.kbit)
    sys.stdout.write(f"{told}\n")


def _tell(options: argparse.Namespace) -> None:
    sys.stdout.write(f"{control.ask(options.order, options.name)}\n")


if __name__ == "__main__":
    sys.exit(main())
