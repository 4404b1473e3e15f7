"""The command line's end of the agent's unix socket.

Separate because it must stay light and must work while the rest of the settings is wrong: it
reads only the socket's path, and speaks plain HTTP with the standard library.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Final

from confsync.host import toml
from confsync.model import limits
from confsync.model.errors import ConfsyncError, Denied, Unreachable
from confsync.model.ids import Json

OK: Final = range(200, 300)


class NoAgent(Unreachable):
    """Nobody listens on the agent's socket."""


class Refused(ConfsyncError):
    """The agent answered with a problem; it carries the agent's own exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(config: Path, path: str, timeout_s: float = limits.TICK_S * 5) -> Json:
    """Return the agent's answer to a GET. Raises NoAgent, Denied, Refused."""
    return _call(toml.read_what_can_be(config).socket, "GET", path, None, timeout_s)


def order(config: Path, path: str, body: Json, timeout_s: float = limits.LOCAL_CALL_S) -> Json:
    """Return the agent's answer to a POST. Raises NoAgent, Denied, Refused."""
    return _call(toml.read_what_can_be(config).socket, "POST", path, body, timeout_s)


def _call(address: str, method: str, path: str, body: Json, timeout_s: float) -> Json:
    connection = _UnixConnection(address, timeout_s)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text)
        answer = connection.getresponse()
        reply = json.loads(answer.read())
    except PermissionError as error:
        raise Denied(f"{address}: permission denied; members of confsync-admin may") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoAgent(
            f"no agent answers on {address}; is it running? systemctl status confsync"
        ) from error
    except TimeoutError as error:
        raise Unreachable(f"the agent on {address} gave no answer in {timeout_s:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"the agent on {address} broke off: {error}") from error
    finally:
        connection.close()
    if answer.status not in OK:
        raise Refused(str(reply.get("detail", answer.reason)), int(reply.get("exit", 1)))
    return reply
