"""What a run leaves: report.md, results.csv, results.json and a plot for each measure."""

import csv
import json
import os

import plot

BEGIN, END = "<!-- the last run: written by make bench-document -->", "<!-- end of the last run -->"


def write_one(results, folder):
    os.makedirs(folder, exist_ok=True)
    report = render(results)
    write(os.path.join(folder, "report.md"), report)
    write_csv(results, os.path.join(folder, "results.csv"))
    write_json(results, os.path.join(folder, "results.json"))
    return report


def write_all(results, folder):
    report = write_one(results, folder)
    for measure in measured(results):
        plot.write(results, measure, os.path.join(folder, f"{measure.key}.svg"))
    print(report)
    print(f"written to {folder}: report.md, results.csv, results.json, and a plot for each measure")


def write(path, text):
    with open(path, "w") as out:
        out.write(text)


def write_document(results, path):
    """Puts the report between the two markers of docs/PERFORMANCE.md."""
    with open(path) as old:
        text = old.read()
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    write(path, text[:before] + "\n\n" + render(results) + "\n" + text[after:])


def measured(results):
    return [measure for measure in results.measures if results.samples.get(measure.key)]


# ---- Markdown --------------------------------------------------------------------------------------------------------


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def render(results):
    kind = "quick run: too little work for judging" if results.quick else "full run"
    minutes, seconds = divmod(int(results.seconds), 60)
    parts = [f"Run of {results.began:%Y-%m-%d %H:%M} UTC, {minutes} min {seconds} s, {kind}.\n"]
    parts.append("\n".join(f"* {what}: {text}" for what, text in results.machine.items()) + "\n")
    if results.failures:
        parts.append("### Failed\n\n" + "\n".join(f"* **failed**: {text}" for _, _, text in results.failures) + "\n")
    if results.marks:
        runs = len(results.marks[0].runs)
        title = f"Marks, of {runs} runs one after the other" if runs else "Marks"
        parts.append(f"### {title}\n\n" + marks_table(results))
    parts.append("### Contenders\n\n" + contenders_table(results))
    parts += [f"### {measure.title}\n\n" + measure_table(results, measure) for measure in measured(results)]
    if any(results.calls.values()):
        parts.append("### System calls\n\n" + calls_table(results))
    return "\n".join(parts)


def marks_table(results):
    head, rows = ["p2ptls", "mark", "found", ""], []
    for mark in results.marks:
        rows.append([mark.what, mark.wanted, mark.text(mark.found), bold(mark.verdict)])
        if mark.runs:
            rows[-1].insert(3, ", ".join(mark.text(found) for found in mark.runs))
    if rows and results.marks[0].runs:
        head[2:3] = ["median", "of the runs"]
    verdicts = [mark.verdict for mark in results.marks]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    return table(head, rows) + f"\n{counts}.\n"


def bold(verdict):
    return verdict if verdict == "met" else f"**{verdict}**"


def contenders_table(results):
    failed = {}
    for measure, contender, _ in results.failures:
        failed.setdefault(contender, []).append(measure)
    rows = []
    for contender in results.contenders:
        wire = "in clear" if contender.clear else "ciphertext"
        if contender.key in failed:
            wire = "**failed** in " + ", ".join(failed[contender.key])
        rows.append((contender.title, contender.cipher, contender.proof, wire))
    return table(("", "cipher", "who is proven", "the wire, as recorded in each measure"), rows)


def measure_table(results, measure):
    rows = []
    for key, title in results.titles[measure.key].items():
        cells = [cell(results, measure.key, key, column) for column in measure.columns]
        if key not in results.samples[measure.key]:
            cells = ["**failed**"] * len(measure.columns)
        rows.append((title, *cells))
    note = f"\n{measure.note}\n" if measure.note else ""
    if measure.key in results.shortened:
        note += f"\nIts time was up after {results.shortened[measure.key]} of {measure.rounds} rounds.\n"
    return table(("", *(column.label for column in measure.columns)), rows) + note


def cell(results, measure, contender, column):
    """Median, and the least and the most of the rounds."""
    values = [value for value in results.values(measure, contender, column.value) if value is not None]
    if not values:
        return "-"
    median, least, most = results.median(measure, contender, column.value), min(values), max(values)
    text = f"{median:,.{column.digits}f}"
    return text if least == most else f"{text} ({least:,.{column.digits}f} to {most:,.{column.digits}f})"


def calls_table(results):
    rows = []
    for measure in results.measures:
        for contender, sides in results.calls.get(measure.key, {}).items():
            title = results.titles[measure.key][contender]
            unit = f"{measure.key}, for each {measure.counted}"
            for side in [side for side in ("client", "server") if side in sides]:
                rows.append((unit, title, side, *call_cells(sides[side])))
            of_ends = sum(sum(sides[side].values()) for side in ("client", "server") if side in sides)
            if "all" in sides and sum(sides["all"].values()) > 1.01 * of_ends:
                rows.append((unit, title, "with proxies", *call_cells(sides["all"])))
    return table(("workload", "", "side", "calls", "which"), rows)


def call_cells(calls):
    most = sorted(calls.items(), key=lambda item: -item[1])
    names = [f"{name} {number:.2f}" for name, number in most if number >= 0.01]
    return f"{sum(calls.values()):.2f}", ", ".join(names[:8])


# ---- for other programs ----------------------------------------------------------------------------------------------


def write_csv(results, path):
    with open(path, "w", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(("measure", "contender", "round", "value", "number"))
        for measure, contenders in results.samples.items():
            for contender, samples in contenders.items():
                for number, sample in enumerate(samples, 1):
                    rows.writerows((measure, contender, number, value, found) for value, found in sample.items())


def write_json(results, path):
    data = {
        "began": results.began.isoformat(),
        "seconds": round(results.seconds, 1),
        "quick": results.quick,
        "machine": results.machine,
        "shortened": results.shortened,
        "marks": [vars(mark) for mark in results.marks],
        "failures": [dict(zip(("measure", "contender", "text"), failure)) for failure in results.failures],
        "samples": results.samples,
        "system_calls": results.calls,
    }
    with open(path, "w") as out:
        json.dump(data, out, indent=1)
        out.write("\n")
