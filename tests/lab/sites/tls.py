"""The lab's own certificate authority, made by Consul itself as config/consul/README.md does it."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING, Any

from tests.lab.consul import consul_binary

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """Signs the servers' certificates; `ca` is the file that everybody trusts."""

    def __init__(self, folder: Path) -> None:
        """Make its key in a folder."""
        folder.mkdir()
        self._folder = folder
        self._run("ca", "create")
        self.ca = folder / "consul-agent-ca.pem"

    def _run(self, *words: str) -> None:
        argv = [consul_binary(), "tls", *words]
        subprocess.run(argv, cwd=self._folder, check=True, capture_output=True)

    def server(self, datacenter: str, address: str) -> dict[str, Any]:
        """Make the next certificate of a datacenter's servers; returns the server's settings."""
        number = len(list(self._folder.glob(f"{datacenter}-server-*-key.pem")))
        self._run("cert", "create", "-server", "-dc", datacenter, "-additional-ipaddress", address)
        stem = self._folder / f"{datacenter}-server-consul-{number}"
        return {"ca_file": str(self.ca), "cert_file": f"{stem}.pem", "key_file": f"{stem}-key.pem"}

    @property
    def context(self) -> ssl.SSLContext:
        """What a client of ours checks a server with."""
        return ssl.create_default_context(cafile=str(self.ca))
