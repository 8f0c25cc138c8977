"""All measures, in the order in which they run."""

from measures_process import Crowd, Start, StartToFirst
from measures_programs import Nginx, Postgresql, Redis
from measures_transfer import MB, Bulk, First, Handshakes, Request, Resumed, Tiny


def all_measures():
    """By key."""
    everything = [
        Bulk(1024, 100 * MB),
        Bulk(16 * 1024, 400 * MB),
        Bulk(128 * 1024, 400 * MB),
        Request(1),
        Request(128),
        Request(1024),
        Tiny(),
        Redis(1, 3, 120000),
        Redis(16, 3, 600000),
        Redis(1, 64 * 1024, 12000),
        Nginx(),
        Postgresql(),
        Handshakes("ed25519", ("p2ptls", "gnutls", "openssl", "stunnel", "spiped", "socat", "haproxy")),
        Handshakes("p256", ("p2ptls", "gnutls", "openssl")),
        Resumed("ed25519"),
        Resumed("p256"),
        First(),
        Start(),
        StartToFirst(),
        Crowd(),
    ]
    return {measure.key: measure for measure in everything}
