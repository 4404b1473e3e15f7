"""Every test process lives in a network namespace of its own: it is "host A" of every laboratory.

So no test can touch the machine's routes, ports or daemons, and two workers never meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.lab import HERE, Lab
from tests.lab.net import enter_own_namespace
from tests.lab.pair import Pair
from tests.lab.sites import Sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.consul import ConsulCluster, ConsulServer
    from tests.vm.guest import Guest

# A slow or busy machine is no failure of a law; a hang is, and pytest's time-out finds it.
settings.register_profile(
    "confsync", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("confsync")

NOT_PERMITTED = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's network before anything of ours starts a thread or opens a socket."""
    try:
        enter_own_namespace()
    except OSError as error:
        config.stash[NOT_PERMITTED] = str(error)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a root test without a namespace: it would work on the machine itself."""
    reason = item.config.stash.get(NOT_PERMITTED, "")
    if reason and item.get_closest_marker("root"):
        pytest.fail(f"no network namespace ({reason}); scripts/test makes one, root or not", False)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a laboratory that is gone after the test, with the routes of its BIRDs.

    Its folder's path is short: a unix socket's may have 107 bytes.
    """
    with Lab(tmp_path_factory.mktemp("lab")) as made:
        yield made
    for family in ("-4", "-6"):  # a BIRD that was killed leaves them, and the next test counts
        HERE.ip(family, "route", "flush", "table", "all", "proto", "bird")


@pytest.fixture
def consul_server(lab: Lab) -> ConsulServer:
    """Give one Consul with a leader on 127.0.0.1:8500."""
    return lab.consul()


@pytest.fixture
def consul_cluster(lab: Lab) -> ConsulCluster:
    """Give three Consul servers that have elected a leader."""
    return lab.consul_cluster()


@pytest.fixture(scope="module")
def datacenters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Give two datacenters joined over WAN, for the tests of one module."""
    made = Pair(tmp_path_factory.mktemp("pair"))
    yield made
    made.close()


@pytest.fixture
def pair(datacenters: Pair) -> Pair:
    """Give two datacenters without a tree, bgo (home) and osl."""
    for server in (datacenters.home, datacenters.away):
        server.kv.delete_tree("confsync/")
    return datacenters


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Give two sites with networks and routers of their own, for the tests of one module."""
    with Lab(tmp_path_factory.mktemp("lab")) as made:
        yield Sites(made, hosts=0, agents=False)


@pytest.fixture
def sites(joined: Sites) -> Sites:
    """Give two sites, bgo (home) and osl, whole, with one Consul each, ACLs on, and no hosts.

    With hosts, agents, TLS or more servers: `Sites(lab, ...)`, in another module, since a process
    has room for one at a time.
    """
    joined.mend()
    return joined


@pytest.fixture
def guest(pytestconfig: pytest.Config) -> Guest:
    """Give a guest with device-mapper and blank disks."""
    from tests.vm.sender import shared_guest  # most tests do without

    return shared_guest(pytestconfig).renew()


@pytest.fixture
def systemd_guest(pytestconfig: pytest.Config) -> Guest:
    """Give a guest that real systemd has booted, with udevd, BIRD and confsync installed."""
    from tests.vm.sender import shared_guest  # most tests do without

    return shared_guest(pytestconfig, systemd=True).renew()
