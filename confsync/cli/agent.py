"""``confsync agent``: the long-running service, and what can be said to it on this host."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable

import click

from confsync.cli import client
from confsync.cli.output import Exit, Options, Result, verb
from confsync.host.toml import read_what_can_be
from confsync.model.ids import Json


@click.group()
def agent() -> None:
    """Run the agent of this host, or talk to it. Works without Consul."""


@agent.command()
@click.option("--check-config", is_flag=True, help="Only check the agent's settings.")
@click.option("--online", is_flag=True, help="With it, ask Consul and the host as well.")
@verb("agent run")
def run(options: Options, *, check_config: bool, online: bool) -> Result:
    """Run the agent until it is told to stop."""
    if online and not check_config:
        raise click.UsageError("--online goes with --check-config")
    if check_config:
        return _checked(options, online=online)
    from confsync import agent as service

    faulthandler.enable()  # the watchdog's SIGABRT then leaves every thread's stack in the journal
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if read_what_can_be(options.config).loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(service.run(options.config))
    return Result()


def _checked(options: Options, *, online: bool) -> Result:
    """Tell whether the settings are good, and whether what they name is there and lets us in."""
    from confsync.settings import load

    settings = load(options.config)
    if not online:
        return Result(settings.model_dump(mode="json"), f"{options.config}: ok")
    from confsync.cli import alone

    findings = asyncio.run(alone.online(settings))
    faults = [finding.fault for finding in findings if finding.fault is not None]
    data = [
        {"name": one.name, "fault": str(one.fault or ""), "warning": one.warning}
        for one in findings
    ]
    code = getattr(faults[0], "exit_code", Exit.UNEXPECTED) if faults else Exit.OK
    return Result(data, "\n".join(map(str, findings)), exit=code)


@agent.command()
@click.option("--wait", is_flag=True, help="Return when the pass with the new settings ended.")
@verb("agent reload")
def reload(options: Options, *, wait: bool) -> Result:
    """Read settings and source again; refused settings change nothing."""
    data = client.order(options.config, "/v1/reload", {"wait": wait})
    return Result(data, _said(data, "reloaded"))


@agent.command()
@click.option("--reason", required=True, help="Why, for everybody who will ask.")
@verb("agent pause")
def pause(options: Options, *, reason: str) -> Result:
    """Stop writing on this host until `agent resume`; survives restarts."""
    return _local(options, "pause", {"reason": reason}, "paused; to go on: confsync agent resume")


@agent.command()
@click.option("--accept", is_flag=True, help="End HALTED, taking the host as it is now.")
@verb("agent resume")
def resume(options: Options, *, accept: bool) -> Result:
    """End a pause; with --accept also a halt."""
    return _local(options, "resume", {"accept": accept}, "resumed")


@agent.command()
@verb("agent retry")
def retry(options: Options) -> Result:
    """Try a revision again that failed here."""
    return _local(options, "retry", {}, "the quarantine is lifted")


def _local(options: Options, act: str, body: dict[str, Json], done: str) -> Result:
    """Tell the agent; without one, write it down where the next one will read it."""
    try:
        data = client.order(options.config, f"/v1/{act}", body)
    except client.NoAgent:
        from confsync.cli import alone

        data = asyncio.run(alone.hold(read_what_can_be(options.config).state_dir, act, **body))
        done += " (no agent is running; the next one will see it)"
    return Result(data, _said(data, done))


def _said(data: Json, otherwise: str) -> str:
    said = data.get("message") if isinstance(data, dict) else None
    return str(said or otherwise)
