"""The state directory is private, and one confsync at a time works with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from confsync.host.state import HostLock, private_dir
from confsync.model.errors import AnotherAgent, BadSettings

HOLD = """
import sys
from pathlib import Path
from confsync.host.state import HostLock
with HostLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Give another process that holds the lock."""
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_holder_is_refused_and_told_whom_to_ask(tmp_path, holder):
    with pytest.raises(AnotherAgent, match="ask it instead: confsync status"), HostLock(tmp_path):
        pass


def test_the_kernel_ends_the_lock_of_a_killed_holder(tmp_path, holder):
    holder.kill()
    holder.wait()
    with HostLock(tmp_path):
        pass


def test_the_lock_is_free_again_after_its_holder(tmp_path):
    for _ in range(2):
        with HostLock(tmp_path):
            assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_child_does_not_inherit_the_lock(tmp_path):
    with HostLock(tmp_path), subprocess.Popen(["sleep", "60"]) as child:
        held = [fd.readlink() for fd in Path(f"/proc/{child.pid}/fd").iterdir()]
        child.kill()
    assert tmp_path / "lock" not in held


def test_a_refused_try_leaves_no_descriptor(tmp_path, holder):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(AnotherAgent), HostLock(tmp_path):
            pass
    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_an_absent_directory_is_made_private(tmp_path):
    made = private_dir(tmp_path / "var" / "confsync")
    assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(BadSettings, match=f"mode {oct(mode)}"):
        private_dir(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(BadSettings, match="belongs to uid 65534"):
        private_dir(tmp_path)


def test_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(BadSettings, match="a symlink"):
        private_dir(tmp_path / "link")


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings, match="File exists"):
        private_dir(tmp_path / "file")
    with pytest.raises(BadSettings, match="Not a directory"):
        private_dir(tmp_path / "file" / "below")
