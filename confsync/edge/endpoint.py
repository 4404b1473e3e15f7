"""Where Consul answers and who we are there: address, TLS and token, read from settings.

Separate because both the pooled client and the way-home probe need it, and because wrong settings
must fail at start and not at the first request. TLS is never used without verification.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from confsync.model.errors import BadSettings, Denied

CREDENTIAL: Final = "consul-token"
TOKEN_BYTES: Final = 1024
PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of Consul's HTTP API.

    Shape: `socket` is the path of a unix socket, empty for TCP; `tls` is None for plain text.
    """

    host: str
    port: int
    socket: str = ""
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(
        cls, address: str, ca_file: str = "", cert_file: str = "", key_file: str = ""
    ) -> Self:
        """Read ``http://host:port``, ``https://host:port`` or ``unix:///path``.

        Raises: BadSettings.
        """
        parts = urlsplit(address)
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            endpoint = cls("localhost", 0, parts.path)
        elif parts.scheme in PORTS and parts.hostname and parts.path in {"", "/"}:
            endpoint = cls(parts.hostname, _port(address), "", None)
        else:
            raise BadSettings(
                f"source.consul.address {address!r}: wanted http://host:port, "
                f"https://host:port or unix:///path"
            )
        if parts.scheme == "https":
            tls = tls_context("source.consul", ca_file, cert_file, key_file)
            return cls(endpoint.host, endpoint.port, "", tls)
        if ca_file or cert_file or key_file:
            raise BadSettings(f"source.consul: certificates are set, but {address!r} is not https")
        return endpoint

    @property
    def scheme(self) -> str:
        """Return the scheme of URLs."""
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        """Return the value of the Host header."""
        if self.socket:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket else f"{self.scheme}://{self.authority}"


def _port(address: str) -> int:
    """Return the port of an address, the scheme's own if none is given."""
    parts = urlsplit(address)
    try:
        return parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise BadSettings(f"source.consul.address {address!r}: {error}") from error


def tls_context(table: str, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return a context that verifies the server and shows our certificate, if there is one.

    Shape: `table` is where the settings stand, for messages. Raises: BadSettings.
    """
    if key_file and not cert_file:
        raise BadSettings(f"{table}.key_file is set, but cert_file is not")
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if cert_file:
            context.load_cert_chain(cert_file, key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(
            f"{table}: certificates cannot be loaded (ca_file={ca_file!r}, "
            f"cert_file={cert_file!r}, key_file={key_file!r}): {error}"
        ) from error
    return context


def token_path(setting: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file that holds our token: the setting, systemd's credential, the environment."""
    if setting:
        return Path(setting)
    if folder := environment.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder) / CREDENTIAL
        if credential.exists():
            return credential
    if path := environment.get("CONSUL_HTTP_TOKEN_FILE"):
        return Path(path)
    return None


class Token:
    """The ACL token, read again when its file changes, so that it can be rotated."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._text = ""

    def headers(self) -> dict[str, str]:
        """Return the header that carries the token; none if no token is configured.

        Raises: Denied, when the file cannot be read or holds no token.
        """
        if self._path is None:
            return {}
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp != self._stamp:
                self._text = self._read(self._path)
                self._stamp = stamp
        except OSError as error:
            raise Denied(f"the Consul token cannot be read: {error}") from error
        return {"X-Consul-Token": self._text}

    @staticmethod
    def _read(path: Path) -> str:
        with path.open("rb") as file:
            raw = file.read(TOKEN_BYTES + 1).strip()
        if len(raw) > TOKEN_BYTES or not raw or not all(0x21 <= byte < 0x7F for byte in raw):  # noqa: PLR2004
            raise Denied(f"{path} holds no Consul token: wanted one word of printable ASCII")
        return raw.decode("ascii")
