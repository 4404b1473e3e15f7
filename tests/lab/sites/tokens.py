"""The tokens of a lab: the policies of config/consul, as they are, and who has which.

Separate because it follows config/consul/README.md step by step: what is wrong there is wrong here.
Made in the primary datacenter; the others replicate them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.kv import Kv

POLICIES = Path(__file__).parents[3] / "config" / "consul"


class Tokens:
    """Secrets as files in one folder, named for whom they are; `secret` reads one."""

    def __init__(self, folder: Path, kv: Kv, sites: Sequence[str]) -> None:
        """Make the policies and all tokens but the nodes'; `kv` has the almighty token."""
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._kv = kv
        self._keep("management", kv.token)
        for name in ("consul-server", "acl-replication", "agent", "reader", "replicator-home"):
            self._policy(name)
        self._policy("emergency", "publisher")
        self._policy("publisher", datacenters=sites[:1])
        for holder, *policies in (
            ("consul-server", "consul-server"),
            ("acl-replication", "acl-replication"),
            ("publisher", "publisher", "reader"),  # it reads the edits that other sites keep
            ("emergency", "emergency"),
            ("reader", "reader"),
        ):
            self.make(holder, *policies)
        for site in sites:
            self._policy(f"site-{site}", "site", datacenters=[site])
        for site in sites[1:]:
            self._policy(f"replicator-{site}", "replicator-site", datacenters=[site])
            self.make(f"replicator-{site}", "replicator-home", f"replicator-{site}")

    def _policy(self, name: str, rules: str = "", *, datacenters: Sequence[str] = ()) -> None:
        text = (POLICIES / f"{rules or name}.hcl").read_text()
        self._kv.new_policy(_named(name), text, datacenters)

    def node(self, site: str, node: str, *, acts: bool = False) -> None:
        """Make the token of a node's agent, which may act for its site; once."""
        if self.file(node).exists():
            return
        text = (POLICIES / "report.hcl").read_text().replace("SITE", site).replace("NODE", node)
        self._kv.new_policy(_named(f"report-{node}"), text, [site])
        more = [f"site-{site}"] if acts else []
        self.make(node, "agent", f"report-{node}", *more)

    def make(self, holder: str, *policies: str, local: bool = False) -> str:
        """Make a token of policies; returns its secret."""
        secret = self._kv.token_of(_named(holder), [_named(one) for one in policies], local=local)
        self._keep(holder, secret)
        return secret

    def _keep(self, holder: str, secret: str) -> None:
        path = self.file(holder)
        path.write_text(secret)
        path.chmod(0o600)

    def file(self, holder: str) -> Path:
        """Return the file of a holder's secret."""
        return self._folder / holder

    def secret(self, holder: str) -> str:
        """Return a holder's secret."""
        return self.file(holder).read_text()


def _named(name: str) -> str:
    return name if name in {"consul-server", "acl-replication"} else f"confsync-{name}"
