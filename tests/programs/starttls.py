"""The same protocol as starttls.c, in Python: the options of p2ptls.h reach every language that has setsockopt.

usage: starttls.py listen|dial PORT [OPTIONS]
"""
import os
import socket
import sys

SOL_P2PTLS = 0x7032
STARTTLS, STATE, PEER, ROLE, CIPHER, EXPORTER_LABEL, EXPORTER = range(1, 8)


def opened(how, port):
    if how == "dial":
        return socket.create_connection(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("port", listener.getsockname()[1], flush=True)
        return listener.accept()[0]


def hear(s):
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: what follows the line belongs to TLS
        byte = s.recv(1)
        if not byte:
            raise ConnectionError("the stream ended")
        line += byte
    return line.decode().rstrip("\n")


def main():
    how, port = sys.argv[1], int(sys.argv[2])
    options = sys.argv[3] if len(sys.argv) > 3 else ""
    s = opened(how, port)
    other = s.dup()  # another number of the same socket, made before TLS: it goes on in TLS as well
    s.sendall(b"HELLO in clear\n")
    print("heard", hear(s))
    try:
        word = "connect" if how == "dial" else "accept"
        s.setsockopt(SOL_P2PTLS, STARTTLS, f"{word} {options}".encode())
        other.sendall(b"SECRET of the dialling side\n" if how == "dial" else b"SECRET of the listening side\n")
        print("heard", hear(s))
    except OSError as e:
        print("refused:", os.strerror(e.errno) if e.errno else e, flush=True)
        sys.exit(3)
    for name, option in (("role", ROLE), ("cipher", CIPHER), ("peer", PEER)):
        print(name, s.getsockopt(SOL_P2PTLS, option, 256).decode())
    s.setsockopt(SOL_P2PTLS, EXPORTER_LABEL, b"EXPORTER-starttls-example\0with a context")
    print("exporter", s.getsockopt(SOL_P2PTLS, EXPORTER, 32).hex())
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b"", "the stream did not end in order"


main()
