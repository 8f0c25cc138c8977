"""Measures of whole processes: their start, and the memory and time of many connections in one."""

import json

from contenders import Contender
from measure import Column, Measure, Transfer
from processes import Failed, cpu_ns, pss_bytes, run


class Start(Measure):
    """The same program without and with the library, in turns."""

    key, title = "start", "Start of a program that selects nothing (true)"
    contenders = ("p2ptls",)
    share = 0.3
    columns = (
        Column("plain_ms", "ms without", 3),
        Column("protected_ms", "ms with", 3),
        Column("added_ms", "ms more", 3),
        Column("added_cpu_ms", "CPU ms more", 3),
    )
    count = 400

    def open(self, bench, contender, scope):
        return assignments(contender.client_env(bench.keys(self.keys)))

    def commands(self, bench, opened):
        return ["true", "--", *opened, "true"]

    def sample(self, bench, opened):
        said = json.loads(run([bench.program("spawn"), str(bench.scaled(self.count)), *self.commands(bench, opened)]))
        return {
            "plain_ms": said["first_ns"] / 1e6,
            "protected_ms": said["second_ns"] / 1e6,
            "added_ms": said["added_ns"] / 1e6,
            "added_cpu_ms": said["added_cpu_ns"] / 1e6,
        }


class StartToFirst(Start):
    """A program that connects, has one byte answered, and ends; its server runs already."""

    key, title = "start-first", "Start, first connection with a private CA, one byte answered, end; beside plain TCP"
    contenders = ("p2ptls", "gnutls", "openssl")
    count = 60

    def open(self, bench, contender, scope):
        """The command line of both: without anything, and of the contender."""
        words = []
        for side in (bench.contenders.get("plain", Contender(bench)), contender):
            program, keys = bench.program(f"transfer-{side.program}"), bench.keys(self.keys)
            argv = [program, "serve", "--threads", "4", *side.identity(keys, "server")]
            port = scope.start(argv, talks=True, env=side.server_env(keys)).port()
            words += ["--", *assignments(side.client_env(keys)), program, "first", "--port", str(port)]
            words += side.identity(keys, "client")
        return words[1:]

    def commands(self, bench, opened):
        return opened


def assignments(env):
    return [f"{name}={value}" for name, value in env.items()]


class Crowd(Transfer):
    """Idle connections, then 100 of them at work; in one process on each side, with epoll.

    Memory is what processes have more than with one connection, for each further one.
    """

    key, title = "crowd", "Many connections: memory of an idle one, CPU of a request over 100 of them"
    steps = (1, 100, 1000, 10000)
    server_command = ("serve-crowd",)
    rounds = 2
    share = 3
    most = {"socat": 100, "stunnel": 100, "spiped": 100, "haproxy": 1000, "gnutls": 1000, "openssl": 1000}  # of 10,000
    proxies = ("socat", "stunnel", "spiped", "haproxy")  # fewer requests of these, which are slow
    columns = (
        Column("kib_100", "KiB each, 100 idle, all processes", 1),
        Column("kib_1000", "1,000 idle", 1),
        Column("kib_10000", "10,000 idle", 1),
        Column("kib_10000_client", "of the client", 1),
        Column("cpu_us_100", "CPU µs/request, 100 open", 1),
        Column("cpu_us_10000", "CPU µs/request, 10,000 open", 1),
    )

    def open(self, bench, contender, scope):
        """Only the check of the wire; each sample has processes of its own, since memory that was freed stays."""
        opened = super().open(bench, contender, scope)
        self.stop_all(scope)
        return opened

    def stop_all(self, scope):
        while scope.processes:
            scope.stop(scope.processes[-1])

    def speak(self, bench, opened, port):
        client = self.client(bench, opened, ("crowd", "--steps", 1, "--count", 1), port)
        self.step(opened, client, 1)
        opened.scope.stop(client)

    def step(self, opened, client, connections):
        """Memory while they are idle, then CPU time of the requests."""
        said = client.line()
        if said != f"idle {connections}":
            raise Failed(f"{client.name} said '{said}' instead of 'idle {connections}'")
        server, everyone = opened.server_pids(), opened.scope.pids()
        memory = {
            "": sum(map(pss_bytes, everyone)),
            "_client": pss_bytes(client.pid),
            "_server": sum(map(pss_bytes, server)),
        }
        before = cpu_ns(opened.scope.pids())
        client.go_on()
        done = json.loads(client.line())
        return memory, (cpu_ns(opened.scope.pids()) - before) / done["requests"]

    def requests(self, bench, contender):
        return bench.scaled(5000 if contender.key in self.proxies else 50000)

    def sample(self, bench, opened):
        contender = opened.contender
        opened.port = contender.near(
            opened.scope, opened.keys, contender.far(opened.scope, opened.keys, self.serve(bench, opened))
        )
        most = min(self.most.get(contender.key, self.steps[-1]), bench.crowd_most)
        steps = [step for step in self.steps if step <= most]
        words = ("crowd", "--steps", ",".join(map(str, steps)), "--count", self.requests(bench, contender))
        client = self.client(bench, opened, words)
        values = {}
        for step in steps:
            memory, cpu = self.step(opened, client, step)
            if step == 1:
                base = memory
            else:
                for side, pss in memory.items():
                    values[f"kib_{step}{side}"] = (pss - base[side]) / (step - 1) / 1024
                values[f"cpu_us_{step}"] = cpu / 1000
            client.go_on()
        self.stop_all(opened.scope)
        return values
