"""What a run has to say: text, tables, targets and the raw data behind them."""

import json
import pathlib
import statistics

median = statistics.median


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

    def __init__(self):
        self.lines = []
        self.missed = []
        self.raw = {}
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

    def keep(self, what, data):
        """Raw data of this section under a name: anything that JSON can hold."""
        self.raw.setdefault(self.section, {})[what] = data

    def limit(self, what, value, bound, at_most=True):
        """A target, and whether it was met. With --quick a missed one fails the run, so there only ratios may be given."""
        good = value <= bound if at_most else value >= bound
        self.say(f"- {what}: **{number(value)}**, target {'≤' if at_most else '≥'} {bound}: {'met' if good else 'MISSED'}")
        self.keep(f"target: {what}", {"value": value, "at_most" if at_most else "at_least": bound, "met": good})
        if not good:
            self.missed.append(what)

    def write(self, path):
        """RESULTS.md, and RESULTS.json beside it."""
        path = pathlib.Path(path)
        path.write_text("\n".join(self.lines).rstrip() + "\n")
        lines = [f"{json.dumps(section)}: {json.dumps(data, separators=(',', ':'))}" for section, data in self.raw.items()]
        path.with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
