"""What a whole run writes: the plot, all figures in README.md here, the main ones in the project's README."""
import pathlib
import re

from figures import plot, table

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
PLOT = HERE / "figures.svg"
BEGIN, END = "<!-- figures: Tests/Benchmarks/run --write -->\n", "<!-- end of figures -->\n"


def write(figures):
    PLOT.write_text(plot(figures))
    for readme, some in ((HERE / "README.md", figures), (PROJECT / "README.md", heads(figures))):
        readme.write_text(put_in(readme.read_text(), table(some)))


def heads(figures):
    """The rows for the project's README; of several figures of a row, the worst."""
    rows = {}
    for one in figures:
        if one.row.head and (one.key not in rows or one.value > rows[one.key].value):
            rows[one.key] = one
    return list(rows.values())


def put_in(text, table):
    """The text with this table in place of the one that is there."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
    if not pattern.search(text):
        raise ValueError(f"no line {BEGIN!r}")
    return pattern.sub(lambda _: f"{BEGIN}{table}\n{END}", text)
