"""Measures with our own programs over few connections: bulk, requests, small reads, handshakes, first answers."""

import json

from contenders import Contender, P2ptls
from measure import Column, Transfer
from processes import run

MB = 10**6


class Aead(Contender):
    """The cipher itself, as GnuTLS has it, in memory: what no protocol over it can be below."""

    key, title, program = "aead", "AES-128-GCM alone (seal, open)", None


class Bulk(Transfer):
    columns = (
        Column("cpu_s_per_gb", "CPU s/GB, all processes"),
        Column("gb_per_s", "GB/s", more_is_better=True),
    )
    counted = "MB"

    def __init__(self, size, total):
        kib = size // 1024
        self.key, self.title = f"bulk-{kib}k", f"One stream, writes of {kib} KiB"
        self.size, self.total = size, total
        self.counted_units = 2 if size == 1024 else 10
        self.counted_command = ("bulk", "--size", size, "--total", self.counted_units * MB)

    def variants(self, bench):
        return super().variants(bench) + [Aead(bench)]

    def open(self, bench, contender, scope):
        return super().open(bench, contender, scope) if contender.program else None

    def sample(self, bench, opened):
        total = bench.scaled(self.total)
        if opened is None:
            said = json.loads(run([bench.program("aead"), str(total), str(min(self.size, 16384))]))
            return {"cpu_s_per_gb": said["seal_s_per_gb"] + said["open_s_per_gb"]}
        words = ("bulk", "--size", self.size, "--total", total, "--warm-up", total // 10)
        said = self.gated(bench, opened, words)
        return {"cpu_s_per_gb": said["cpu_ns"] / total, "gb_per_s": total / said["wall_ns"]}


class Request(Transfer):
    columns = (
        Column("median_us", "round trip, median µs", 1),
        Column("p99_us", "99 of 100 within µs", 1),
        Column("cpu_us", "CPU µs of all processes", 1),
    )
    counted = "request"
    share = 0.6

    def __init__(self, size):
        self.key, self.title = f"request-{size}", f"Request and response of {size} bytes, one connection"
        self.size = size
        self.counted_units = 200
        self.counted_command = ("request", "--size", size, "--count", self.counted_units)

    def sample(self, bench, opened):
        count = bench.scaled(6000)
        said = self.gated(bench, opened, ("request", "--size", self.size, "--count", count, "--warm-up", count // 10))
        return {
            "median_us": said["median_ns"] / 1000,
            "p99_us": said["p99_ns"] / 1000,
            "cpu_us": said["cpu_ns"] / 1000 / count,
        }


class Tiny(Transfer):
    """Proxies are left out: their reader is a plain one."""

    key, title = "tiny", "Reads of 1 to 100 bytes of what came in writes of 16 KiB"
    contenders = ("plain", "p2ptls", "gnutls", "openssl")
    columns = (Column("cpu_s_per_gb", "CPU s/GB, both ends"),)
    share = 0.2
    counted = "MB"
    counted_units = 2
    counted_command = ("tiny", "--total", 2 * MB)

    def sample(self, bench, opened):
        total = bench.scaled(50 * MB)
        return {"cpu_s_per_gb": self.gated(bench, opened, ("tiny", "--total", total))["cpu_ns"] / total}


class Handshakes(Transfer):
    """Connections of one byte there and back. Four client threads, so that both processors have work."""

    columns = (
        Column("per_s", "connections/s", 0, more_is_better=True),
        Column("cpu_ms", "CPU ms for each, all processes", 3),
    )
    full = True
    counted = "connection"
    counted_units = 100
    counted_command = ("handshakes", "--count", 100, "--threads", 4, "--warm-up", 8)

    def __init__(self, keys, contenders):
        names = {"ed25519": "Ed25519", "p256": "P-256"}
        self.key, self.title = f"handshakes-{keys}", f"Full handshakes, {names[keys]} certificates on both sides"
        self.keys, self.contenders = keys, contenders

    def counts_calls_of(self, contender):
        """Some proxies have processes that live for one connection, too short to attach to."""
        return contender.key in ("p2ptls", "gnutls", "openssl")

    def variants(self, bench):
        options = bench.resume_off if self.full else bench.resume_on
        return [
            P2ptls(bench, options, options) if contender.key == "p2ptls" else contender
            for contender in super().variants(bench)
        ]

    def sample(self, bench, opened):
        count = max(4, bench.scaled(600) // 4 * 4)
        said = self.gated(bench, opened, ("handshakes", "--count", count, "--threads", 4, "--warm-up", 8))
        return {"per_s": count * 1e9 / said["wall_ns"], "cpu_ms": said["cpu_ns"] / 1e6 / count}


class Resumed(Handshakes):
    """Whether anything is resumed, the log says: in a run of its own, which is not timed, of connections one after the
    other. The first ticket comes once the connecting side is TLS client, which is left to chance; from then on all are
    resumed. So fewer than two of sixteen are once in 16,000 runs, of eight it would be once in 64. Of more than twenty
    the log would leave lines out."""

    full = False
    share = 0.2

    def __init__(self, keys):
        super().__init__(keys, ("p2ptls",))
        self.key, self.title = f"resumed-{keys}", self.title.replace("Full handshakes", "Resumed handshakes")

    def open(self, bench, contender, scope):
        opened = super().open(bench, contender, scope)
        log = scope.path("handshakes.log")
        words = ("first", "--count", 16, "--port", opened.port)
        env = {**contender.client_env(opened.keys), "P2PTLS_LOG": f"info:{log}"}
        run(self.argv(bench, opened, "client", words), env=env)
        with open(log) as lines:
            opened.resumes = sum("resumed=yes" in line for line in lines) >= 2
        return opened

    def sample(self, bench, opened):
        return {**super().sample(bench, opened), "resumes": int(opened.resumes)}


class First(Transfer):
    """From connect to the first answered byte over a wire of 10 ms each way."""

    DELAY_MS = 10
    columns = (
        Column("round_trips", "round trips", 1),
        Column("median_ms", "ms, median", 1),
        Column("most_ms", "ms, longest", 1),
    )
    rounds = 3

    key, title = "first", "From connect to the first answered byte, 10 ms each way"

    def variants(self, bench):
        """p2ptls twice: with the role of the connecting side that chance would give."""
        found = []
        for contender in super().variants(bench):
            if contender.key != "p2ptls":
                found.append(contender)
                continue
            for mine, other in (("client", "server"), ("server", "client")):
                options = (f"{bench.resume_off} prefer={mine}", f"{bench.resume_off} prefer={other}")
                variant = P2ptls(bench, *options)
                variant.key, variant.title = f"p2ptls-{mine}", f"p2ptls, the connecting side is TLS {mine}"
                found.append(variant)
        return found

    def open(self, bench, contender, scope):
        opened = super().open(bench, contender, scope)
        argv = [bench.program("relay"), "--to", str(opened.wire_port), "--delay", str(self.DELAY_MS)]
        relay = scope.start(argv, talks=True)
        opened.port = contender.near(scope, opened.keys, relay.port())
        return opened

    def sample(self, bench, opened):
        said = self.gated(bench, opened, ("first", "--count", max(3, bench.scaled(10)), "--warm-up", 1))
        median = said["median_ns"] / 1e6
        return {
            "round_trips": int(median / self.DELAY_MS) / 2,  # a flight is half of one
            "median_ms": median,
            "most_ms": said["most_ns"] / 1e6,
        }

