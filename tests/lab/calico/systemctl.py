"""The program `systemctl`: it sends its words to a manager's socket and tells what comes back.

Separate because each call starts it anew: it imports nothing of the manager, which does the work.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def main(manager: Path, argv: list[str]) -> int:
    """Ask the manager behind a socket; returns the exit code."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(manager))
        channel.sendall(json.dumps(argv).encode() + b"\n")
        with channel.makefile("rb") as reply:
            code, out, err = json.loads(reply.read())
    sys.stdout.write(out)
    sys.stderr.write(err)
    return int(code)
