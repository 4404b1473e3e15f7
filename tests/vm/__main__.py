"""A guest by hand: `scripts/guest COMMAND`, or its lines from the input."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.vm.guest import Guest

COMMAND_S = 24 * 3600


def main(words: list[str]) -> int:
    """Run the command, or every line of the input; return the last exit code."""
    rc = 0
    with tempfile.TemporaryDirectory() as folder, Guest(Path(folder)) as guest:
        for command in [" ".join(words)] if words else sys.stdin:
            done = guest.run(command, COMMAND_S)
            sys.stdout.write(done.stdout)
            sys.stdout.flush()
            sys.stderr.write(done.stderr)
            rc = done.rc
    return rc


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
