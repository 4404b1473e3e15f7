"""What a driver may rely on of Felix: where its values come from, its health, and how it ends.

Separate from the drivers' tests because no driver takes part. It runs on the stand-in alone: a
real Felix programs the machine's dataplane.
"""

from __future__ import annotations

import http.client
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.calico import item
from tests.lab.calico import Calico, Felix
from tests.lab.process import Process
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

RETRY_S = 0.05
NO_ANSWER = 0


@pytest.fixture
def etcd() -> Iterator[int]:
    """Give the port of somebody who takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def calico(tmp_path: Path) -> Calico:
    return Calico(tmp_path / "calico")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Started:
    """A Felix that runs, with its health on a port of its own."""

    def __init__(self, felix: Felix, folder: Path, etcd: int, env: dict[str, str]) -> None:
        self.felix = felix
        self.port = free_port()
        text = f"HealthEnabled=true\nHealthPort={self.port}\nHealthHost=127.0.0.1\n"
        text += f"EtcdEndpoints=http://127.0.0.1:{etcd}\n"
        held = felix.config.read_text() if felix.config.exists() else ""
        felix.config.write_text(text + held)
        self.process = Process(felix.argv, folder / "felix.log", env=env)

    def health(self, path: str = "readiness", timeout_s: float = 2) -> int:
        """Return the status, 0 when nobody listens. Raises TimeoutError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", f"/{path}")
            return connection.getresponse().status
        except ConnectionError:
            return NO_ANSWER
        finally:
            connection.close()

    def wait_ready(self) -> Started:
        wait_until("Felix is ready", lambda: self.health() in {200, 204}, 5)
        return self

    def wait_alive(self) -> Started:
        wait_until("its health is served", lambda: self.health("liveness") == 204, 5)
        return self

    def effective(self, name: str) -> tuple[Any, str]:
        held = wait_until("Felix knows", lambda: self.felix.effective, 5)[name]
        return held["value"], held["source"]


@pytest.fixture
def start(tmp_path: Path, etcd: int, calico: Calico) -> Iterator[Any]:
    """Give a starter of daemons: of a file's text, an environment and a behaviour."""
    running: list[Started] = []

    def start(text: str = "", env: dict[str, str] | None = None, **how: Any) -> Started:
        folder = tmp_path / f"felix{len(running)}"
        felix = Felix(folder, calico, **({"retry_s": RETRY_S} | how))
        felix.config.write_text(text)
        running.append(Started(felix, folder, etcd, env or {}))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()


def configuration(name: str, **spec: Any) -> dict[str, Any]:
    return item("FelixConfiguration", name, spec)


def test_environment_masks_file_masks_node_masks_all_masks_the_default(start, calico: Calico):
    calico.put(configuration("default", vxlanPort=1, vxlanVNI=1, routeRefreshInterval="1m30s"))
    calico.put(configuration("node.n1", vxlanPort=2, vxlanVNI=2, ipv6Support=False))
    calico.put(configuration("node.other", vxlanPort=9))
    found = start("VXLANPort = 3\n", {"FELIX_VXLANPORT": "4"}).effective
    assert (4, "environment variable") == found("VXLANPort")
    assert (2, "datastore (per-host)") == found("VXLANVNI")
    assert (False, "datastore (per-host)") == found("Ipv6Support")
    assert ("90.0", "datastore (global)") == found("RouteRefreshInterval")
    assert (9091, "default") == found("PrometheusMetricsPort")
    assert (3, "config file") == start("vxlanport=3\n").effective("VXLANPort")


def test_prefix_and_names_may_have_any_case_and_sections_none(start):
    text = "[global]\nVXLANPORT=1\n; a remark\n[other]\nvxlanPort=2\nipv6support = n\n"
    one = start(text, {"felix_OpenStackRegion": "north"})
    assert (2, "config file") == one.effective("VXLANPort")
    assert (False, "config file") == one.effective("Ipv6Support")
    assert ("north", "environment variable") == one.effective("OpenstackRegion")


def test_the_host_of_its_own_configuration_may_be_named(start, calico: Calico):
    calico.put(configuration("node.n7", vxlanPort=7))
    assert (7, "datastore (per-host)") == start("FelixHostname=n7\n").effective("VXLANPort")


def test_an_unknown_name_is_told_and_ignored(start):
    one = start("VxlanPrt=1\n").wait_ready()
    assert "[INFO] Ignoring unknown config param. raw name=vxlanprt" in one.process.text


def test_a_local_parameter_has_no_effect_in_the_datastore(start, calico: Calico):
    calico.put(configuration("default", etcdAddr="192.0.2.1:1"))
    one = start().wait_ready()
    assert ("127.0.0.1:2379", "default") == one.effective("EtcdAddr")
    assert "[WARNING] Ignoring local-only configuration parameter EtcdAddr" in one.process.text


WRONG = {
    "VXLANPort": ("many", 4789),
    "Ipv6Support": ("maybe", True),
    "IptablesRefreshInterval": ("90s", "180.0"),
    "LogSeverityScreen": ("LOUD", "INFO"),
    "MTUIfacePattern": ("(", "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)"),
    "PrometheusMetricsPort": ("65536", 9091),
}


