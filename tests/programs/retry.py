"""One socket, two addresses: what connect(2) says of the first attempt, and where the second one goes.

    retry.py deny    the first is refused, and the policy forbids the second
    retry.py plain   the first is refused, and the second is not selected
    retry.py other   the first is refused, and the second has a rule of its own
    retry.py asked   the same, and SO_ERROR has told of the refusal before connect does
    retry.py taken   the first is not selected and up, and the program asks how it went with a selected address
    retry.py queued  the same while the first is still under way

127.0.0.2 and 127.0.0.5 are selected, each with its own alpn=; 127.0.0.3 is forbidden; 127.0.0.4 is not selected. With
a second argument, under the library; without it, on plain TCP.
"""
import errno
import select
import socket
import sys

DEADLINE = 60
protected = len(sys.argv) > 2


def attempt(s, address):
    return errno.errorcode.get(s.connect_ex(address), "OK")


def settled(s):
    assert select.select([], [s], [], DEADLINE)[1], "no end of the attempt"


def after_refusal(second, asks):
    """A socket whose first attempt was refused, and what connect to a listener at second says then."""
    nobody = socket.socket()  # holds the port, and does not listen
    nobody.bind(("127.0.0.2", 0))
    listener = socket.create_server((second, 0))
    s = socket.socket()
    s.setblocking(False)
    assert attempt(s, nobody.getsockname()) in ("EINPROGRESS", "ECONNREFUSED")
    settled(s)
    if asks:
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED)
    told = attempt(s, listener.getsockname())
    assert told in ("ECONNREFUSED", "ECONNABORTED", "EACCES" if protected else "OK"), told
    result = attempt(s, listener.getsockname())
    return s, listener, result


def talk(s, listener, *accepted):
    settled(s)
    listener.settimeout(DEADLINE)
    others = {peer: other for other, peer in accepted}
    while s.getsockname() not in others:
        other, peer = listener.accept()
        others[peer] = other
    other = others[s.getsockname()]
    s.setblocking(True)
    s.settimeout(DEADLINE)
    s.sendall(b"hello")
    other.settimeout(DEADLINE)
    got = other.recv(100)
    assert got == b"hello", got


def refused(second, asks=False):
    s, listener, result = after_refusal(second, asks)
    if second == "127.0.0.3" and protected:
        assert result == "EACCES", result
        return
    assert result in ("EINPROGRESS", "OK"), result
    talk(s, listener)


def taken(queued):
    selected = socket.create_server(("127.0.0.2", 0))
    listener = socket.create_server(("127.0.0.4", 0), backlog=0)
    s = socket.socket()
    s.setblocking(False)
    if queued:  # a SYN for which the queue has no room is dropped, and comes again after a second
        filler = socket.socket()
        filler.setblocking(False)
        attempt(filler, listener.getsockname())
    assert attempt(s, listener.getsockname()) == "EINPROGRESS"
    if queued:
        told = attempt(s, selected.getsockname())
        assert told == "EALREADY", told
        listener.settimeout(DEADLINE)
        early = listener.accept()  # makes room
    settled(s)
    told = attempt(s, selected.getsockname())
    assert told in ("OK", "EISCONN"), told
    assert attempt(s, selected.getsockname()) == "EISCONN"
    assert s.getpeername()[0] == "127.0.0.4"
    talk(s, listener, *([early] if queued else []))


match sys.argv[1]:
    case "deny":
        refused("127.0.0.3")
    case "plain":
        refused("127.0.0.4")
    case "other":
        refused("127.0.0.5")
    case "asked":
        refused("127.0.0.5", asks=True)
    case "taken":
        taken(queued=False)
    case "queued":
        taken(queued=True)
