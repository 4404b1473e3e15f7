from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from confsync.drivers.bird.socket import (
    ControlSocket,
    DaemonDown,
    Framer,
    Reply,
    Unreadable,
    encoded,
    quoted,
)
from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy, HostRefused

GREETING = b"0001 BIRD 2.0.12 ready.\n"
STREAM = (
    b"+Config timeout expired, starting undo\n"
    b"1002-bgp_a     BGP        ---        up     10:07:13.085  Established   \n"
    b"1006-  Description:    site B\n"
    b"   BGP state:          Established\n"
    b" \n"
    b" \tvia 10.0.0.1 on eth0\n"
    b"+Reconfigured\n"
    b"0000 \n"
    b"8002 /etc/bird.conf:1:2 syntax error\n"
)
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def framed(*chunks: bytes) -> list[Reply]:
    framer = Framer()
    return [reply for chunk in chunks for reply in framer.feed(chunk)]


# --- framing


def test_continuations_blank_lines_and_announcements_are_framed():
    listing, refusal = framed(STREAM)
    texts = [(line.code, line.text) for line in listing.lines]
    assert [
        (1002, "bgp_a     BGP        ---        up     10:07:13.085  Established   "),
        (1006, "  Description:    site B"),
        (1006, "  BGP state:          Established"),
        (1006, ""),
        (1006, "\tvia 10.0.0.1 on eth0"),
        (0, ""),
    ] == texts
    assert (8002, "/etc/bird.conf:1:2 syntax error") == (refusal.code, refusal.text)


def test_replies_may_be_cut_at_any_byte():
    whole = framed(STREAM)
    for cut in range(len(STREAM) + 1):
        assert whole == framed(STREAM[:cut], STREAM[cut:])
    assert whole == framed(*(bytes([byte]) for byte in STREAM))


def test_announcements_before_inside_and_after_a_reply_change_nothing():
    plain = framed(STREAM)
    lines = STREAM.splitlines(keepends=True)
    for at in range(len(lines) + 1):
        told = b"".join([*lines[:at], b"+Config timeout expired, starting undo\n", *lines[at:]])
        assert plain == framed(told)
        assert plain == framed(*(bytes([byte]) for byte in told))


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\n", b" continuation of nothing\n", b"\n", b"12 x\n", b"\xff\xfe\n",
     "\uff11\uff12\uff13\uff14 x\n".encode(), b"x" * (limits.BIRD_LINE_BYTES + 1)],
)  # fmt: skip
def test_what_is_not_birds_protocol_is_unreadable(garbage):
    with pytest.raises(Unreadable):
        framed(garbage)


