"""A tiny synchronous Consul client: tests write as an operator does, not through our code."""

from __future__ import annotations

import base64
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence


class ConsulError(Exception):
    """An answer that is neither a success nor "not there"."""

    def __init__(self, status: int, body: bytes) -> None:
        """Keep the status for tests that expect it."""
        self.status = status
        super().__init__(f"{status}: {body[:300].decode(errors='replace')}")


class Kv:
    """One server's HTTP interface; every call is a connection of its own."""

    def __init__(
        self,
        address: str,
        port: int,
        token: str = "",
        timeout_s: float = 10,
        tls: ssl.SSLContext | None = None,
        datacenter: str = "",
    ) -> None:
        """Name the server; the token is sent with every call, and `?dc=` when one is named."""
        self.address, self.port, self.token = address, port, token
        self._timeout_s = timeout_s
        self._tls = tls
        self._datacenter = datacenter

    def as_other(self, token: str = "", *, datacenter: str = "", timeout_s: float = 10) -> Kv:
        """Return a client of the same server: as somebody else, or asking another datacenter."""
        return Kv(self.address, self.port, token, timeout_s, self._tls, datacenter)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self.address, self.port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(
            self.address, self.port, timeout=self._timeout_s, context=self._tls
        )

    def call(self, method: str, path: str, body: Any = None) -> bytes:
        """Send one request (bytes as they are, all else as JSON). Raises ConsulError, OSError."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"X-Consul-Token": self.token} if self.token else {}
        if self._datacenter:
            path += f"{'&' if '?' in path else '?'}dc={self._datacenter}"
        connection = self._connection()
        try:
            connection.request(method, f"/v1/{path}", body, headers)
            reply = connection.getresponse()
            data = reply.read()
        except http.client.HTTPException as error:  # a server that dies in mid-answer
            raise ConnectionResetError(str(error)) from error
        finally:
            connection.close()
        if reply.status >= 300:
            raise ConsulError(reply.status, data)
        return data

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """As `call`, with the answer parsed."""
        return json.loads(self.call(method, path, body))

    def entry(self, key: str) -> dict[str, Any] | None:
        """Return the entry as Consul shows it, consistently read; None when it is not there."""
        try:
            found: list[dict[str, Any]] = self.json("GET", f"kv/{quote(key)}?consistent")
        except ConsulError as error:
            if error.status == 404:
                return None
            raise
        return found[0]

    def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        entry = self.entry(key)
        return None if entry is None else base64.b64decode(entry["Value"] or "")

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys below a prefix."""
        try:
            found: list[str] = self.json("GET", f"kv/{quote(prefix)}?keys&consistent")
        except ConsulError as error:
            if error.status == 404:
                return []
            raise
        return found

    def put(self, key: str, value: str | bytes) -> None:
        """Write a value, whatever was there."""
        self.call("PUT", f"kv/{quote(key)}", _bytes(value))

    def cas(self, key: str, value: str | bytes, index: int) -> bool:
        """Write if the key still has this ModifyIndex (0: if it is not there)."""
        return bool(self.json("PUT", f"kv/{quote(key)}?cas={index}", _bytes(value)))

    def delete(self, key: str) -> None:
        """Delete one key."""
        self.call("DELETE", f"kv/{quote(key)}")

    def delete_tree(self, prefix: str) -> None:
        """Delete all below a prefix."""
        self.call("DELETE", f"kv/{quote(prefix)}?recurse")

    def txn(self, *operations: dict[str, Any]) -> Any:
        """Run KV operations as one transaction, e.g. `{"Verb": "set", "Key": k, "Value": text}`."""
        coded = [
            {"KV": {**one, "Value": base64.b64encode(_bytes(one["Value"])).decode()}}
            if "Value" in one
            else {"KV": one}
            for one in operations
        ]
        return self.json("PUT", "txn", coded)

    def put_all(self, values: dict[str, str | bytes]) -> None:
        """Write several keys in one transaction (64 at most, on an old Consul)."""
        self.txn(*({"Verb": "set", "Key": key, "Value": value} for key, value in values.items()))

    def new_token(self, name: str, rules: str) -> str:
        """Make a policy of these rules and a token that has it; returns the secret."""
        self.new_policy(name, rules)
        return self.token_of(name, [name])

    def new_policy(self, name: str, rules: str, datacenters: Sequence[str] = ()) -> None:
        """Make a policy; it counts in these datacenters only, in all when none is named."""
        policy = {"Name": name, "Rules": rules, "Datacenters": list(datacenters)}
        self.json("PUT", "acl/policy", policy)

    def token_of(self, description: str, policies: Sequence[str], *, local: bool = False) -> str:
        """Make a token of these policies and return its secret; a local one is not replicated."""
        token = {
            "Description": description,
            "Policies": [{"Name": name} for name in policies],
            "Local": local,
        }
        return str(self.json("PUT", "acl/token", token)["SecretID"])

    def change_rules(self, name: str, rules: str) -> None:
        """Give a policy other rules: its tokens change with it."""
        found = self.json("GET", f"acl/policy/name/{quote(name)}")
        body = {"ID": found["ID"], "Name": name, "Rules": rules}
        self.json("PUT", f"acl/policy/{found['ID']}", body)

    def delete_token(self, secret: str) -> None:
        """Delete a token: from now on it is not known."""
        own = self.as_other(secret).json("GET", "acl/token/self")
        self.call("DELETE", f"acl/token/{own['AccessorID']}")


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
