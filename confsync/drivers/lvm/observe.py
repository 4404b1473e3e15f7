"""One look at the host's storage: what lvm and the kernel say now, as a `Host`.

Separate because everything is decided on such a look, and proved by the next one. lvm is asked
once, for all groups, so that its answer is one consistent view.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from confsync.drivers.lvm import blocks, report
from confsync.drivers.lvm.attach import UNITS
from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.content import probe
from confsync.drivers.lvm.found import Host
from confsync.drivers.lvm.report import TWICE, Readings, host_of
from confsync.host.files import in_thread

HALF_WRITTEN: Final = "its metadata differ between its devices"
_HALF_WRITTEN: Final = re.compile(r"ignoring metadata seqno .* for VG (\S+)\.")
_UNUSED: Final = re.compile(r"Not using device \S+ for PV (\S+)\.")
_LINKS: Final = ("/dev/disk", "/dev/mapper")


class Observer:
    """Looks; those who ask while another one looks share the next look."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._system_ids: dict[str, str] = {}
        self._looking = asyncio.Lock()
        self._last: tuple[float, tuple[str, frozenset[str]], Host] | None = None

    async def look(self, binary: str, names: frozenset[str]) -> Host:
        """Return the groups of these names and all devices, as they are after this was asked.

        Raises: HostBusy.
        """
        asked = time.monotonic()
        async with self._looking:
            if self._last and self._last[0] > asked and self._last[1] == (binary, names):
                return self._last[2]
            began = time.monotonic()
            host = await self._look(binary, names)
            self._last = (began, (binary, names), host)
            return host

    async def _look(self, binary: str, names: frozenset[str]) -> Host:
        told = await self._commands.read(binary, *report.COMMAND, "--reportformat", "json")
        shown = await self._commands.read(*blocks.COMMAND)
        readings = replace(
            await in_thread(_files, names),
            report=told.stdout,
            blocks=shown.stdout,
            system_id=await self._system_id(binary),
        )
        at, allowed = int(time.time()), tuple(sorted(names))
        host = host_of(readings, binary=binary, at=at, allowed=allowed, adopted=())
        volumes = [volume for group in host.groups for volume in group.volumes]
        if probes := await probe(self._commands, volumes):
            readings = replace(readings, probes=probes)
            host = host_of(readings, binary=binary, at=at, allowed=allowed, adopted=())
        return _with_warnings(host, told.stderr)

    async def _system_id(self, binary: str) -> str:
        if binary not in self._system_ids:
            told = await self._commands.read(binary, "systemid")
            self._system_ids[binary] = told.stdout.partition(":")[2].strip()
        return self._system_ids[binary]


def _with_warnings(host: Host, warnings: str) -> Host:
    """Return the host with those groups in trouble that lvm warns of, and reports as well."""
    vg_of = {device.pv_uuid: device.vg for device in host.devices if device.pv_uuid}
    troubles = [(vg, HALF_WRITTEN) for vg in _HALF_WRITTEN.findall(warnings)]
    troubles += [(vg_of.get(uuid, ""), TWICE) for uuid in _UNUSED.findall(warnings)]
    groups = (
        group.model_copy(update={"trouble": (*group.trouble, *_of(group.name, troubles))})
        for group in host.groups
    )
    return host.model_copy(update={"groups": tuple(groups)})


def _of(vg: str, troubles: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(why for name, why in troubles if name == vg))


def _files(names: frozenset[str]) -> Readings:
    """Return what is read from files, without any program."""
    units = {
        name: _text(f"{UNITS}/{name}")
        for name in _listed(UNITS)
        if name.endswith((".mount", ".swap"))
    }
    return Readings(
        report="",
        blocks="",
        mountinfo=_text("/proc/self/mountinfo"),
        swaps=_text("/proc/swaps"),
        fstab=_text("/etc/fstab"),
        units=units,
        links=dict(_links(names)),
    )


def _links(names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the stable names of devices, with the real paths behind them."""
    for top in (*_LINKS, *(f"/dev/{name}" for name in sorted(names))):
        for folder, _, found in os.walk(top):
            for name in found:
                path = f"{folder}/{name}"
                if os.path.islink(path):
                    yield path, os.path.realpath(path)


def _listed(folder: str) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def _text(path: str) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
    return ""
