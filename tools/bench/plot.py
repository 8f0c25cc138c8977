"""A plot of a measure as SVG: a bar for each contender, the median of its first column; a line from least to most."""

from xml.sax.saxutils import escape

WIDTH, LABELS, NUMBERS, BAR, GAP, TOP = 760, 250, 90, 18, 8, 52
COLOURS = {"plain": "#8a8a8a", "p2ptls": "#0a6e4f"}  # of the others: one for all
OTHER = "#4a6fa5"


def write(results, measure, path):
    column = measure.columns[0]
    bars = []
    for key, title in results.titles[measure.key].items():
        values = [value for value in results.values(measure.key, key, column.value) if value is not None]
        if values:
            bars.append((key, title, results.median(measure.key, key, column.value), min(values), max(values)))
    if bars:
        with open(path, "w") as out:
            out.write(draw(measure.title, column, bars))


def draw(title, column, bars):
    height = TOP + len(bars) * (BAR + GAP) + GAP
    scale = (WIDTH - LABELS - NUMBERS) / (max(most for *_, most in bars) or 1)
    better = "more is better" if column.more_is_better else "less is better"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="20" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="38" fill="#555">{escape(column.label)}; {better}</text>',
    ]
    for number, bar in enumerate(bars):
        parts += draw_bar(TOP + number * (BAR + GAP), scale, column.digits, *bar)
    return "\n".join([*parts, "</svg>", ""])


def draw_bar(y, scale, digits, key, title, median, least, most):
    colour = COLOURS.get(key.split("-")[0], OTHER)
    middle = y + BAR / 2
    return [
        f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(title)}</text>',
        f'<rect x="{LABELS}" y="{y}" width="{median * scale:.1f}" height="{BAR}" fill="{colour}"/>',
        f'<path d="M{LABELS + least * scale:.1f} {middle}H{LABELS + most * scale:.1f}" stroke="black"/>',
        f'<text x="{LABELS + most * scale + 6:.1f}" y="{y + 14}">{median:,.{digits}f}</text>',
    ]
