"""Defects found by running other people's programs, each as a few lines that also run on plain TCP.

    regressions.py superserver     the program that a superserver starts has its connection on 0 and 1
    regressions.py lost-errno      what was kept until after the handshake cannot be sent: the next write says why
    regressions.py sendfile-offset a negative offset is EINVAL, whatever errno was
    regressions.py cloned-groups   a child made by the system call clone changes its groups, as vsftpd's does
"""
import ctypes
import errno
import os
import socket
import struct
import sys
import tempfile
import threading
import time

DEADLINE = 60
LINGER_0 = struct.pack("ii", 1, 0)


def pair(**sizes):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.socket()
    for name, size in sizes.items():
        client.setsockopt(socket.SOL_SOCKET, getattr(socket, name), size)
    client.connect(listener.getsockname())
    return client, listener.accept()[0]


def superserver():
    client, server = pair()
    client.settimeout(DEADLINE)
    child = os.fork()
    if not child:
        client.close()
        os.dup2(server.fileno(), 0)
        os.dup2(server.fileno(), 1)
        server.close()
        echo = "import os; os.write(1, b'got ' + os.read(0, 100))"
        os.execv(sys.executable, [sys.executable, "-c", echo])
    server.close()
    client.sendall(b"hello")
    answer = b""
    while data := client.recv(100):
        answer += data
    assert answer == b"got hello", answer
    assert os.waitpid(child, 0)[1] == 0


def lost_errno():
    client, server = pair(SO_SNDBUF=4096)
    client.setblocking(False)
    client.send(b"x" * 200000)  # more than the kernel takes: under the library, kept
    server.recv(1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    server.close()
    end = time.monotonic() + DEADLINE
    while True:
        try:
            client.send(b"y" * 1000)
        except BlockingIOError:
            assert time.monotonic() < end, "no error"
        except OSError as error:
            assert error.errno in (errno.ECONNRESET, errno.EPIPE), error
            return


def sendfile_offset():
    client, server = pair()
    client.sendall(b"x")
    server.recv(1)
    with tempfile.TemporaryFile() as file:
        file.write(b"z" * 1000)
        file.flush()
        try:
            os.sendfile(client.fileno(), file.fileno(), -1, 100)
            raise AssertionError("a negative offset was taken")
        except OSError as error:
            assert error.errno == errno.EINVAL, error
        assert os.sendfile(client.fileno(), file.fileno(), 10, 100) == 100


def wait_until(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"gave up waiting until {what}")
        time.sleep(0.01)


def cloned_groups():
    libc = ctypes.CDLL(None)
    sys_clone, sigchld = {"x86_64": 56}.get(os.uname().machine, 220), 17
    listener = socket.create_server(("127.0.0.1", 0))
    for _ in range(20):
        # The connection comes from elsewhere, so that accept is the first to need a thread; it is just being made then.
        caller = os.fork()
        if caller == 0:
            socket.create_connection(listener.getsockname()).recv(1)
            os._exit(0)
        connection = listener.accept()[0]
        child = libc.syscall(sys_clone, sigchld, 0, 0, 0, 0)
        if child == 0:
            libc.setgroups(0, None)  # libc makes all threads follow, and waits for them
            os._exit(0)
        wait_until(lambda: os.waitpid(child, os.WNOHANG) != (0, 0), "a child has changed its groups")
        connection.close()
        os.waitpid(caller, 0)
        wait_until(lambda: len(os.listdir("/proc/self/task")) == 1, "no thread is left")


def outcome(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return error.errno


def reset_in_handshake():  # of a peer that is not protected
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    reset = threading.Timer(0.2, server.close)  # the reader is likely to wait by then
    reset.start()
    assert outcome(client.recv, 1) == errno.ECONNRESET
    assert outcome(client.recv, 1) in (b"", errno.ECONNRESET)
    assert outcome(client.send, b"x") == errno.EPIPE
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    reset.join()


def shut_in_handshake():  # with a peer that is silent
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    got = []
    reader = threading.Thread(target=lambda: got.append(outcome(client.recv, 1)), daemon=True)
    reader.start()
    time.sleep(0.2)  # the reader is likely to wait by then; all holds if it does not
    client.shutdown(socket.SHUT_RDWR)
    assert outcome(client.recv, 1) == b""
    reader.join(DEADLINE)
    assert got == [b""], got
    assert outcome(client.recv, 1) == b""
    assert outcome(client.send, b"x") == errno.EPIPE
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    server.settimeout(DEADLINE)
    while server.recv(1000):  # under the library, a ClientHello
        pass


globals()[sys.argv[1].replace("-", "_")]()
