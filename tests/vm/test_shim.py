"""The preload for CPUs with AMX, tried on any CPU: a short write of registers."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.vm.guest import SHIM

SHORT_WRITE = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
child = os.fork()
if not child:
    libc.ptrace(0, 0, None, None)  # PTRACE_TRACEME
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0 if 1.5 * float(child + 3) == 4.5 else 1)
os.waitpid(child, 0)
buffer = ctypes.create_string_buffer(1 << 16)
iov = Iovec(ctypes.addressof(buffer), 576)  # the legacy area and the header
for request in 0x4204, 0x4205:  # PTRACE_GETREGSET, PTRACE_SETREGSET
    if libc.ptrace(request, child, 0x202, ctypes.byref(iov)):  # NT_X86_XSTATE
        os.kill(child, signal.SIGKILL)
        raise OSError(ctypes.get_errno(), "request %x" % request)
libc.ptrace(17, child, None, None)  # PTRACE_DETACH
print(os.waitpid(child, 0)[1])
"""


def short_write(preload: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SHORT_WRITE],
        env={**os.environ, "LD_PRELOAD": preload},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_short_write_of_registers_is_refused_by_the_machine():
    assert "[Errno 14] request 4205" in short_write("").stderr


def test_the_preload_makes_it_a_whole_one():
    done = short_write(str(SHIM))
    assert ("0\n", "") == (done.stdout, done.stderr)
