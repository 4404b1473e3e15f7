from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import socket
import stat
import struct
import time

import pytest
import uvloop

from confsync.edge.http import HttpServer, HttpSettings
from confsync.model import limits
from confsync.model.errors import (
    BadSettings,
    Held,
    HostBusy,
    PlanRefused,
    RollbackFailed,
    SchemaViolated,
    UnknownKey,
    Unreachable,
    Violation,
)
from confsync.model.status import AgentState, SiteStatus, SourceStatus
from tests.edge.surface import STATUS, FakeAgent, connect, raw, send, serving

# The table of the operator's manual, cell by cell: livez, readyz, health's code and its word.
CELLS = {
    "halted": (200, 503, 503, "fail"),
    "starting": (200, 503, 503, "fail"),
    "applying": (200, 200, 200, "pass"),
    "rolled-back": (200, 200, 200, "warn"),
    "rejected": (200, 200, 200, "warn"),
    "stale": (200, 200, 200, "warn"),
    "drifted": (200, 200, 200, "warn"),
    "frozen": (200, 200, 200, "warn"),
    "observing": (200, 200, 200, "warn"),
    "pending": (200, 200, 200, "pass"),
    "in-sync": (200, 200, 200, "pass"),
}
POSTS = ("/v1/reload", "/v1/pause", "/v1/resume", "/v1/retry", "/v1/apply")


@pytest.fixture
def agent():
    return FakeAgent()


@pytest.fixture
async def doors(agent, tmp_path):
    async with serving(agent, tmp_path) as found:
        yield found


@pytest.fixture(params=["tcp", "unix"])
def door(request, doors):
    return doors[0 if request.param == "tcp" else 1]


@pytest.mark.parametrize("state", CELLS)
async def test_each_state_shows_its_row_of_the_table(state, agent, door):
    agent.show(state=AgentState(state), reason="because")
    livez, readyz, code, word = CELLS[state]
    assert livez == (await send(door, "GET", "/livez")).status
    assert readyz == (await send(door, "GET", "/readyz")).status
    health = await send(door, "GET", "/health")
    assert code == health.status
    assert word == health.json["status"]
    assert ("false" if word == "fail" else "true") == health.json["health"]


async def test_the_table_of_this_test_has_every_state():
    assert set(AgentState) == set(CELLS)


async def test_a_failed_health_never_holds_the_word_that_probes_look_for(agent, door):
    agent.show(state=AgentState.HALTED, reason="bird step 4/6")
    assert "true" not in (await send(door, "GET", "/health")).body


async def test_health_is_a_health_document(agent, door):
    agent.show(reason="all is well")
    answer = await send(door, "GET", "/health")
    assert "application/health+json" in answer.headers["content-type"]
    assert "max-age=5" == answer.headers["cache-control"]
    assert "bgo-compute-03" == answer.json["serviceId"]
    assert ["all is well"] == answer.json["notes"]
    assert 12 == answer.json["checks"]["consul:lastContact"][0]["observedValue"]
    assert "pass" == answer.json["checks"]["bird:driver"][0]["status"]


async def test_livez_fails_only_when_the_agent_says_that_a_restart_helps(agent, door):
    agent.dead = "the watch died"
    answer = await send(door, "GET", "/livez")
    assert (503, "[-]loop the watch died\n") == (answer.status, answer.body)


async def test_readyz_lists_and_excludes(agent, door):
    agent.show(state=AgentState.HALTED, reason="bird step 4/6")
    answer = await send(door, "GET", "/readyz?verbose")
    assert 503 == answer.status
    assert answer.body.splitlines() == [
        "[+]config ok",
        "[-]tx halted: bird step 4/6",
        "[+]source ok, last answer 12 s ago",
        "[+]drivers ok",
    ]
    answer = await send(door, "GET", "/readyz?verbose&exclude=tx&exclude=source,mqtt")
    assert 200 == answer.status
    assert answer.body.splitlines() == [
        "[+]config ok",
        "[+]drivers ok",
        "excluded: mqtt, source, tx",
    ]


