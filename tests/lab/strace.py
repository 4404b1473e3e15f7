"""strace as the hand of fate: at the n-th system call a process is killed, or the call fails.

Why strace: it needs no change of the product, and a point between two system calls is exact where
a sleep is a guess. A call is counted per thread, and the signal comes before the call is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from typing import Self


class Injection(NamedTuple):
    """What happens at which call: `what` is `signal=KILL`, `error=EIO` and the like.

    Shape: `when` as strace has it: `3` = only the third, `3+` = from the third on;
    `threads` False = only the main thread's calls count; with `paths` only calls on these files
    and folders count.
    """

    call: str
    when: str
    what: str = "signal=KILL"
    threads: bool = True
    paths: tuple[Path, ...] = ()

    def argv(self, output: Path) -> tuple[str, ...]:
        """Return strace with its options, to be followed by a command or `-p`."""
        follow = ("-f",) if self.threads else ()
        only = (word for path in self.paths for word in ("-P", str(path)))
        fate = f"inject={self.call}:{self.what}:when={self.when}"
        return ("strace", *follow, *only, "-o", str(output), "-e", f"trace={self.call}", "-e", fate)


class Tracer:
    """A strace attached to a running process, from entering to leaving the context."""

    def __init__(self, folder: Path, pid: int, injection: Injection) -> None:
        """Attach; the first call counted is one that is made after this."""
        self.output = folder / "strace.out"
        self.output.unlink(missing_ok=True)
        log = folder / "strace.log"
        log.unlink(missing_ok=True)
        self._process = Process([*injection.argv(self.output), "-p", str(pid)], log)

        def attached() -> bool:
            ended = self._process.exit_code is not None
            if "attached" in self._process.text:
                return True  # it may have struck since, and have nobody left to trace
            if ended:
                raise LabError(f"strace ended:\n{self._process.text}")
            return False

        wait_until("strace is attached", attached)

    def __enter__(self) -> Self:
        """It is attached already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Detach; the process goes on."""
        self.close()

    def close(self) -> None:
        """Detach; legal at any time."""
        self._process.terminate()

    @property
    def text(self) -> str:
        """The calls that it saw."""
        return self.output.read_text(errors="replace")

    @property
    def struck(self) -> int:
        """How many calls were made to fail, so far."""
        return self.text.count("(INJECTED)")
