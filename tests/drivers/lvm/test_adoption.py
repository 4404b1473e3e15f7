"""`confsync adopt lvm`: what is as wanted is taken over in one go, all else is told."""

from __future__ import annotations

import pytest

from confsync.drivers.lvm.section import LvmSection
from confsync.model.section import Observed
from tests.lab.lvm import Lvm
from tests.lab.storage import VG, Storage

pytestmark = pytest.mark.root
LVM = LvmSection()


def wanted(**volumes: dict[str, str]):
    value = LVM.parse({"volume_groups": {VG: {"volumes": volumes}}})
    assert not isinstance(value, tuple), value
    return value


@pytest.fixture
def group(lvm: Lvm) -> str:
    lvm.must("vgcreate", "-s4m", VG, lvm.devices[0])
    for name, extents in (("one", 3), ("two", 5), ("other", 1)):
        lvm.must("lvcreate", f"-l{extents}", "-an", "-Zn", "-Wn", "-n", name, VG)
    return VG


@pytest.mark.usefixtures("group")
async def test_all_volumes_that_are_as_wanted_are_taken_over_and_the_rest_is_told(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    look = storage.driver._kit.look

    async def active(binary, names):
        """Nothing is ever active here, and then activating it would be a difference."""
        host = await look(binary, names)
        groups = tuple(
            group.model_copy(
                update={
                    "volumes": tuple(
                        one.model_copy(update={"active": True}) for one in group.volumes
                    )
                }
            )
            for group in host.groups
        )
        return host.model_copy(update={"groups": groups})

    monkeypatch.setattr(storage.driver, "_kit", type(storage.driver._kit)(None, active))
    want = wanted(one={"size": "12MiB"}, two={"size": "8MiB"}, gone={"size": "4MiB"})
    found = await storage.driver.survey(want)
    uuids = {one.name: one.uuid for one in (await storage.group()).volumes}
    assert {"names": {f"{VG}/one": uuids["one"]}} == found.record
    (lost,) = found.lost
    assert f"{VG}/two" in lost

    seen = await storage.driver.observe(found.record)
    (adopts, makes) = LVM.plan(wanted(one={"size": "12MiB"}, gone={"size": "4MiB"}), None, seen)
    assert ("lv.tags", f"{VG}/one") == (adopts.kind, adopts.target)
    assert "lv.create" == makes.kind


@pytest.mark.usefixtures("group")
async def test_without_anything_to_take_over_it_is_said(storage: Storage):
    found = await storage.driver.survey(wanted(gone={"size": "4MiB"}))
    assert found.record is None
    assert "no volume" in found.problem
    nothing = await storage.driver.survey(None)
    assert (None, "") == (nothing.record, nothing.draft)


@pytest.mark.usefixtures("group")
async def test_what_is_not_ours_is_noted_and_never_planned_for(storage: Storage):
    seen: Observed = await storage.driver.observe()
    want = wanted(one={"size": "40MiB"})
    assert () == LVM.plan(want, None, seen)
    assert "confsync adopt lvm" in " ".join(LVM.remarks(want, None, seen))
