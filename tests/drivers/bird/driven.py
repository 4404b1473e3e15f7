"""A BIRD of our own, and the driver and section at work on it, without a flow around them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.driver import BirdDriver, BirdSettings
from confsync.drivers.bird.section import BgpSection
from confsync.model.section import Ownership
from tests.lab import HERE

if TYPE_CHECKING:
    from confsync.model.ids import Json
    from confsync.model.plan import Step
    from tests.lab import FarEnd, Lab

REVERT_S = 30.0


class Driven:
    """One host: its daemon, the driver on it, and what was committed last."""

    def __init__(
        self, lab: Lab, text: str | None = None, *, options: tuple[str, ...] = (), **settings: Any
    ) -> None:
        self.bird = lab.bird("near", text, HERE, *options)
        self.adopted: Json | None = None
        self.settings = BirdSettings(
            enabled=True,
            config_file=str(self.bird.config),
            control_socket=str(self.bird.socket),
            **settings,
        )
        self.driver = BirdDriver(self.settings)
        self.had: Bgp | None = None

    def another_process(self, **options: Any) -> BirdDriver:
        """Return the driver that a restarted agent would have."""
        self.driver.close()
        self.driver = BirdDriver(self.settings, **options)
        return self.driver

    async def plan(self, **document: Any) -> Step:
        """Return the one step to a document."""
        value = bgp(**document)
        seen = await self.driver.observe(self.adopted)
        assert seen.ownership is Ownership.OWNED, seen
        (step,) = BgpSection().plan(value, self.had, seen)
        return step

    async def prepare(self, **document: Any) -> tuple[Step, Json]:
        """Plan, check and save."""
        step = await self.plan(**document)
        await self.driver.check(step)
        return step, await self.driver.checkpoint(step)

    async def applied(self, **document: Any) -> tuple[Step, Json]:
        """Go as far as the unconfirmed configuration."""
        step, saved = await self.prepare(**document)
        await self.driver.apply(step, saved, REVERT_S)
        return step, saved

    async def committed(self, **document: Any) -> tuple[Step, Json]:
        """Go the whole way."""
        step, saved = await self.applied(**document)
        await self.driver.commit(step, saved)
        self.had = bgp(**document)
        return step, saved

    async def adopt(self, **document: Any) -> Json:
        """Take over what stands there, as the journal would keep it."""
        found = await self.driver.survey(bgp(**document))
        assert found.record is not None, found
        self.adopted = found.record
        return found.record

    def marker(self) -> str:
        """Return what BIRD itself says it runs."""
        return self.bird.ctl("eval cs_render")[-1]

    def leftovers(self) -> list[str]:
        """Return what lies beside the live file and carries our mark."""
        return sorted(path.name for path in self.bird.config.parent.glob("*.confsync-*"))


def bgp(**document: Any) -> Bgp:
    """Return a small valid speaker, changed as asked."""
    value = BgpSection().parse({"router_id": "10.9.1.1", "local_as": 64512, **document})
    assert isinstance(value, Bgp), value
    return value


def peered(far: FarEnd, *, bfd: bool = False, **changes: Any) -> dict[str, Any]:
    """Return a document with one IPv4 peer that sends and takes everything."""
    peer = {"ipv4": far.far4, "asn": far.asn, "bfd": bfd, "error_wait_max_s": 2}
    permit = {"ipv4": {"default": "permit"}}
    return {
        "peers": {"far": {**peer, **changes}},
        "import": permit,
        "export": permit,
        "announce": {"one": "192.0.2.0/24"},
    }


def with_text(step: Step, text: str) -> Step:
    """Return the step as if the section had rendered another text."""
    return dataclasses.replace(step, args={**step.args, "text": text})
