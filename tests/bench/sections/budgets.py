"""What a budget adds to the commit that records a submission."""

import json
import subprocess

import postgres
from servers import BIN

TITLE = "A commit with a budget"


def measure(report, options):
    report.say("The commit that records a submission, without budgets and with two that apply to it (a team's month in money, the account's day in jobs); "
               "medians: CPU time in SQLite, elapsed time in PostgreSQL. What a month's jobs come to is kept as running totals, so that the last commit "
               "of a month costs what its first one does.")
    report.say()
    rows = [take(report, options, "SQLite", [])]
    if postgres.FOLDERS:
        server = postgres.Server()
        try:
            rows.append(take(report, options, "PostgreSQL", ["--postgres_url", server.url, "--password_file", server.password]))
        finally:
            server.remove()
    report.table(["commit", "without, µs", "with, µs", "ratio"], [row for pair in rows for row in pair])
    report.say()


def take(report, options, system, flags):
    done = subprocess.run([BIN / "bench-budgets", "--many", "500" if options.quick else "5000", *flags], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    report.keep("budgets" if system == "SQLite" else f"budgets {system}", result)
    many = f"after {result['many']:,} jobs of the month"
    rows = []
    for name, end in (("of a new month", ""), (many, "_after_many")):
        without, beside = result["without" + end], result["with" + end]
        rows.append([f"{system}, {name}", f"{without:.0f}", f"{beside:.0f}", f"{beside / without:.2f}"])
        if not options.quick:
            report.limit(f"{system}: a commit with budgets against one without, {name}", beside / without, 1.2)
    return rows
