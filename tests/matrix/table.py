#!/usr/bin/env python3
"""The table of programs in docs/COMPATIBILITY.md, made of what a run has logged.

    table.py LOGS          writes it: a row for each suite that says in its head which program it stands for
    table.py --check LOGS  exit status 1 if the committed table names other programs or other results than the run had

LOGS is the folder where tools/check keeps the output of each suite (build/check). Suites without a log there (the long
ones, in a short run) keep the row that they have, and are not compared. In the head of a suite:

    # program: NAME
    # runs: what is run; the lines after it go on
    # gap: what is not right, and why
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/COMPATIBILITY.md"
BEGIN, END = "<!-- begin of what tests/matrix/table.py writes -->\n", "<!-- end of what tests/matrix/table.py writes -->\n"
HEAD = "| program | what is run, protected on both ends | suite | tests passed | gaps |\n|---|---|---|---|---|\n"


def fields(suite):
    """The head of a suite: {"program": ..., "runs": ..., "gap": ...}; empty if it stands for no program."""
    found, last = {}, None
    for line in suite.read_text().splitlines():
        if not line.startswith("#"):
            break
        named = re.match(r"# (program|runs|gap): (.*)", line)
        if named:
            last = named[1]
            found[last] = named[2]
        elif last and line.startswith("# "):
            found[last] += " " + line[2:].strip()
        else:
            last = None
    return found


def suites():
    for folder in ("tests", "tests/matrix", "tests/long"):
        for suite in sorted((ROOT / folder).glob("*.bats")):
            head = fields(suite)
            if "program" in head:
                yield suite.relative_to(ROOT), head


def log_name(suite):
    """As tools/check names the log of a suite that ran with the ordinary build."""
    folder = suite.parent.name
    return f"build-{suite.stem}.log" if folder == "tests" else f"build-{folder}-{suite.stem}.log"


def result(suite, logs):
    """Tests passed and planned, or None if the suite was not run."""
    log = logs / log_name(suite)
    if not log.exists():
        return None
    text = log.read_text(errors="replace")
    planned = sum(int(n) for n in re.findall(r"^1\.\.(\d+)", text, re.M))
    passed = len(re.findall(r"^ok (?!.*# skip)", text, re.M))
    return f"{passed} of {planned}"


def committed():
    """The rows of the page, by suite, and the text around them."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    rows = {}
    for row in table.splitlines()[2:]:
        cells = row.split(" | ")
        rows[pathlib.Path(cells[2].strip("`"))] = row
    return rows, before, after


def made(logs, old):
    rows = {}
    for suite, head in suites():
        passed = result(suite, logs)
        if passed:
            rows[suite] = f"| {head['program']} | {head['runs']} | `{suite}` | {passed} | {head.get('gap', '')} |"
        elif suite in old:
            rows[suite] = old[suite]
        else:
            sys.exit(f"table.py: {suite} was not run, and has no row yet")
    return dict(sorted(rows.items(), key=lambda item: item[1].lower()))


def main(arguments):
    check = arguments[0] == "--check"
    logs = pathlib.Path(arguments[-1])
    old, before, after = committed()
    new = made(logs, old)
    if not check:
        PAGE.write_text(before + BEGIN + HEAD + "".join(row + "\n" for row in new.values()) + END + after)
        return 0
    different = sorted(suite for suite in old.keys() | new.keys() if old.get(suite) != new.get(suite))
    for suite in different:
        print(f"{suite}:\n  committed: {old.get(suite)}\n  this run:  {new.get(suite)}")
    if different:
        print(f"docs/COMPATIBILITY.md is not what was run. To write it anew: tests/matrix/table.py {logs}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
