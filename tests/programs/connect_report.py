"""Connects and says what each call came to, by the names of errors: `connect NAME`, `SO_ERROR NAME`, `recv NAME`.

    connect_report.py blocking PORT     connect, then SO_ERROR, send and recv
    connect_report.py nonblocking PORT  connect without blocking, select, SO_ERROR (what event loops do), send and recv
    connect_report.py reset PORT        as nonblocking, but asks for SO_ERROR when the kernel has one (POLLERR)
    connect_report.py again PORT        a connect that times out after 100 ms (SO_SNDTIMEO), and then another one
"""
import errno
import select
import socket
import struct
import sys
import time


def name(number):
    return errno.errorcode[number] if number else "0"


def attempt(what, call, *args):
    try:
        result = call(*args)
        print(what, repr(result.decode()) if isinstance(result, bytes) else "0", flush=True)
    except OSError as e:
        print(what, name(e.errno), flush=True)


def so_error(s):
    print("SO_ERROR", name(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), flush=True)


how, port = sys.argv[1], int(sys.argv[2])
s = socket.socket()
if how in ("nonblocking", "reset"):
    s.setblocking(False)
elif how == "again":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 100000))
attempt("connect", s.connect, ("127.0.0.1", port))
if how == "nonblocking":
    select.select([], [s], [], 60)
if how == "reset":
    poller = select.poll()
    poller.register(s, 0)  # POLLERR and POLLHUP are always told of
    deadline = time.monotonic() + 60
    while not any(events & select.POLLERR for _, events in poller.poll(20)) and time.monotonic() < deadline:
        pass
if how == "again":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
    attempt("connect", s.connect, ("127.0.0.1", port))
else:
    so_error(s)
s.setblocking(True)
attempt("send", s.send, b"ping\n")
attempt("recv", s.recv, 100)