@pytest.mark.parametrize("state", CELLS)
async def test_a_site_is_told_by_the_node_that_acts_for_it_and_never_makes_it_unready(
    state, agent, doors
):
    agent.show(site_work=SiteStatus(holds=True, state=state, reason="because"))
    word = {"fail": "warn"}.get(CELLS[state][3], CELLS[state][3])
    shown = f"ok, {state}" if word == "pass" else f"warn: {state}: because"
    answer = await send(doors[0], "GET", "/readyz?verbose")
    assert (200, f"[+]site {shown}") == (answer.status, answer.body.splitlines()[-1])
    health = (await send(doors[0], "GET", "/health")).json
    check = {"componentType": "component", "observedValue": state, "status": word}
    assert ("pass", [check]) == (health["status"], health["checks"]["site:state"])


@pytest.mark.parametrize("work", [None, SiteStatus()])
async def test_a_site_is_not_told_by_who_does_not_act_for_it(work, agent, doors):
    agent.show(site_work=work)
    assert "site" not in (await send(doors[0], "GET", "/readyz?verbose")).body
    assert "site" not in (await send(doors[0], "GET", "/health")).body


@pytest.mark.parametrize(
    ("lag", "age_s", "code"),
    [("5m", 299.0, 200), ("5m", 301.0, 503), ("90", 91.0, 503), ("1h", None, 503)],
)
async def test_readyz_fails_when_knowledge_is_older_than_asked(agent, door, lag, age_s, code):
    agent.show(source=SourceStatus("consul", "", age_s, "no answer"))
    assert 200 == (await send(door, "GET", "/readyz")).status
    assert code == (await send(door, "GET", f"/readyz?lag={lag}")).status


async def test_a_lag_that_is_no_duration_is_a_bad_request(door):
    answer = await send(door, "GET", "/readyz?lag=soon")
    assert 400 == answer.status
    assert answer.json["detail"].startswith("lag: a duration")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics", "/api/v1/node"])
async def test_head_is_get_without_a_body(door, path):
    answer = await send(door, "HEAD", path)
    assert (200, "") == (answer.status, answer.body)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_and_metrics_are_not_stored(door, path):
    assert "no-store" == (await send(door, "GET", path)).headers["cache-control"]


async def test_a_value_is_explained_through_both_doors(agent, door):
    answer = await send(door, "GET", "/api/v1/explain?key=bgp.peers.rr1.asn&node=osl-compute-11")
    assert (200, {"done": "explain"}) == (answer.status, answer.json)
    assert "no-store" == answer.headers["cache-control"]
    await send(door, "GET", "/api/v1/explain?key=bgp.rules%5B0%5D")
    assert [
        ("explain", "bgp.peers.rr1.asn", "osl-compute-11"),
        ("explain", "bgp.rules[0]", ""),
    ] == agent.calls


@pytest.mark.parametrize("query", ["", "?key=", "?key=%20", "?node=n1"])
async def test_an_explanation_of_nothing_is_a_bad_request(agent, door, query):
    answer = await send(door, "GET", f"/api/v1/explain{query}")
    assert (400, []) == (answer.status, agent.calls)
    assert answer.json["detail"].startswith("key: ")


@pytest.mark.parametrize(
    ("refusal", "code", "exit_code"),
    [(UnknownKey("ans is not in bgp.peers.rr1"), 404, 65), (Unreachable("no leader"), 503, 69)],
)
async def test_what_cannot_be_explained_says_why(agent, door, refusal, code, exit_code):
    agent.refusal = refusal
    answer = await send(door, "GET", "/api/v1/explain?key=bgp")
    assert (code, str(refusal)) == (answer.status, answer.json["detail"])
    assert exit_code == answer.json["exit"]


async def test_node_is_the_status_record(agent, door):
    answer = await send(door, "GET", "/api/v1/node")
    assert json.loads(json.dumps(STATUS.as_json())) == answer.json


async def test_node_has_a_tag_that_only_age_does_not_change(agent, door):
    first = await send(door, "GET", "/api/v1/node")
    agent.show(source=SourceStatus("consul", "2026-11-22T10:00:09Z", 17.0))
    tag = first.headers["etag"]
    again = await send(door, "GET", "/api/v1/node", If_None_Match=tag)
    assert (304, "") == (again.status, again.body)
    agent.show(state=AgentState.PENDING)
    assert 200 == (await send(door, "GET", "/api/v1/node", If_None_Match=tag)).status


