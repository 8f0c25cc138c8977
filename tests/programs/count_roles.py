"""Reads a tcpdump file of loopback on standard input and tells which side answered as TLS server, connection by connection.

count_roles.py PORT: prints `connections N, acceptor client N, acceptor server N, both N, neither N`. The server is the
side that sends a ServerHello (RFC 8446 section 4): handshake type 2 at the beginning of a record. A HelloRetryRequest
has the same type and comes from the same side.
"""
import struct
import sys


def packets(data):
    """The IPv4 TCP packets of a pcap file of Ethernet frames: ports, sequence number, payload."""
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    at = 24
    while at < len(data):
        length = struct.unpack(order + "4I", data[at:at + 16])[2]
        frame = data[at + 16:at + 16 + length]
        at += 16 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:14 + struct.unpack(">H", frame[16:18])[0]]
        tcp = ip[(ip[0] & 15) * 4:]
        source, target, sequence = struct.unpack(">HHI", tcp[:8])
        yield source, target, sequence, tcp[(tcp[12] >> 4) * 4:], tcp[13] & 2


def says_server_hello(stream):
    at = 0
    while at + 6 <= len(stream):
        if stream[at] == 22 and stream[at + 5] == 2:
            return True
        at += 5 + struct.unpack(">H", stream[at + 3:at + 5])[0]
    return False


port = int(sys.argv[1])
counts = dict.fromkeys(["acceptor client", "acceptor server", "both", "neither"], 0)
streams, starts = {}, {}


def finish(other):
    """Counts the connection from a port, which a later one may use again."""
    acceptor = says_server_hello(streams.pop((port, other), b""))
    connector = says_server_hello(streams.pop((other, port)))
    names = {(True, False): "acceptor server", (False, True): "acceptor client", (True, True): "both"}
    counts[names.get((acceptor, connector), "neither")] += 1


for source, target, sequence, payload, syn in packets(sys.stdin.buffer.read()):
    if syn:
        if target == port and (source, target) in streams:
            finish(source)
        starts[source, target] = (sequence + 1) % 2**32
        streams[source, target] = bytearray()
    elif payload and (source, target) in streams:
        at = (sequence - starts[source, target]) % 2**32
        if at < 2**20:
            stream = streams[source, target]
            stream.extend(bytes(max(0, at + len(payload) - len(stream))))
            stream[at:at + len(payload)] = payload
for other in [source for source, target in streams if target == port]:
    finish(other)
print(f"connections {sum(counts.values())}, " + ", ".join(f"{name} {n}" for name, n in counts.items()))
