"""What a demo is shown on: commands with their answers, promises with what became of them.

Separate from what is done on it, which differs from demo to demo. What is shown is what was run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READ_S = 1.5  # a person reads what a command answered
BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"


class Screen:
    """Shows commands with what they answered, and keeps count of broken promises.

    Shape: commands are run in `folder`, with the environment `env`.
    """

    def __init__(self, folder: Path, *, pauses: bool, patience_s: float = 60) -> None:
        self.folder = folder
        self.env = dict(os.environ)
        self.patience_s = patience_s
        self.failed = 0
        self._pauses = pauses
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._width = min(shutil.get_terminal_size().columns, 110)

    def say(self, text: str = "", colour: str = "", indent: int = 3) -> None:
        """Print one paragraph."""
        space, hang = " " * indent, "" if colour == DIM else "  "
        lines = textwrap.wrap(
            text, self._width, initial_indent=space, subsequent_indent=space + hang,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        for line in lines or [""]:
            painted = f"\033[{colour}m{line}\033[0m" if colour and self._colours else line
            sys.stdout.write(f"{painted}\n")
        sys.stdout.flush()

    def scene(self, title: str, intro: str) -> None:
        """Open a scene."""
        self.pause()
        self.say()
        self.say(title, f"{BOLD};{CYAN}", indent=0)
        self.say(intro, DIM)

    def pause(self) -> None:
        """Let a person read."""
        if self._pauses:
            time.sleep(READ_S)

    def run(self, *words: str, keep: str = "") -> int:
        """Run a command, show it with the lines that `keep` matches, return its exit code."""
        return self.show(words, words, self.env, keep=keep)

    def show(
        self,
        words: Sequence[str],
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        prompt: str = "",
        keep: str = "",
    ) -> int:
        """As `run`, of what is typed as `words` at a prompt and run as `argv`."""
        self.say()
        self.say(f"{prompt}$ {' '.join(map(_quoted, words))}", BOLD)
        done = subprocess.run(
            argv, cwd=self.folder, env=env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=self.patience_s,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if re.search(keep, line)]
        for line in lines:
            self.say(line.expandtabs())
        if done.returncode:
            self.say(f"exit {done.returncode}", DIM)
        self.pause()
        return done.returncode

    def check(self, promise: str, kept: object) -> None:
        """Tell whether a promise was kept."""
        self.failed += not kept
        self.say(f"{'ok      ' if kept else 'FAILED  '}{promise}", GREEN if kept else RED)


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
