"""Figures as they come, and what is made of them: lines, JSON, a table, a plot."""
import math
import statistics
from typing import NamedTuple

from rows import ROWS


class Figure(NamedTuple):
    key: str
    of: str          # which of several, as "dbus-broker" or "8 devices"
    values: tuple    # a ratio a round, or one count

    @property
    def row(self):
        return ROWS[self.key]

    @property
    def name(self):
        return f"{self.row.name}, {self.of}" if self.of else self.row.name

    @property
    def value(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        """What the middle half of the rounds is within."""
        if len(self.values) < 2:
            return self.value, self.value
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def holds(self):
        return self.value <= self.row.bound

    @property
    def is_as_wanted(self):
        return self.value <= (self.row.bound if self.row.wanted is None else self.row.wanted)

    def line(self):
        wanted = "" if self.is_as_wanted else f", wanted {self.row.wanted:g}" if self.row.wanted is not None else ""
        return f"{'ok' if self.holds else 'MISS':4} {self.name}: {self.shown()} (bound {self.row.bound:g}{wanted})"

    def shown(self):
        low, high = self.spread
        return number(self.value) + (f" [{number(low)}, {number(high)}]" if len(self.values) > 1 else "")

    def json(self):
        low, high = self.spread
        return {"key": self.key, "of": self.of, "name": self.name, "value": self.value, "low": low, "high": high,
                "rounds": len(self.values), "bound": self.row.bound, "wanted": self.row.wanted, "unit": self.row.unit,
                "within": self.holds}


def number(value):
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


class Figures:
    """Prints them as they come, unless told not to."""

    def __init__(self, show=print):
        self.all = []
        self.show = show

    def add(self, key, values, of=""):
        figure = Figure(key, of, tuple(values) if hasattr(values, "__iter__") else (values,))
        self.all.append(figure)
        self.show(figure.line())

    def note(self, text):
        self.show(f"     {text}")

    @property
    def beyond(self):
        return sum(not one.holds for one in self.all)

    def json(self):
        return [one.json() for one in self.all]


# --- a table in Markdown ---


def table(figures):
    lines = ["| what | figure | goal | |", "|---|---|---|---|"]
    for one in figures:
        goal = one.row.bound if one.row.wanted is None else one.row.wanted
        sign = "" if one.value <= goal else "missed"
        # With the digit that shows the miss.
        shown = f"{one.value:.3f}" if sign and round(one.value, 2) == goal else one.shown()
        lines.append(f"| {one.name} | {shown} | {goal:g} | {sign} |")
    return "\n".join(lines)


# --- a plot ---

WIDTH, LINE, LEFT, RIGHT, TOP = 940, 20, 510, 60, 46
# A figure's part of its goal, on a logarithmic scale.
LEAST, MOST = 0.05, 4.0
TICKS = (0.1, 0.25, 0.5, 1, 2, 4)


def across(part):
    share = math.log(min(max(part, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def plot(figures):
    """A line a figure: where it is between nothing and its goal, and the middle half of the rounds."""
    height = TOP + LINE * len(figures) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="10" y="18" font-weight="bold">Each figure as a part of its goal: left of the line it is reached</text>']
    for tick in TICKS:
        x, is_bound = across(tick), tick == 1
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 10}" '
                     f'stroke="{"#222" if is_bound else "#ddd"}" stroke-width="{2 if is_bound else 1}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle" fill="#555">{tick:g}</text>')
    for index, one in enumerate(figures):
        parts += bar(one, TOP + LINE * index + LINE // 2)
    return "\n".join(parts + ["</svg>"]) + "\n"


def bar(one, y):
    goal = one.row.bound if one.row.wanted is None else one.row.wanted
    # A goal of nothing: reached, or missed by as much as can be shown.
    part = [value / goal if goal else (LEAST if value <= 0 else MOST) for value in (*one.spread, one.value)]
    low, high, middle = map(across, part)
    colour = "#2a7" if part[2] <= 1 else "#c33"
    yield f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escaped(one.name)}</text>'
    yield (f'<line x1="{LEFT}" y1="{y}" x2="{middle:.1f}" y2="{y}" stroke="{colour}" stroke-opacity="0.35" '
           'stroke-width="8"/>')
    yield f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    yield f'<circle cx="{middle:.1f}" cy="{y}" r="4" fill="{colour}"/>'
    yield f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4}" fill="#555">{number(one.value)}</text>'
