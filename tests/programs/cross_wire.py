"""An attacker who answers two programs that dial out, and wires their connections together.

    cross_wire.py      prints `ports FIRST SECOND`, takes one connection on each, and ends when both have ended
"""
import contextlib
import socket
import threading

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print("ports", *(each.getsockname()[1] for each in listeners), flush=True)
sides = [each.accept()[0] for each in listeners]


def forward(one, other):
    with contextlib.suppress(OSError):  # one of them has gone
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


thread = threading.Thread(target=forward, args=sides)
thread.start()
forward(*reversed(sides))
thread.join()
