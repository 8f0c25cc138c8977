"""filtered.py before|after|none: a pair of connected sockets, made before or after a seccomp filter that allows no
memfd is installed; ten bytes go over it in any case after that. Says "ready" and stays until a signal ends it.

filtered.py exec COMMAND...: runs the command in that filter."""

import ctypes
import os
import platform
import signal
import socket
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
MEMFD_CREATE = {"x86_64": 319, "aarch64": 279}[platform.machine()]
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO_EPERM, ALLOW = 0x00050001, 0x7FFF0000


class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install():
    is_memfd = [(LOAD_NUMBER, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, MEMFD_CREATE)]
    steps = [*is_memfd, (RETURN, 0, 0, ERRNO_EPERM), (RETURN, 0, 0, ALLOW)]
    code = Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    filter_call = (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(code), 0, 0)
    for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), filter_call]:
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def pair(listener):
    one = socket.create_connection(listener.getsockname())
    other = listener.accept()[0]
    one.sendall(b"first")
    assert other.recv(5) == b"first"
    return one, other


if sys.argv[1] == "exec":
    install()
    os.execvp(sys.argv[2], sys.argv[2:])

listener = socket.create_server(("127.0.0.1", 0))
if sys.argv[1] == "after":
    install()
one, other = pair(listener)
if sys.argv[1] == "before":
    install()
one.sendall(b"0123456789")
assert other.recv(10) == b"0123456789"
print("ready", flush=True)
signal.pause()
