"""What a measure is, and those that are made with the transfer programs.

A measure opens each contender once (server, proxies), proves what its wire shows, and then takes one sample of each in
every round. Values of a sample have the names that the tables use: cpu_* is CPU time of all processes involved.
"""

import json

from processes import CallCounter, Failed, cpu_ns

MARKER = b"p2ptls benchmark payload, in clear on purpose; "  # transfer.h has it, too


class Column:
    """A value of a measure: how it is called, and printed."""

    def __init__(self, value, label, digits=2, more_is_better=False):
        self.value, self.label, self.digits, self.more_is_better = value, label, digits, more_is_better


class Opened:
    """A contender that is ready to be measured."""

    def __init__(self, contender, scope, keys):
        self.contender, self.scope, self.keys = contender, scope, keys
        self.server_pids = lambda: []
        self.wire_port = self.port = None  # to dial from over there, and for the client


class Measure:
    key = title = ""
    contenders = ("plain", "p2ptls", "gnutls", "openssl", "stunnel", "spiped", "socat", "haproxy")
    keys = "ed25519"
    rounds = 5
    rounds_quick = 1
    share = 1  # of the time that a run may take; another round begins only within it
    columns = ()
    note = ""  # below its table
    counted = None  # system calls are counted for each …; None: they are not counted
    counted_units = 1  # how many of these a count is made over

    def variants(self, bench):
        """The contenders, in the order of the table."""
        return [bench.contenders[key] for key in self.contenders if key in bench.contenders]

    def open(self, bench, contender, scope):
        opened = Opened(contender, scope, bench.keys(self.keys))
        server_port = self.serve(bench, opened)
        opened.wire_port = contender.far(scope, opened.keys, server_port)
        opened.port = contender.near(scope, opened.keys, opened.wire_port)
        self.check_wire(bench, opened)
        return opened

    def check_wire(self, bench, opened):
        """Bytes go once over a wire that is recorded: they must be there to read in clear, or not at all."""
        record = opened.scope.path("wire")
        argv = [bench.program("relay"), "--to", str(opened.wire_port), "--record", record]
        relay = opened.scope.start(argv, talks=True)
        already = len(opened.scope.processes)
        port = opened.contender.near(opened.scope, opened.keys, relay.port())
        self.speak(bench, opened, port)
        for process in opened.scope.processes[already:] + [relay]:
            opened.scope.stop(process)
        with open(record, "rb") as recorded:
            wire = recorded.read()
        if len(wire) < len(MARKER):
            raise Failed("nothing went over the recorded wire")
        if (MARKER in wire) != opened.contender.clear:
            raise Failed("what was sent is " + ("not " if opened.contender.clear else "") + "on the wire in clear")

    def counts_calls_of(self, contender):
        return contender.program is not None

    def serve(self, bench, opened):
        """Starts the server; its port."""
        raise NotImplementedError

    def speak(self, bench, opened, port):
        """Sends the marker to port once, as a client."""
        raise NotImplementedError

    def sample(self, bench, opened):
        """{value: number}"""
        raise NotImplementedError

    def calls(self, bench, opened):
        """{"client": {call: number}, "server": …, "all": with proxies}, each divided by what `counted` says."""
        raise NotImplementedError


class Transfer(Measure):
    """With our own programs: server and client of the contender's variant."""

    command = ()
    counted_command = ()
    server_command = ("serve", "--threads", "8")

    def argv(self, bench, opened, name, words):
        program = bench.program(f"transfer-{opened.contender.program}")
        return [program, *map(str, words), *opened.contender.identity(opened.keys, name)]

    def serve(self, bench, opened):
        argv = self.argv(bench, opened, "server", self.server_command)
        server = opened.scope.start(argv, talks=True, env=opened.contender.server_env(opened.keys))
        opened.server_pids = lambda: [server.pid]
        return server.port()

    def client(self, bench, opened, words, port=None):
        argv = self.argv(bench, opened, "client", [*words, "--gated", "--port", port or opened.port])
        return opened.scope.start(argv, talks=True, env=opened.contender.client_env(opened.keys))

    def finish(self, opened, client):
        client.go_on()
        if client.child.wait() != 0:
            raise Failed(f"the client ended with status {client.child.returncode}: {client.last_words()}")
        opened.scope.stop(client)

    def speak(self, bench, opened, port):
        client = self.client(bench, opened, ("request", "--size", 1000, "--count", 1), port)
        expect(client, "begin")
        client.go_on()
        client.line()
        self.finish(opened, client)

    def gated(self, bench, opened, words):
        """Runs a client: what it says in the end, with cpu_ns of all processes in between."""
        client = self.client(bench, opened, words)
        expect(client, "begin")
        before = cpu_ns(opened.scope.pids())
        client.go_on()
        said = json.loads(client.line())
        said["cpu_ns"] = cpu_ns(opened.scope.pids()) - before
        self.finish(opened, client)
        return said

    def calls(self, bench, opened):
        client = self.client(bench, opened, self.counted_command)
        expect(client, "begin")
        counter = CallCounter(opened.scope.pids(), opened.scope.path("strace"))
        client.go_on()
        client.line()
        calls = counter.finish()
        self.finish(opened, client)
        sides = {"client": calls.of([client.pid]), "server": calls.of(opened.server_pids()), "all": calls.of()}
        return per_unit(sides, self.counted_units)


def per_unit(sides, units):
    return {side: {name: number / units for name, number in calls.items()} for side, calls in sides.items()}


def expect(process, line):
    said = process.line()
    if said != line:
        raise Failed(f"{process.name} said '{said}' instead of '{line}'")
