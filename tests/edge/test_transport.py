from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from confsync.edge.endpoint import Endpoint, Token, token_path
from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import (
    BadSettings,
    Conflict,
    Denied,
    Oversized,
    SourceError,
    Torn,
    Unreachable,
)
from tests.edge.fake import FakeConsul, Request, fake_consul, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OK = reply(200, b'{"Results": null, "Errors": null}', X_Consul_KnownLeader="true")


@asynccontextmanager
async def connected(fake: FakeConsul, token: Path | None = None) -> AsyncIterator[Client]:
    client = Client(Endpoint.parse(fake.address), Token(token))
    try:
        yield client
    finally:
        await client.close()


async def failure(answer: bytes) -> SourceError:
    """Return what one GET raises for an answer."""
    async with fake_consul(answer) as fake, connected(fake) as client:
        with pytest.raises(SourceError) as caught:
            await client.http.request("GET", "/v1/kv/a")
        return caught.value


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (reply(500, b"No cluster leader"), Unreachable, "No cluster leader"),
        (reply(502, b"<html>bad gateway</html>"), Unreachable, "bad gateway"),
        (reply(403, b"Permission denied"), Denied, "Permission denied"),
        (reply(403, b"ACL not found"), Denied, "ACL not found"),
        (reply(401, b"ACL support disabled"), Denied, "disabled"),
        (reply(413, b"Value exceeds limit"), Oversized, "exceeds"),
        (reply(400, b"Bad request"), SourceError, "Bad request"),
        (reply(301, b"", Location="/v1/kv/b"), SourceError, "301"),
        (reply(200, b"[]", X_Consul_KnownLeader="false"), Unreachable, "no leader"),
        (reply(200, b"[", length=100, Connection="close"), Unreachable, "no answer"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", Unreachable, "no answer"),
    ],
)
async def test_every_bad_answer_is_one_of_our_errors(
    answer: bytes, expected: type[SourceError], words: str
) -> None:
    error = await failure(answer)
    assert expected is type(error)
    assert words in str(error)


async def test_a_page_of_a_proxy_is_cut_to_fit_a_log_line() -> None:
    error = await failure(reply(500, b"<p>" + b"x" * 100_000))
    assert len(str(error)) < limits.CONSUL_ERROR_CHARS + 100


async def test_a_refused_connection_is_unreachable() -> None:
    async with fake_consul(OK) as fake:
        pass
    async with connected(fake) as client:
        with pytest.raises(Unreachable):
            await client.http.request("GET", "/v1/kv/a")
        assert {("read", "error"): 1} == client.stats.requests
        assert client.stats.last_success_s is None


async def test_no_answer_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONSUL_CONNECT_S", 0.1)
    monkeypatch.setattr(limits, "CONSUL_READ_S", 0.1)

    async def never(_: Request) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with fake_consul(never) as fake, connected(fake) as client:
        with pytest.raises(Unreachable):
            await client.http.request("GET", "/v1/kv/a")


async def test_an_endless_body_is_read_up_to_the_limit() -> None:
    endless = reply(200, b"x" * (limits.SNAPSHOT_BYTES + 1), length=10**12)
    assert Oversized is type(await failure(endless))


async def test_a_write_is_sent_once_even_if_the_connection_breaks() -> None:
    async def good_then_cut(request: Request) -> bytes | None:
        return OK if request.method == "GET" else None

    async with fake_consul(good_then_cut) as fake, connected(fake) as client:
        await client.http.request("GET", "/v1/kv/a")
        with pytest.raises(Unreachable):
            await client.write([{"Verb": "set", "Key": "a", "Value": ""}])
        assert ["GET", "PUT"] == [request.method for request in fake.requests]
        assert not any(s._retry_connection for s in client.http._sessions.values())


async def test_a_server_that_asks_to_wait_is_left_alone() -> None:
    async with (
        fake_consul(reply(429, b"slow down", Retry_After="30")) as fake,
        connected(fake) as client,
    ):
        for words in ("slow down", "asked us to wait"):
            with pytest.raises(Unreachable, match=words):
                await client.http.request("GET", "/v1/kv/a")
        assert 1 == len(fake.requests)


async def test_the_operation_that_lost_is_known() -> None:
    body = {"Results": None, "Errors": [{"OpIndex": 3, "What": "index is stale"}]}
    async with (
        fake_consul(reply(409, json.dumps(body).encode())) as fake,
        connected(fake) as client,
    ):
        with pytest.raises(Conflict, match="operation 3: index is stale") as caught:
            await client.write([])
    assert 3 == caught.value.op


async def test_a_transaction_without_the_right_is_denied() -> None:
    body = {"Results": None, "Errors": [{"OpIndex": 0, "What": "Permission denied"}]}
    assert Denied is type(await failure(reply(409, json.dumps(body).encode())))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"Results": [1]}', b"\x1f\x8b", b"[" * 99999]
)
async def test_a_transaction_with_a_senseless_answer_is_torn(body: bytes) -> None:
    async with fake_consul(reply(200, body)) as fake, connected(fake) as client:
        with pytest.raises(Torn):
            await client.read(["a"])


