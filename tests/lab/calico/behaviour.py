"""How the fake Felix behaves, as a test orders it.

Separate because the test writes it and the daemon, another process, reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """How it behaves, read at its start; `store` is a datastore's folder, without one it has none.

    Units: seconds. `retry_s` and `reload_s` are 1 and about 2 in the real one.
    """

    hostname: str = "n1"
    store: str = ""
    ready_after_s: float = 0.0
    reload_s: float = 0.0
    retry_s: float = 1.0
    never_ready: bool = False
    hung_health: bool = False
    health_detail: bool = False
    die_after_s: float | None = None
    exit_code: int = 1
