"""Carries the measures out: contenders in turns, several rounds, one progress line."""

import contextlib
import datetime
import os
import statistics
import sys
import time

from processes import Failed, Scope


class Results:
    """samples[measure][contender]: one {value: number} for each round; failures: texts."""

    def __init__(self, measures, quick):
        self.measures = list(measures)
        self.quick = quick
        self.titles = {}  # of contenders, by measure and contender: variants have titles of their own
        self.contenders = []  # those that took part, for the table of them
        self.samples = {}
        self.calls = {}
        self.shortened = {}  # measures whose time was up after so many rounds
        self.failures = []
        self.marks = []
        self.machine = {}
        self.began = datetime.datetime.now(datetime.timezone.utc)
        self.seconds = 0.0

    def values(self, measure, contender, value):
        """By round; None where a round has no such value."""
        return [sample.get(value) for sample in self.samples.get(measure, {}).get(contender, [])]

    def median(self, measure, contender, value):
        found = [number for number in self.values(measure, contender, value) if number is not None]
        return statistics.median(found) if found else None


class Progress:
    """One line: rewritten on a terminal, a line for each measure elsewhere."""

    def __init__(self, total):
        self.total, self.number = total, 0
        self.begin = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def elapsed(self):
        seconds = int(time.monotonic() - self.begin)
        return f"{seconds // 60}:{seconds % 60:02}"

    def next_measure(self, title):
        self.number += 1
        self.title = title
        self.show("")
        if not self.terminal:
            print(f"[{self.elapsed()}] {self.number}/{self.total} {title}", file=sys.stderr, flush=True)

    def show(self, what):
        if self.terminal:
            text = f"[{self.elapsed()}] {self.number}/{self.total} {self.title}: {what}"
            print(f"\r{text[:118]}\033[K", end="", file=sys.stderr, flush=True)

    def say(self, text):
        print(("\r\033[K" if self.terminal else "") + text, file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


BUDGET = 16 * 60  # seconds for all rounds of a full run; getting ready and counting system calls come on top
LEAST_ROUNDS = 2


class Run:
    def __init__(self, bench, measures, options):
        self.bench = bench
        self.options = options
        self.measures = list(measures)
        self.results = Results(self.measures, options.quick or options.tiny)
        self.progress = Progress(len(self.measures))

    def carry_out(self):
        self.results.contenders = list(self.bench.contenders.values())
        share, shares = 0, sum(measure.share for measure in self.measures)
        for measure in self.measures:
            share += measure.share
            self.deadline = self.progress.begin + BUDGET * share / shares  # what others did not need is there for all
            self.progress.next_measure(measure.title)
            self.carry_out_one(measure)
        self.progress.end()
        self.results.seconds = time.monotonic() - self.progress.begin
        return self.results

    def rounds(self, measure):
        if self.options.rounds:
            return self.options.rounds
        return measure.rounds_quick if self.results.quick else measure.rounds

    def carry_out_one(self, measure):
        samples = self.results.samples.setdefault(measure.key, {})
        titles = self.results.titles.setdefault(measure.key, {})
        with contextlib.ExitStack() as stack:
            opened = {}
            for contender in measure.variants(self.bench):
                self.progress.show(f"{contender.title}, getting ready")
                titles[contender.key] = contender.title
                scope = stack.enter_context(Scope(os.path.join(self.bench.work, measure.key, contender.key)))
                with self.failing(measure, contender):
                    opened[contender.key] = (contender, measure.open(self.bench, contender, scope))
            for number in range(self.rounds(measure)):
                if number >= LEAST_ROUNDS and time.monotonic() > self.deadline:
                    self.results.shortened[measure.key] = number
                    break
                for key in turned(list(opened), number):
                    contender, ready = opened[key]
                    self.progress.show(f"{contender.title}, round {number + 1}")
                    with self.failing(measure, contender, opened):
                        samples.setdefault(key, []).append(measure.sample(self.bench, ready))
            if measure.counted:
                self.count_calls(measure, opened)

    def count_calls(self, measure, opened):
        calls = self.results.calls.setdefault(measure.key, {})
        for key, (contender, ready) in list(opened.items()):
            if not measure.counts_calls_of(contender):
                continue
            self.progress.show(f"{contender.title}, counting system calls")
            with self.failing(measure, contender):
                calls[key] = measure.calls(self.bench, ready)

    @contextlib.contextmanager
    def failing(self, measure, contender, opened=None):
        """A contender that fails is out of this measure; the run goes on, and ends with status 1."""
        try:
            yield
        except (Failed, OSError, ValueError, KeyError) as error:
            text = f"{contender.title}, {measure.key}: {error}"
            self.results.failures.append((measure.key, contender.key, text))
            self.results.samples[measure.key].pop(contender.key, None)
            self.progress.say(f"failed: {text}")
            if opened is not None:
                opened.pop(contender.key)


def turned(keys, number):
    """Each round begins with another one, so that none is always first."""
    return keys[number % len(keys) :] + keys[: number % len(keys)] if keys else []