@pytest.mark.parametrize("path", [*POSTS, "/livez", "/api/v1/node"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_tcp_is_read_only_on_every_path(doors, agent, method, path):
    answer = await send(doors[0], method, path, {"reason": "x"})
    assert 405 == answer.status
    assert {"GET", "HEAD"} == {word.strip() for word in answer.headers["allow"].split(",")}
    assert "application/problem+json" in answer.headers["content-type"]
    assert [] == agent.calls


async def test_writes_carry_the_user_that_the_kernel_saw(doors, agent):
    await send(doors[1], "POST", "/v1/reload", {"wait": True})
    await send(doors[1], "POST", "/v1/pause", {"reason": "INC-1"})
    await send(doors[1], "POST", "/v1/resume")
    await send(doors[1], "POST", "/v1/resume", {"accept": True})
    await send(doors[1], "POST", "/v1/retry", {})
    answer = await send(doors[1], "POST", "/v1/apply", {"allow": ["shrink:bgp"]})
    me = getpass.getuser() if os.getuid() else "root"
    assert (200, {"done": "apply"}) == (answer.status, answer.json)
    assert agent.calls == [
        ("reload", me, True),
        ("pause", me, "INC-1"),
        ("resume", me, False),
        ("resume", me, True),
        ("retry", me),
        ("apply", me, ("shrink:bgp",)),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/pause", {}),
        ("/v1/pause", {"reason": "  "}),
        ("/v1/pause", {"reason": 5}),
        ("/v1/pause", {"reason": "x", "unknown": 1}),
        ("/v1/pause", b"{"),
        ("/v1/pause", b"[" * 4000),
        ("/v1/retry", [1]),
        ("/v1/resume", {"accept": "yes"}),
        ("/v1/apply", {"allow": "shrink:bgp"}),
        ("/v1/apply", {"allow": [1]}),
    ],
)
async def test_an_order_of_another_shape_is_refused(doors, agent, path, body):
    answer = await send(doors[1], "POST", path, body)
    assert 400 == answer.status
    assert "application/problem+json" in answer.headers["content-type"]
    assert [] == agent.calls


async def test_a_body_over_4_kib_is_refused(doors, agent):
    answer = await send(doors[1], "POST", "/v1/pause", {"reason": "x" * 5000})
    assert 413 == answer.status
    assert [] == agent.calls


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (Held("paused"), 423, 75),
        (PlanRefused("shrink", "bgp", "too much"), 409, 75),
        (HostBusy("locked"), 409, 75),
        (SchemaViolated((Violation("CS-V001", (), "bad"),)), 422, 65),
        (BadSettings("site is missing"), 422, 78),
        (Unreachable("no answer"), 503, 69),
        (RollbackFailed("stuck"), 500, 5),
    ],
)
async def test_a_refusal_tells_its_exit_code(doors, agent, refusal, status, code):
    agent.refusal = refusal
    answer = await send(doors[1], "POST", "/v1/retry")
    assert status == answer.status
    assert code == answer.json["exit"]
    assert str(refusal) == answer.json["detail"]
    assert type(refusal).__name__ == answer.json["code"]


@pytest.mark.parametrize("path", ["/", "/nothing", "/../../etc/passwd", "/api/v1/../../livez/x"])
async def test_unknown_paths_are_problems(door, path):
    answer = await send(door, "GET", path)
    assert 404 == answer.status
    assert 404 == answer.json["status"]


async def test_no_answer_names_a_version_of_the_server(door):
    for request in (
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GRMPF\r\n\r\n",
    ):
        answer = await raw(door, request)
        assert answer.headers.get("server", "confsync") == "confsync"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /livez\r\n\r\n",
        b"get /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/2.0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /li\x00vez HTTP/1.1\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 tls\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/retry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused(door, request_):
    assert 400 == (await raw(door, request_)).status


async def test_a_head_over_4_kib_is_refused(door):
    for size in (limits.HTTP_HEADER_BYTES, 65536):
        answer = await raw(
            door, b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * size + b"\r\n\r\n"
        )
        assert 431 == answer.status


async def test_a_head_of_exactly_4_kib_is_taken(door):
    start, end = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ", b"\r\n\r\n"
    fill = b"a" * (limits.HTTP_HEADER_BYTES - len(start) - len(end))
    assert 200 == (await raw(door, start + fill + end)).status


async def test_a_head_in_single_bytes_is_taken(door):
    reader, writer = await connect(door)
    for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
    assert b"200 OK" in await reader.readline()
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nX-Slow: "])
async def test_a_client_that_never_ends_its_head_is_cut(door, sent):
    reader, writer = await connect(door)
    began = time.monotonic()
    writer.write(sent)
    async with asyncio.timeout(limits.HTTP_REQUEST_S + 5):
        with contextlib.suppress(ConnectionResetError):
            assert b"" == await reader.read()
    assert time.monotonic() - began >= limits.HTTP_REQUEST_S - 0.1
    writer.close()


