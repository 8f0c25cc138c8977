"""The marks: what p2ptls is to reach, as ratios (or differences) of one run, judged by the median over its rounds; of
several runs, by the median over them."""

import statistics


class Mark:
    """found: the number, or None. verdict: met, missed, or why there is none."""

    def __init__(self, what, limit, found, at_most=True, unit="times", digits=2, strict=False):
        words = ("less than" if strict else "at most") if at_most else ("more than" if strict else "at least")
        self.what, self.limit, self.at_most, self.strict, self.digits = what, limit, at_most, strict, digits
        self.wanted = f"{words} {limit:g} {unit}"
        self.runs = []  # what each of several runs has found
        self.find(found)

    def find(self, found, why="not measured"):
        self.found = found
        if found is None:
            self.verdict = why
            return
        better = found < self.limit if self.at_most else found > self.limit
        self.verdict = "met" if better or (found == self.limit and not self.strict) else "missed"

    def text(self, number):
        return "-" if number is None else f"{number:.{self.digits}f}"


def over_runs(runs):
    """The marks of several runs of the same measures as one list: medians; a run without a number leaves none."""
    combined = []
    for marks in zip(*runs):
        mark, found = marks[-1], [each.found for each in marks]
        mark.runs = found
        without = [each.verdict for each in marks if each.found is None]
        mark.find(None if without else statistics.median(found), *without[:1])
        combined.append(mark)
    return combined


class Judge:
    def __init__(self, results):
        self.results = results
        self.measures = {measure.key for measure in results.measures}
        self.marks = []

    def add(self, measure, what, limit, found, at_most=True, unit="times", digits=2, strict=False):
        """found: the number, or None where something was not measured. Of measures that were not asked for: nothing."""
        if measure not in self.measures:
            return
        self.marks.append(Mark(what, limit, found, at_most, unit, digits, strict))

    def paired(self, measure, formula, *columns):
        """Median over the rounds of formula(a, b, …); a column is (contender, value)."""
        rows = zip(*(self.results.values(measure, contender, value) for contender, value in columns))
        found = [formula(*row) for row in rows if None not in row]
        return statistics.median(found) if found else None

    def ratio(self, measure, value, other, mine="p2ptls"):
        return self.paired(measure, lambda a, b: a / b, (mine, value), (other, value))

    def add_ratio(self, measure, what, limit, value, other, **options):
        self.add(measure, what, limit, self.ratio(measure, value, other), **options)

    def between(self, mine, other):
        """Ratio of medians of two measures; each (measure, contender, value)."""
        a, b = self.results.median(*mine), self.results.median(*other)
        return a / b if a is not None and b else None


def bulk(judge):
    cpu = "cpu_s_per_gb"
    for size in (16, 128):
        measure, name = f"bulk-{size}k", f"bulk, writes of {size} KiB"
        columns = (("p2ptls", cpu), ("plain", cpu), ("aead", cpu))
        found = judge.paired(measure, lambda mine, plain, aead: mine / (plain + aead), *columns)
        judge.add(measure, f"{name}: CPU, of plain TCP with AEAD", 1.10, found)
        if size == 128:
            judge.add_ratio(measure, f"{name}: CPU, of GnuTLS's record layer", 0.75, cpu, "gnutls")
        judge.add_ratio(measure, f"{name}: GB/s, of a stunnel pair", 2.5, "gb_per_s", "stunnel", at_most=False)
    judge.add_ratio("bulk-1k", "writes of 1 KiB: CPU, of plain TCP", 1.40, cpu, "plain")


