"""``python -m confsync``."""

from __future__ import annotations

import sys

from confsync.cli import main

if __name__ == "__main__":
    sys.exit(main())
