"""What a run has to say: text, tables, plots, targets and the raw data behind them."""

import json
import pathlib
import statistics

import plot

BASELINE = pathlib.Path(__file__).resolve().parent / "baseline.json"

median = statistics.median

# What --quick allows beyond a target: it runs where other things run, too.
QUICK_SLACK = 1.25


def number(value):
    """Three significant digits, or all that are before the point."""
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def spread(values):
    """The median, and the range of the repeats in brackets."""
    return f"{number(median(values))} ({number(min(values))}–{number(max(values))})"


class Report:
    """Gathers the lines of RESULTS.md and the raw data; prints the lines as they come."""

    def __init__(self, quick=False):
        self.quick = quick
        self.lines = []
        self.targets = []
        self.failed = []
        self.raw = {}
        self.plots = {}
        self.section = ""

    def begin(self, section, title):
        """Starts the part of one section: what follows is its own."""
        self.section = section
        self.say(f"## {title}")
        self.say()

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def table(self, header, rows):
        self.say("| " + " | ".join(header) + " |")
        self.say("|" + "---|" * len(header))
        for row in rows:
            self.say("| " + " | ".join(str(cell) for cell in row) + " |")
        self.say()

    def plot(self, name, title, x_label, y_label, series, **axes):
        """A chart of lines (plot.py), as plots/NAME.svg beside the report."""
        self.plots[f"{name}.svg"] = plot.lines(title, x_label, y_label, series, **axes)
        self.say(f"![{title}](plots/{name}.svg)")
        self.say()

    def keep(self, what, data):
        """Raw data of this section under a name: anything that JSON can hold."""
        self.raw.setdefault(self.section, {})[what] = data

    def fail(self, why):
        """Says that something could not be measured; the run fails."""
        self.say()
        self.say(f"**Not measured:** {why}")
        self.say()
        self.failed.append(why)

    def limit(self, what, value, bound, at_most=True, absolute=False):
        """A target, and whether it was met. With --quick a ratio that misses it by more than the slack fails the run; times and sizes
        (`absolute`) never do."""
        good = value <= bound if at_most else value >= bound
        verdict = f"{'≤' if at_most else '≥'} {number(bound)}"
        self.say(f"- {what}: **{number(value)}**, target {verdict}: {'met' if good else 'MISSED'}")
        self.targets.append((self.section, what, number(value), verdict, good))
        slack = QUICK_SLACK if at_most else 1 / QUICK_SLACK
        within = value <= bound * slack if at_most else value >= bound * slack
        if self.quick and not absolute and not within:
            self.failed.append(f"{what} is {number(value)}, more than 25 % from {verdict}")

    def against_baseline(self, what, value, at_most=True):
        """For --quick: a ratio against the one that is committed."""
        self.limit(f"{what} (baseline.json)", value, json.loads(BASELINE.read_text())[what], at_most)

    def target_lines(self):
        yield from ("## All targets", "", "| section | target | | measured | |", "|---|---|---|---|---|")
        for section, what, value, verdict, good in self.targets:
            yield f"| {section} | {what} | {verdict} | {value} | {'met' if good else '**missed**'} |"

    def write(self, path):
        """RESULTS.md, with RESULTS.json and plots/ beside it."""
        path = pathlib.Path(path)
        path.write_text("\n".join([*self.lines, *self.target_lines()]) + "\n")
        lines = [f"{json.dumps(section)}: {json.dumps(data, separators=(',', ':'))}" for section, data in self.raw.items()]
        path.with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        for name, svg in self.plots.items():
            (path.parent / "plots").mkdir(exist_ok=True)
            (path.parent / "plots" / name).write_text(svg)
