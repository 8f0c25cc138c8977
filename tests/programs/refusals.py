"""Ways past the library: each call must fail with the errno given, and nothing of it may reach the other end.

    refusals.py protected   under the library: every way is refused, and the connection goes on
    refusals.py plain       on plain TCP: every way works, which shows that the test tries what it says
"""
import array
import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading

MARK = b"PLAINTEXT-MARK"
libc = ctypes.CDLL(None, use_errno=True)
protected = sys.argv[1] == "protected"
failures = []


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]


def checked(number):
    if number < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return number


def shared_before_connect(client):
    listener = socket.create_server(("127.0.0.1", 0))
    fresh = socket.socket()
    go, goes = os.pipe()
    child = os.fork()
    if not child:
        os.read(go, 1)
        try:
            fresh.send(MARK)
        except OSError as e:
            os._exit(e.errno)
        os._exit(0)
    fresh.connect(listener.getsockname())
    other = listener.accept()[0]
    fresh.sendall(b"x")
    other.recv(1)
    os.write(goes, b"x")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def urgent(client):
    client.send(MARK, socket.MSG_OOB)


def beside_a_thread(call):
    stop = threading.Event()
    beside = threading.Thread(target=stop.wait)
    beside.start()
    try:
        checked(call())
    finally:
        stop.set()
        beside.join()


def unshared(client):
    beside_a_thread(lambda: libc.unshare(0x400))  # CLONE_FILES


def closed_unshared(client):
    beside_a_thread(lambda: libc.close_range(1000000, 1000001, 2))  # CLOSE_RANGE_UNSHARE


WAYS = {
    unshared: errno.EINVAL,
    closed_unshared: errno.EINVAL,
    shared_before_connect: errno.EIO,
    urgent: errno.EOPNOTSUPP,
}


def try_way(way, expected):
    client, server = pair()
    client.sendall(b"before")
    server.recv(6, socket.MSG_WAITALL)
    got = 0
    try:
        way(client)
    except OSError as e:
        got = e.errno
    want = expected if protected else 0
    if got != want:
        failures.append(f"{way.__name__}: errno {got}, expected {want}")
    if not protected:
        return
    client.sendall(b"after")
    rest = server.recv(100)
    if rest != b"after":
        failures.append(f"{way.__name__}: the other end read {rest!r}")


for each, error in WAYS.items():
    try_way(each, error)
print("\n".join(failures))
sys.exit(bool(failures))
