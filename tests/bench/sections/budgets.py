"""What a budget adds to the commit that records a submission."""

import json
import subprocess

from servers import BIN

TITLE = "A commit with a budget"


def measure(report, options):
    done = subprocess.run([BIN / "bench-budgets", "--many", "500" if options.quick else "5000"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    report.keep("budgets", result)
    report.say("The commit that records a submission in SQLite, without budgets and with two that apply to it (a team's month in money, the account's "
               "day in jobs), in CPU time; medians. What a month's jobs come to is kept as running totals, so that the last commit of a month costs what "
               "its first one does.")
    report.say()
    many = f"after {result['many']:,} jobs of the month"
    report.table(["commit", "without, µs", "with, µs", "ratio"],
                 [["of a new month", f"{result['without']:.0f}", f"{result['with']:.0f}", f"{result['with'] / result['without']:.2f}"],
                  [many, f"{result['without_after_many']:.0f}", f"{result['with_after_many']:.0f}",
                   f"{result['with_after_many'] / result['without_after_many']:.2f}"]])
    if not options.quick:
        report.limit("a commit with budgets against one without", result["with"] / result["without"], 1.2)
        report.limit(f"the same {many}", result["with_after_many"] / result["without_after_many"], 1.2)
    report.say()