def test_a_reply_without_end_is_given_up():
    line = b"1008-" + b"x" * 500 + b"\n"
    framer = Framer()
    for _ in range(limits.BIRD_REPLY_BYTES // (len(line) - 1)):
        assert [] == framer.feed(line)
    with pytest.raises(Unreadable, match="without end"):
        framer.feed(line)


# --- what may be sent


@pytest.mark.parametrize("path", ['/etc/a"b', "/etc/a\nb", "/etc/a\0b", "/etc/a\x7fb"])
def test_a_path_that_cannot_be_quoted_is_refused(path):
    with pytest.raises(HostRefused):
        quoted(path)


@pytest.mark.parametrize("command", ["x" * limits.BIRD_COMMAND_BYTES, "a\nb", "a\0b", "a\rb"])
def test_a_command_that_would_harm_the_daemon_is_refused(command):
    with pytest.raises(HostRefused):
        encoded([command])


def test_the_bound_holds_for_all_of_one_write():
    half = "x" * (limits.BIRD_COMMAND_BYTES // 2 - 1)
    assert limits.BIRD_COMMAND_BYTES == len(encoded([half, half]))
    with pytest.raises(HostRefused):
        encoded([half, half + "x"])


# --- the connection, against scripted servers


@asynccontextmanager
async def server(path, *script):
    """Serve each connection with the next list of bytes: one per command received, first at once.

    An entry None closes the connection; a script that is over stays silent.
    """
    scripts = list(script)

    async def serve(reader, writer):
        try:
            for answer in scripts.pop(0):
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if not await reader.readline():
                    return
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        listening.close()


def run_on(loop, work):
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


@LOOPS
def test_commands_in_one_write_get_their_replies_in_order(tmp_path, loop):
    async def work():
        path = str(tmp_path / "s")
        async with server(
            path, [GREETING, b"0023 a\n+x\n0003-Daemon is up", b" and running\n0000 \n"]
        ):
            control = ControlSocket(path)
            first, second = await control.ask("eval cs_render", "configure status")
            control.close()
            return control.greeting, first.text, second.find(3)

    assert ("BIRD 2.0.12 ready.", "a", "Daemon is up and running") == run_on(loop, work())


def down(path):
    return None


def stale(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


@LOOPS
@pytest.mark.parametrize(
    ("prepare", "kind", "said"),
    [(down, DaemonDown, "there is no socket"), (stale, DaemonDown, "nobody listens")],
)
def test_a_daemon_that_is_down_is_told_from_one_that_hangs(tmp_path, loop, prepare, kind, said):
    path = str(tmp_path / "s")
    prepare(path)
    with pytest.raises(kind, match=said):
        run_on(loop, ControlSocket(path).ask("show status"))


@pytest.mark.root
def test_a_socket_that_is_not_for_us_is_said(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)
        one.listen()
        Path(path).chmod(0o600)
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(folder.stat().st_mode | 0o011)
        os.seteuid(65534)
        try:
            with pytest.raises(HostBusy, match="permission denied"):
                asyncio.run(ControlSocket(path).ask("show status"))
        finally:
            os.seteuid(0)


@LOOPS
@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ([], HostBusy, "does not greet: it hangs"),
        ([None], HostBusy, "is not BIRD: it closed"),
        ([b"220 mail ready\n"], HostBusy, "is not BIRD"),
        ([GREETING], DeadlinePassed, "did not answer within"),
        ([GREETING, b"1000-BIRD 2.0.12\n"], DeadlinePassed, "did not answer within"),
        ([GREETING, None], DeadlinePassed, "closed the connection in mid reply"),
        ([GREETING, b"what?\n"], DeadlinePassed, "cannot be read"),
        ([GREETING, b"1008-" + b"x" * 1_000_000], DeadlinePassed, "cannot be read"),
        ([GREETING, b"0000 \n0000 \n"], DeadlinePassed, "cannot be read"),
    ],
)
def test_silence_garbage_and_the_end_are_distinct_errors(tmp_path, loop, script, kind, said):
    async def work():
        path = str(tmp_path / "s")
        async with server(path, script):
            control = ControlSocket(path, timeout_s=0.2)
            with pytest.raises(kind, match=said) as error:
                await control.ask("show status")
            return type(error.value)

    assert kind is run_on(loop, work())


@LOOPS
def test_after_an_unknown_outcome_a_late_reply_belongs_to_nobody(tmp_path, loop):
    async def work():
        path = str(tmp_path / "s")
        async with server(path, [GREETING], [GREETING, b"0003 Reconfigured\n"]):
            control = ControlSocket(path, timeout_s=0.2)
            with pytest.raises(DeadlinePassed):
                await control.ask("configure")
            (reply,) = await control.ask("configure")
            control.close()
            return reply.code

    assert 3 == run_on(loop, work())


@LOOPS
def test_a_connection_that_died_unnoticed_is_opened_anew(tmp_path, loop):
    async def work():
        path = str(tmp_path / "s")
        gone = [GREETING, b"0000 first\n", None]
        async with server(path, gone, [GREETING, b"0000 second\n"]):
            control = ControlSocket(path, timeout_s=2)
            texts = [(await control.ask("show status"))[0].text]
            peer = control._socket
            peer.send(b"bye\n")
            await asyncio.get_running_loop().run_in_executor(None, wait_readable, peer)
            texts.append((await control.ask("show status"))[0].text)
            control.close()
            return texts

    assert ["first", "second"] == run_on(loop, work())


def wait_readable(peer):
    import select

    assert select.select([peer.fileno()], [], [], 5)[0]


@LOOPS
def test_a_cancelled_question_drops_the_connection(tmp_path, loop):
    async def work():
        path = str(tmp_path / "s")
        async with server(path, [GREETING], [GREETING, b"0000 mine\n"]):
            control = ControlSocket(path)
            try:
                async with asyncio.timeout(0.1):
                    await control.ask("show status")
            except TimeoutError:
                pass
            (reply,) = await control.ask("show status")
            control.close()
            return reply.text

    assert "mine" == run_on(loop, work())


@LOOPS
def test_questions_of_two_tasks_take_turns(tmp_path, loop):
    async def work():
        path = str(tmp_path / "s")
        async with server(path, [GREETING, b"0000 1\n", b"0000 2\n"]):
            control = ControlSocket(path, timeout_s=2)
            replies = await asyncio.gather(control.ask("a"), control.ask("b"))
            control.close()
            return [reply.text for (reply,) in replies]

    assert ["1", "2"] == run_on(loop, work())
