"""What a run has to say: text, tables, plots, targets and the raw data behind them."""

import dataclasses
import json
import pathlib
import statistics
import traceback

import plot

BASELINE = pathlib.Path(__file__).resolve().parent / "baseline.json"

median = statistics.median

# What --quick allows beyond a target: it runs where other things run, too.
QUICK_SLACK = 1.25
# And how often it measures a section of which a ratio is beyond that: what runs beside makes a ratio worse, and never better.
QUICK_TRIES = 3


@dataclasses.dataclass
class Target:
    """A limit, and what came of it in each try."""

    section: str
    what: str
    bound: float
    at_most: bool
    guarded: bool  # --quick fails by it.
    why: str = ""  # It may be missed.
    values: list = dataclasses.field(default_factory=list)

    def best(self):
        return min(self.values) if self.at_most else max(self.values)

    def good(self, slack=1.0):
        return self.best() <= self.bound * slack if self.at_most else self.best() >= self.bound / slack

    def verdict(self):
        return f"{'≤' if self.at_most else '≥'} {number(self.bound)}"

    def fails(self):
        return self.guarded and not self.good(QUICK_SLACK)


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
        self.targets = {}  # By section and name, in the order in which they came.
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

    def limit(self, what, value, bound, at_most=True, absolute=False, why=""):
        """A target, and whether it was met. With --quick a ratio that misses it by more than the slack fails the run; times and sizes
        (`absolute`) never do. `why` is what profiles say of a miss; a whole run lists it with those that are missed."""
        target = self.targets.setdefault((self.section, what), Target(self.section, what, bound, at_most, self.quick and not absolute, why))
        target.values.append(value)
        good = value <= bound if at_most else value >= bound
        self.say(f"- {what}: **{number(value)}**, target {target.verdict()}: {'met' if good else 'MISSED'}")

    def against_baseline(self, what, value, at_most=True):
        """For --quick: a ratio against the one that is committed."""
        self.limit(f"{what} (baseline.json)", value, json.loads(BASELINE.read_text())[what], at_most)

    def measure(self, name, section, options):
        """A section; with --quick again, while one of its ratios is beyond its limit."""
        for tries in range(1, QUICK_TRIES + 1):
            self.begin(name, section.TITLE)
            try:
                section.measure(self, options)
            except (Exception, SystemExit) as error:  # The others are worth having.
                traceback.print_exc()
                self.fail(f"{name} ended early: {error}")
                return
            missed = [target.what for target in self.targets.values() if target.section == name and target.fails()]
            if not missed or tries == QUICK_TRIES:
                return
            self.say(f"Try {tries} of at most {QUICK_TRIES}: beyond the limit in {'; '.join(missed)}. Of all tries the best one counts.")
            self.say()

    def failures(self):
        """Why the run fails; empty if it does not."""
        yield from self.failed
        for target in self.targets.values():
            if target.fails():
                tries = ", ".join(map(number, target.values))
                yield f"{target.what} is {number(target.best())}, more than 25 % from {target.verdict()}; all tries: {tries}"

    def target_lines(self):
        yield from ("## All targets", "", "| section | target | | measured | |", "|---|---|---|---|---|")
        for target in self.targets.values():
            tries = f" (of {', '.join(map(number, target.values))})" if len(target.values) > 1 else ""
            yield (f"| {target.section} | {target.what} | {target.verdict()} | {number(target.best())}{tries} | "
                   f"{'met' if target.good() else '**missed**'} |")

    def missed_lines(self):
        reasons = {}  # Of a section, one reason: its targets.
        for target in self.targets.values():
            if not target.good():
                reasons.setdefault((target.section, target.why), []).append(target)
        if not reasons:
            return
        yield from ("", "## What is missed, and why", "")
        for (section, why), missed in reasons.items():
            found = "; ".join(f"{target.what}: {number(target.best())}, target {target.verdict()}" for target in missed)
            yield f"- **{section}**, {found}. {why or 'No profile explains it yet.'}"

    def write(self, path):
        """RESULTS.md, with RESULTS.json and plots/ beside it."""
        path = pathlib.Path(path)
        path.write_text("\n".join([*self.lines, *self.target_lines(), *self.missed_lines()]) + "\n")
        lines = [f"{json.dumps(section)}: {json.dumps(data, separators=(',', ':'))}" for section, data in self.raw.items()]
        path.with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        for name, svg in self.plots.items():
            (path.parent / "plots").mkdir(exist_ok=True)
            (path.parent / "plots" / name).write_text(svg)
