"""What a poll costs, against RapidJSON alone on the same bytes."""

import json
import subprocess

from servers import BIN

TITLE = "Reading a list"


def measure(report, options):
    done = subprocess.run([BIN / "bench-ingest", "--jobs", "10000" if options.quick else "100000"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    report.keep("runs", result)
    rows = [[name, f"{r['ms']:.1f}", f"{r['mb_per_s']:.0f}"] for name, r in result["runs"].items()]
    report.say(f"{result['jobs']} jobs, {result['bytes'] / 1e6:.0f} MB; medians of {result['repeats']} interleaved repeats.")
    report.say()
    report.table(["what", "ms", "MB/s"], rows)
    sax = result["runs"]["rapidjson_sax_in_situ"]["ms"]
    report.limit("unchanged list against RapidJSON's in-situ SAX pass", result["runs"]["unchanged"]["ms"] / sax, 0.2)
    report.limit("one changed job against that pass", result["runs"]["one_changed"]["ms"] / sax, 1.2)
    report.say()
