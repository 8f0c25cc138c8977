"""Dials a name under dane=on while the resolver is slow, and looks for traces of the look-up in its own process.

    dane_guest.py NAME PORT
"""
import os
import select
import signal
import socket
import sys
import time

DEADLINE = 60
signals = []


def wait_for(what, look):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.005)
    sys.exit(f"gave up waiting for {what}")


def status(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def children():
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if status(pid).get("PPid") == str(os.getpid())]


def asking(uid):
    """The process that asks, if it does so with that user id."""
    found = [pid for pid in children() if status(pid).get("Name") == "p2ptls-dns"]
    return found[0] if found and status(found[0]).get("Uid", "").split()[:2] == ["0", str(uid)] else None


def descriptors(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd") if os.path.exists(f"/proc/{pid}") else []:
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0])
        except OSError:  # that of the folder itself
            pass
    return found


def no_children():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return "none"


def main():
    signal.signal(signal.SIGCHLD, lambda *_: signals.append("SIGCHLD"))
    address = socket.getaddrinfo(sys.argv[1], sys.argv[2], proto=socket.IPPROTO_TCP)[0][4]
    s = socket.socket()
    s.setblocking(False)
    began = time.monotonic()
    assert s.connect_ex(address) in (0, 115)
    select.select([], [s], [], DEADLINE)
    s.send(b"hello\n")
    print("connect and send did not wait:", time.monotonic() - began < 1)
    first = wait_for("the process that asks", lambda: asking(0))
    wait_for("its socket, the only thing that it holds", lambda: descriptors(first) == ["socket"])
    print("sockets of the program:", descriptors(os.getpid()).count("socket"))
    print("children to wait for:", no_children())
    pid = os.fork()
    if pid == 0:
        os._exit(7 if not children() else 8)
    print("its own child:", os.wait() == (pid, 7 << 8), signals)
    os.seteuid(65534)
    print("gone with the privileges:", not os.path.exists(f"/proc/{first}"))
    wait_for("the process that asks anew", lambda: asking(65534))
    os.seteuid(0)
    s.settimeout(DEADLINE)
    print(s.recv(100).decode().strip())
    print("left over:", wait_for("the end of children", lambda: not children() and "nothing"), no_children(), signals)


main()