async def test_the_token_goes_with_every_call_and_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with fake_consul(OK) as fake, connected(fake, token) as client:
        await client.read(["a"])
        token.write_text("second-one\n")
        await client.kv.put("a", "b")
        await client.kv.delete("a")
        await client.http.request("GET", "/v1/kv/a", params=[("index", "1")])
    sent = [request.headers["x-consul-token"] for request in fake.requests]
    assert ["first", "second-one", "second-one", "second-one"] == sent
    assert {"identity"} == {request.headers["accept-encoding"] for request in fake.requests}


async def test_a_token_of_the_environment_never_replaces_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "foreign")
    async with fake_consul(OK) as fake, connected(fake) as client:
        await client.kv.put("a", "b")
    assert "x-consul-token" not in fake.requests[0].headers


@pytest.mark.parametrize("content", [b"", b"two words", b"new\nline", b"\xc3\xa5", b"x" * 2000])
async def test_a_file_without_a_token_is_denied(tmp_path: Path, content: bytes) -> None:
    token = tmp_path / "token"
    token.write_bytes(content)
    with pytest.raises(Denied):
        Token(token).headers()


def test_a_missing_token_file_is_denied(tmp_path: Path) -> None:
    with pytest.raises(Denied, match="cannot be read"):
        Token(tmp_path / "none").headers()


def test_setting_wins_over_credential_over_environment(tmp_path: Path) -> None:
    credential = tmp_path / "consul-token"
    credential.write_text("x")
    both = {"CREDENTIALS_DIRECTORY": str(tmp_path), "CONSUL_HTTP_TOKEN_FILE": "/env"}
    found = [
        token_path("/setting", both),
        token_path("", both),
        token_path("", {"CONSUL_HTTP_TOKEN_FILE": "/env"}),
        token_path("", {}),
    ]
    assert ["/setting", str(credential), "/env", "None"] == [str(path) for path in found]


@pytest.mark.parametrize(
    "path", ["/v1/kv/a//b", "/v1/kv/../b", "/v1/kv/./b", "/v1/kv/a b", "/v1/kv/a%2f", "/v1/kv/a?b"]
)
async def test_a_key_that_would_reach_another_is_never_sent(path: str) -> None:
    async with fake_consul(OK) as fake, connected(fake) as client:
        with pytest.raises(SourceError):
            await client.http.request("GET", path)
        assert [] == fake.requests


async def test_watches_do_not_starve_a_read() -> None:
    async def block(request: Request) -> bytes:
        if "index" in request.target:
            await asyncio.Event().wait()
        return OK

    async with fake_consul(block) as fake, connected(fake) as client:
        request = client.http.request
        watches = [
            asyncio.create_task(request("GET", "/v1/kv/a", params=[("index", "1")]))
            for _ in range(150)
        ]
        while len(fake.requests) < len(watches):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await client.read(["a"])
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    async with fake_consul(OK, socket=f"{tmp_path}/s") as fake, connected(fake) as client:
        assert {} == await client.read(["a"])


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:8500", "ftp://x", "http://", "http://h:99999", "http://h/v1", "unix://s"],
)
def test_an_address_that_cannot_be_meant_is_refused(address: str) -> None:
    with pytest.raises(BadSettings, match=r"source\.consul\.address"):
        Endpoint.parse(address)


def test_certificates_without_tls_are_refused() -> None:
    with pytest.raises(BadSettings, match="not https"):
        Endpoint.parse("http://127.0.0.1:8500", ca_file="/ca.pem")


def test_certificates_that_cannot_be_loaded_are_named() -> None:
    with pytest.raises(BadSettings, match=r"/none\.pem"):
        Endpoint.parse("https://127.0.0.1:8501", ca_file="/none.pem")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a CA, and one certificate for 127.0.0.1 that serves as server's and as client's."""
    folder = tmp_path_factory.mktemp("tls")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-days", "2", "-subj"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    for name in ("ca", "stranger"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(
            [*make, f"/CN={name}", *usage, *files], cwd=folder, check=True, capture_output=True
        )
    own = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "own.key", "-out", "own.pem"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    subprocess.run([*make, "/CN=own", *names, *own], cwd=folder, check=True, capture_output=True)
    return folder


async def test_tls_shows_our_certificate_and_checks_the_server(certificates: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    server.load_cert_chain(certificates / "own.pem", certificates / "own.key")
    server.verify_mode = ssl.CERT_REQUIRED

    async def read(ca: str, own: str) -> str:
        files = [str(certificates / name) if name else "" for name in (ca, own, own and "own.key")]
        client = Client(Endpoint.parse(fake.address, *files), Token(None))
        try:
            await client.read(["a"])
        except Unreachable as error:
            return str(error)
        else:
            return "read"
        finally:
            await client.close()

    async with fake_consul(OK, tls=server) as fake:
        assert "read" == await read("ca.pem", "own.pem")
        assert "CERTIFICATE_VERIFY_FAILED" in await read("stranger.pem", "own.pem")
        assert "no answer" in await read("ca.pem", "")
