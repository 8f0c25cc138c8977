"""A TLS client on OpenSSL that says all it has to say, sends close_notify and FIN, and only then reads.

half_close.py PORT TEXT CERT KEY CA: prints how many bytes came before the other side's close_notify.
"""
import socket
import ssl
import sys

port, text, cert, key, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(cert, key)
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname="server.test")
wire = socket.create_connection(("127.0.0.1", int(port)), timeout=60)


def flush():
    if outgoing.pending:
        wire.sendall(outgoing.read())


def advance(operation):
    """Runs an operation of the TLS object, with what it needs of the wire."""
    while True:
        try:
            result = operation()
            flush()
            return result
        except ssl.SSLWantReadError:
            flush()
            data = wire.recv(65536)
            incoming.write(data) if data else incoming.write_eof()


advance(tls.do_handshake)
advance(lambda: tls.write(text.encode()))
try:
    tls.unwrap()
except ssl.SSLWantReadError:
    pass
flush()
wire.shutdown(socket.SHUT_WR)
received = 0
try:
    while True:
        received += len(advance(lambda: tls.read(65536)))
except ssl.SSLZeroReturnError:
    print(f"received {received}, then close_notify")