def programs(judge):
    judge.add_ratio("nginx", "nginx download: GB/s, of its own TLS", 1, "gb_per_s", "own", at_most=False)
    for command in ("GET", "SET"):
        name, value = f"redis, 64 KiB: {command}/s, of its own TLS", f"{command.lower()}_per_s"
        judge.add_ratio("redis-64k", name, 1, value, "own", at_most=False)
    for pipeline in (1, 16):
        for command in ("GET", "SET"):
            measure, value = f"redis-p{pipeline}", f"{command.lower()}_per_s"
            name = f"redis, pipeline {pipeline}: {command}/s"
            judge.add_ratio(measure, f"{name}, of plain TCP", 0.85, value, "plain", at_most=False)
            judge.add_ratio(measure, f"{name}, of its own TLS", 1, value, "own", at_most=False, strict=True)


def requests(judge):
    for size in (1, 128, 1024):
        measure = f"request-{size}"
        found = judge.paired(measure, lambda a, b: a - b, ("p2ptls", "median_us"), ("plain", "median_us"))
        what = f"request and response of {size} bytes: added to the round trip"
        judge.add(measure, what, 10, found, unit="µs", digits=1)
    calls = judge.results.calls.get("tiny", {})
    mine, plain = (sum(calls.get(key, {}).get("client", {}).values()) for key in ("p2ptls", "plain"))
    found = mine / plain if mine and plain else None
    judge.add("tiny", "reads of 1 to 100 bytes: system calls, of plain TCP", 1, found, strict=True, digits=3)


def handshakes(judge):
    for keys, name in (("ed25519", "Ed25519"), ("p256", "P-256")):
        full, resumed = f"handshakes-{keys}", f"resumed-{keys}"
        what = f"full handshakes/s, mutual {name}, of GnuTLS with fixed roles"
        judge.add_ratio(full, what, 0.95, "per_s", "gnutls", at_most=False)
        found = judge.paired(full, lambda a, b: b / a, ("p2ptls", "cpu_ms"), ("gnutls", "cpu_ms"))
        judge.add(full, f"full handshakes for a CPU second, {name}, of GnuTLS", 0.95, found, at_most=False)
        for value, unit in (("per_s", "/s"), ("cpu_ms", " for a CPU second")):
            mine, other = (resumed, "p2ptls", value), (full, "p2ptls", value)
            found = judge.between(mine, other) if value == "per_s" else judge.between(other, mine)
            what = f"resumed handshakes{unit}, {name}, of full ones"
            judge.add(resumed, what, 2, found, at_most=False)
            if found is not None and not judge.results.median(resumed, "p2ptls", "resumes"):
                judge.marks[-1].find(None, "no resumption")


def round_trips(judge):
    for role, more in (("client", 0), ("server", 1)):
        columns = ((f"p2ptls-{role}", "round_trips"), ("gnutls", "round_trips"))
        found = judge.paired("first", lambda a, b: a - b, *columns)
        what = f"first answered byte, connecting side is TLS {role}: beyond TLS 1.3 with fixed roles"
        judge.add("first", what, more, found, unit="round trips", digits=1)


def processes(judge):
    for number in (100, 1000, 10000):
        found = [
            judge.paired("crowd", lambda a, b: a - b, ("p2ptls", value), ("plain", value))
            for value in (f"kib_{number}_client", f"kib_{number}_server")
        ]
        what = f"idle connection of {number:,}: memory of the process beyond plain TCP, the larger end"
        judge.add("crowd", what, 8, None if None in found else max(found), unit="KiB", digits=1)
    found = judge.paired("crowd", lambda a, b: a / b, ("p2ptls", "cpu_us_10000"), ("p2ptls", "cpu_us_100"))
    judge.add("crowd", "CPU of a request, 100 active of 10,000 connections, of that of 100", 1.2, found)
    found = judge.results.median("start", "p2ptls", "added_ms")
    judge.add("start", "start of a program that selects nothing", 0.3, found, unit="ms more")
    found = judge.results.median("start-first", "p2ptls", "added_ms")
    judge.add("start-first", "start to first connection, private CA", 6, found, unit="ms more")


def judge(results):
    """The marks that concern the measures of this run."""
    judging = Judge(results)
    for part in (bulk, programs, requests, handshakes, round_trips, processes):
        part(judging)
    return judging.marks
