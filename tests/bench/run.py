"""Runs the measurements that run.sh names and writes RESULTS.md, with the raw data in RESULTS.json beside it. Absolute figures are of the
machine of the day; only figures of one run are compared with each other."""

import argparse
import importlib
import os
import pathlib
import platform
import subprocess
import sys

from report import Report

HERE = pathlib.Path(__file__).resolve().parent

# In the order of the report: modules of sections/ (whose __init__ says what one must have).
SECTIONS = ("calls", "proxied", "polling", "fan_out", "peers", "concerned", "stopped", "webhook", "sparse", "ingest", "budgets", "start", "fleet", "transfers", "access", "hostile", "overload", "day")
# What --quick runs: under 3 minutes together, if no section has to be repeated.
QUICK = ("calls", "proxied", "fan_out", "concerned", "ingest", "budgets", "start", "overload")


def version_of(package):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False)
    return done.stdout or "unknown"


def say_where(report, options):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")),
                 platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{package} {version_of(package)}" for package in
                         ("libgrpc++1.51", "libprotobuf32", "libcurl4", "libsqlite3-0", "rapidjson-dev", "clang"))
    report.say("# Results")
    report.say()
    report.say(f"`{' '.join(['tests/bench/run.sh', *sys.argv[1:]])}` on {os.cpu_count()} cores of {model}, {memory:.0f} GiB, Linux "
               f"{platform.release().split('-')[0]}; client and server on the same cores. {versions}.")
    report.say("Medians, with the range of the repeats in brackets. Ratios are what counts; raw data: RESULTS.json.")
    report.say()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a subset in under 3 minutes; fails where a ratio is beyond its limit in each of up to 3 tries of "
                        "its section, writes nothing")
    parser.add_argument("--only", help="sections, with commas between; writes nothing without --out")
    parser.add_argument("--minutes", type=float, default=3, help="how long the mixed load of section day runs")
    parser.add_argument("--out", help="default: RESULTS.md here, for a run of everything")
    options = parser.parse_args()
    report = Report(options.quick)
    say_where(report, options)
    out = options.out or (None if options.quick or options.only else HERE / "RESULTS.md")
    names = options.only.replace("-", "_").split(",") if options.only else QUICK if options.quick else SECTIONS
    for name in names:
        if name not in SECTIONS:
            parser.error(f"no section {name}; there are {', '.join(SECTIONS)}")
        section = importlib.import_module(f"sections.{name}")
        report.measure(name, section, options)
        if out:  # As far as it is: a run takes long.
            report.write(out)
    print("\n".join(report.target_lines()))
    failures = list(report.failures())
    for failure in failures:
        print("FAILED:", failure)
    sys.exit(1 if failures else 0)


main()
