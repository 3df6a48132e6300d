"""What a poll costs, against RapidJSON alone on the same bytes."""

import json
import subprocess

from servers import BIN

TITLE = "Reading a list"
NAMES = {"rapidjson_sax_in_situ": "RapidJSON, in-situ SAX, SSE2", "unchanged": "unchanged", "one_changed": "one changed",
         "one_changed_after_all_new": "one changed, right after the first list", "all_changed": "all changed", "all_new": "all new"}


def measure(report, options):
    report.say("The gateway's list reader (which scans, compares, and parses what changed) on lists as Segmind writes them; RapidJSON's parser "
               "alone, with no handler, on the same bytes. Medians of interleaved repeats; times are the thread's CPU. Held is what "
               "the reader keeps to know what changed; the jobs themselves are in the table of starts. Peak is the memory while all jobs of the "
               "first list are taken, in slices as the gateway takes them, with the list itself, against the list.")
    report.say()
    rows, ratios, series = [], {}, {}
    for jobs in (10_000,) if options.quick else (1000, 10_000, 100_000):
        done = subprocess.run([BIN / "bench-ingest", "--jobs", str(jobs)], capture_output=True, text=True, check=True)
        result = json.loads(done.stdout)
        report.keep(f"{jobs} jobs", result)
        sax = result["runs"]["rapidjson_sax_in_situ"]["ms"]
        for key, name in NAMES.items():
            run = result["runs"][key]
            ratios[key] = run["ms"] / sax
            series.setdefault(name, []).append((jobs, run["ms"]))
            rows.append([f"{jobs:,} jobs, {result['bytes'] / 1e6:.1f} MB", name, f"{run['ms']:.2f}", f"{run['mb_per_s']:.0f}",
                         f"{ratios[key]:.2f}", f"{result['held_bytes_per_job']:.0f}", f"{result['peak_of_list']:.2f}"])
    report.table(["list", "what", "ms", "MB/s", "of RapidJSON's", "held bytes/job", "peak of list"], rows)
    if not options.quick:
        report.plot("ingest", "Reading a list", "jobs", "ms", series)
    if options.quick:
        for key in ("unchanged", "one_changed", "all_changed", "all_new"):
            report.against_baseline(f"{NAMES[key]}: a list of 10,000 jobs against RapidJSON's in-situ SAX pass", ratios[key])
    else:
        report.limit("unchanged list against RapidJSON's in-situ SAX pass", ratios["unchanged"], 0.2)
        report.limit("one changed job against that pass", ratios["one_changed"], 1.2)
        report.limit("one changed job right after the first list against that pass", ratios["one_changed_after_all_new"], 1.2)
        for key in ("all_changed", "all_new"):
            report.limit(f"{NAMES[key]}: {jobs:,} jobs against that pass", ratios[key], 6)
        report.limit("memory at the peak, while all jobs of a first list are taken, against the list", result["peak_of_list"], 2)
    report.say()