async def test_a_body_that_never_comes_ends_with_a_time_out(doors, agent):
    head = b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"
    assert 408 == (await raw(doors[1], head)).status
    assert [] == agent.calls


async def test_a_second_request_on_the_connection_is_not_served(doors, agent):
    two = b"POST /v1/retry HTTP/1.1\r\nHost: x\r\n\r\n" * 2
    answer = await raw(doors[1], two)
    assert "close" == answer.headers["connection"].lower()
    assert [("retry", getpass.getuser() if os.getuid() else "root")] == agent.calls


async def test_a_peer_with_too_many_connections_is_refused_and_the_socket_still_answers(doors):
    crowd = [await connect(doors[0]) for _ in range(limits.HTTP_CONNECTIONS_PER_PEER)]
    assert 503 == (await raw(doors[0], b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).status
    assert 200 == (await send(doors[1], "GET", "/livez")).status
    for _, writer in crowd:
        writer.close()
        await writer.wait_closed()
    assert 200 == (await send(doors[0], "GET", "/livez")).status


async def test_a_client_that_resets_in_mid_head_leaves_its_place(doors):
    for _ in range(limits.HTTP_CONNECTIONS_PER_PEER * 2):
        _, writer = await connect(doors[0])
        writer.write(b"GET /")
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        await writer.wait_closed()
    assert 200 == (await send(doors[0], "GET", "/livez")).status


async def test_a_stale_socket_is_replaced_with_narrow_rights(agent, tmp_path):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "agent.sock"))
    stale.close()
    (tmp_path / "agent.sock").chmod(0o777)
    async with serving(agent, tmp_path) as (_, path):
        assert 200 == (await send(path, "GET", "/livez")).status
        assert 0o660 == stat.S_IMODE(path.stat().st_mode)
    assert [] == list(tmp_path.iterdir())


async def test_a_file_in_the_socket_s_place_is_kept_and_refused(agent, tmp_path):
    (tmp_path / "agent.sock").write_text("mine")
    with pytest.raises(BadSettings, match="exists and is no socket"):
        async with serving(agent, tmp_path):
            pass
    assert "mine" == (tmp_path / "agent.sock").read_text()


async def test_an_empty_listen_leaves_only_the_socket(agent, tmp_path):
    async with serving(agent, tmp_path, listen="") as (port, path):
        assert 0 == port
        assert 200 == (await send(path, "GET", "/livez")).status


async def test_a_port_in_use_is_told_and_leaves_nothing_behind(agent, doors, tmp_path):
    folder = tmp_path / "second"
    folder.mkdir()
    with pytest.raises(HostBusy, match=f"cannot listen on 127.0.0.1:{doors[0]}"):
        async with serving(agent, folder, listen=f"127.0.0.1:{doors[0]}"):
            pass
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("listen", ["0.0.0.0:9469", "10.0.0.1:1", "[::]:80", "localhost:x", "9469"])
def test_an_address_that_is_not_loopback_is_refused(listen):
    with pytest.raises(ValueError, match="must be"):
        HttpSettings(listen=listen)


def test_loopback_addresses_of_both_families_are_taken():
    assert "[::1]:9469" == HttpSettings(listen="[::1]:9469").listen
    assert HttpServer(HttpSettings(listen="127.0.0.9:0"), FakeAgent()) is not None


def test_both_doors_keep_their_promises_on_uvloop(tmp_path):
    agent = FakeAgent()

    async def scene():
        async with serving(agent, tmp_path) as (port, path):
            assert 200 == (await send(path, "POST", "/v1/pause", {"reason": "x"})).status
            assert 405 == (await send(port, "POST", "/v1/pause", {"reason": "x"})).status
            assert 200 == (await send(port, "GET", "/readyz")).status
            assert 431 == (await raw(port, b"GET / HTTP/1.1\r\nX: " + b"a" * 9000)).status
            _, writer = await connect(port)
            reader, slow = await connect(path)
            slow.write(b"GET /")
            async with asyncio.timeout(limits.HTTP_REQUEST_S + 5):
                with contextlib.suppress(ConnectionResetError):
                    assert b"" == await reader.read()
            writer.close()
            slow.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
    assert [("pause", getpass.getuser() if os.getuid() else "root", "x")] == agent.calls
