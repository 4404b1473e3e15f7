"""From the file that stands to the one that is wanted: one step, with all that it would do.

Separate because it is the only place where document, file and environment meet. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic_core import PydanticCustomError

from confsync.drivers.felix import values
from confsync.drivers.felix.found import Host, sealed
from confsync.drivers.felix.render import render
from confsync.drivers.felix.rules import irreversible, lacking
from confsync.drivers.felix.shapes import SECTION, Felix, faults_for
from confsync.drivers.felix.step import KIND, VERSION, Change
from confsync.drivers.felix.tables import Parameter, table
from confsync.model import limits
from confsync.model.errors import SchemaViolated, Violation, Violations
from confsync.model.ids import DriverName, ObjectId
from confsync.model.plan import Difference, Guard, Impact, Step

DRIVER: Final = DriverName("felix")


def plan(want: Felix, host: Host) -> tuple[Step, ...]:
    """Return the step to what is wanted, none if it stands. Raises SchemaViolated."""
    faults = (*faults_for(want, host.version), *_strangers(want, host))
    if faults:
        raise SchemaViolated(faults)
    known, unknown = split(host)
    wanted = want.parameters
    data = sealed(render(wanted, unknown))
    if host.file.text == data.decode():
        return ()
    differences = tuple(_differences(known, wanted, host))
    restart = bool(differences)
    impact = Impact.SERVICE_RESTART if restart else Impact.HITLESS
    change = Change(
        config_file=host.config_file,
        data=data,
        was=host.file.digest,
        service=host.service,
        systemctl=host.systemctl,
        health_url=host.health_url,
        restart=restart,
        health_begins=_answers(wanted, host) and not _answers(known, host),
        health_ends=_answers(known, host) and not _answers(wanted, host),
    )
    count = f"{len(differences)} parameter{'' if len(differences) == 1 else 's'}"
    summary = (
        f"{host.config_file}: {count}, {host.service} restarted"
        if restart
        else (f"{host.config_file}: written anew, the same for Felix")
    )
    step = Step(
        driver=DRIVER,
        kind=KIND,
        version=VERSION,
        target=host.config_file,
        impact=impact,
        summary=summary,
        args=change.model_dump(mode="json"),
        differences=differences,
        verify_s=limits.FELIX_VERIFY_S if restart else 0.0,
        hold_s=limits.FELIX_HOLD_S if restart else 0.0,
        guards=tuple(_guards(want, known, wanted)),
    )
    return (step,)


def split(host: Host) -> tuple[dict[str, str], dict[str, str]]:
    """Return what stands in the file, by the names that this version knows, and the rest."""
    names = table(host.version)
    known: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for name, text in host.file.parameters.items():
        parameter: Parameter | None = names.get(name.lower())
        if parameter is None:
            unknown[name] = text
        elif known.get(parameter.name, text) != text:
            known[parameter.name] += f" or {text}"  # two spellings: Felix takes one by chance
        else:
            known[parameter.name] = text
    return known, unknown


def masked(want: Felix, host: Host) -> Iterator[str]:
    """Yield what has no effect, since the process has a variable of that name."""
    for name in want.parameters:
        if host.hides(name):
            yield (
                f"{SECTION}.parameters.{name} has no effect on this host: {host.service} has "
                f"FELIX_{name.upper()} in its environment, which goes before its file"
            )


def _strangers(want: Felix, host: Host) -> Violations:
    """Return what stands in the file and would be lost."""
    _, unknown = split(host)
    if not unknown or want.unknown == "keep":
        return ()
    names = ", ".join(sorted(unknown))
    message = f"{host.config_file} has {names}, which Calico {host.version} does not know"
    hint = "write unknown: keep, or take it out of the file"
    return (Violation("CS-V290", (SECTION, "unknown"), message, hint),)


def _differences(
    before: Mapping[str, str], after: Mapping[str, str], host: Host
) -> Iterator[Difference]:
    names = table(host.version)
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new or (old and new and _same(names[name.lower()], old, new)):
            continue
        op = "+" if old is None else "-" if new is None else "~"
        path = f"{SECTION}.parameters.{name}"
        note = "no effect: the environment sets it" if host.hides(name) else ""
        hits = frozenset({ObjectId("parameter", "felix", name)}) if new is None else frozenset()
        yield Difference(op, path, old, new, Impact.SERVICE_RESTART, hits, note)


def _same(parameter: Parameter, one: str, other: str) -> bool:
    """Tell whether Felix reads the same from both texts."""
    try:
        return values.read(parameter, one) == values.read(parameter, other)
    except PydanticCustomError:
        return False


def _guards(want: Felix, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Guard]:
    for name, why in irreversible(before, after):
        yield Guard("irreversible", f"{SECTION}.parameters.{name}", f"{name} would change: {why}")
    missing: dict[str, list[str]] = {}
    for name, protocol, port, who in lacking(want):
        missing.setdefault(name, []).append(f"{protocol}:{port} ({who})")
    for name, ports in missing.items():
        if before.get(name) != after.get(name):
            told = f"{name} would not let in {', '.join(ports)}"
            yield Guard("failsafe", f"{SECTION}.parameters.{name}", told)


def _answers(parameters: Mapping[str, str], host: Host) -> bool:
    set_by_all = (host.environment or {}).get("healthenabled")
    said = set_by_all or parameters.get("HealthEnabled", "false")
    return said.lower() in values.TRUE