def test_a_wrong_value_is_told_and_the_default_holds_even_over_a_weaker_source(
    start, calico: Calico
):
    calico.put(configuration("default", vxlanPort=1))
    text = "".join(f"{name}={case[0]}\n" for name, case in WRONG.items())
    one = start(text).wait_ready()
    for name, (_, default) in WRONG.items():
        assert (default, "config file") == one.effective(name)
        assert f'[WARNING] Failed to parse config parameter "{name}"' in one.process.text


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("VXLANPort", "0x10", 16),
        ("VXLANPort", "010", 8),
        ("VXLANVNI", "1_000", 1000),
        ("IptablesRefreshInterval", "inf", "inf"),
        ("IptablesRefreshInterval", "0.5", "0.5"),
        ("VXLANPort", "None", None),
        ("ChainInsertMode", "APPEND", "append"),
        ("FailsafeInboundHostPorts", "none", None),
        ("FailsafeInboundHostPorts", "tcp:10.0.0.0/8:22,udp:53", ["tcp:10.0.0.0/8:22", "udp:53"]),
    ],
)
def test_values_mean_what_they_mean_in_go(name: str, text: str, value: Any):
    from tests.lab.calico.parameters import resolved

    assert value == resolved([("config file", {name: text})]).values[name]


@pytest.mark.parametrize(
    "text",
    [
        "FailsafeInboundHostPorts=tcp:22:22:22",
        "ChainInsertMode=prepend",
        "DefaultEndpointToHostAction=none",
        "InterfacePrefix=",
        "DatastoreType=consul",
        "MaxIpsetSize=none",
        "no sign of a value",
    ],
)
def test_a_fatal_value_is_told_again_and_again_and_there_is_no_health(start, text: str):
    one = start(f"{text}\n")
    wait_until("it retries", lambda: one.process.text.count("Retrying") >= 3, 5)
    assert NO_ANSWER == one.health()
    assert one.process.exit_code is None
    assert one.felix.effective is None


def test_a_fatal_value_of_the_datastore_leaves_health_that_is_never_ready(start, calico: Calico):
    calico.put(configuration("default", chainInsertMode="prepend"))
    one = start()
    wait_until("it retries", lambda: one.process.text.count("Retrying") >= 3, 5)
    assert 503 == one.wait_alive().health()
    calico.put(configuration("default", chainInsertMode="append"))
    assert ("append", "datastore (global)") == one.wait_ready().effective("ChainInsertMode")


def test_failsafe_ports_of_the_datastore_become_a_list(start, calico: Calico):
    ports = [{"protocol": "TCP", "port": 22, "net": "10.0.0.0/8"}, {"protocol": "udp", "port": 53}]
    calico.put(configuration("default", failsafeInboundHostPorts=ports))
    value, _ = start().effective("FailsafeInboundHostPorts")
    assert ["tcp:10.0.0.0/8:22", "udp:53"] == value


def test_it_is_alive_at_once_and_ready_when_its_time_has_come(start):
    one = start(ready_after_s=0.3)
    begun_s = time.monotonic()
    assert 503 == one.wait_alive().health()
    one.wait_ready()
    assert time.monotonic() - begun_s >= 0.3
    assert 404 == one.health("metrics")


def test_health_may_come_with_detail(start):
    one = start(health_detail=True).wait_ready()
    assert (200, 200) == (one.health(), one.health("liveness"))


def test_health_is_off_unless_it_is_asked_for(start):
    one = start("HealthEnabled=false\n")
    assert (False, "config file") == one.effective("HealthEnabled")
    assert NO_ANSWER == one.health()


def test_without_its_datastore_it_is_alive_and_never_ready(start):
    port = free_port()
    one = start(f"EtcdEndpoints=http://127.0.0.1:1,http://127.0.0.1:{port}\n")
    wait_until("it retries", lambda: one.process.text.count("Retrying") >= 3, 5)
    assert 503 == one.wait_alive().health()
    with socket.create_server(("127.0.0.1", port)):
        one.wait_ready()


def test_the_older_names_of_the_datastores_address_work_too(start, etcd: int):
    start(f"EtcdEndpoints=none\nEtcdAddr=127.0.0.1:{etcd}\n").wait_ready()


def test_hang_up_ends_it_with_129_after_a_while(start):
    one = start(reload_s=0.3).wait_ready()
    begun_s = time.monotonic()
    one.process.send(signal.SIGHUP)
    assert 129 == one.process.wait(5)
    assert time.monotonic() - begun_s >= 0.3


def test_a_change_of_its_configuration_ends_it_with_129(start, calico: Calico):
    calico.put(configuration("default", vxlanPort=1))
    one = start().wait_ready()
    calico.put(configuration("default", vxlanPort=2))
    assert 129 == one.process.wait(5)


@pytest.mark.parametrize("ends", [True, False])
def test_only_a_new_set_of_encapsulations_ends_it_with_129(start, calico: Calico, ends: bool):
    calico.put(item("IPPool", "p", {"cidr": "10.1.0.0/16", "ipipMode": "Always"}))
    one = start().wait_ready()
    mode = {"vxlanMode": "Always"} if ends else {"ipipMode": "CrossSubnet"}
    calico.put(item("IPPool", "q", {"cidr": "10.2.0.0/16", **mode}))
    calico.put(configuration("default", clusterType="bgp", clusterGUID="1"))
    calico.put(configuration("node.other", vxlanPort=9))
    if ends:
        assert 129 == one.process.wait(5)
    else:
        time.sleep(0.2)
        assert (None, 204) == (one.process.exit_code, one.health())


def test_a_termination_ends_it(start):
    one = start().wait_ready()
    assert 0 == one.process.terminate(5)


def test_it_may_be_never_ready_or_hang_or_die(start):
    never = start(never_ready=True)
    wait_until("it has its configuration", lambda: never.felix.effective, 5)
    assert 503 == never.wait_alive().health()
    hung = start(hung_health=True)
    wait_until("it listens", lambda: listens(hung.port), 5)
    with pytest.raises(TimeoutError):
        hung.health(timeout_s=0.2)
    assert 3 == start(die_after_s=0.1, exit_code=3).process.wait(5)


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True
