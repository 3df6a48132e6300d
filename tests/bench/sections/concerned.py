"""A change that concerns few of many watchers costs what those few cost."""

import pathlib
import tempfile

from report import median, spread
from servers import Ours, ft, load, svc

TITLE = "A change that concerns 10 of many watchers"

GROUP = 10


def measure(report, options):
    watchers, changes, repeats = (1000, 200, 2) if options.quick else (10000, 500, 3)
    groups = watchers // GROUP
    report.say(f"CPU of the gateway for one change that concerns {GROUP} watchers, when they are all there is and when they are {GROUP} of "
               f"{watchers}, of whom each {GROUP} want another label, or another job by its name. {changes} changes a run, made one after another.")
    report.say()
    ours = Ours(groups)
    update = svc.UpdateFineTuneRequest(fine_tune=ft.FineTune(name=ours.job, labels={"team": "t0"}), update_mask={"paths": ["labels.team"]})
    ours.gateway.stub.UpdateFineTune(update, timeout=30)
    listed = ours.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1000), timeout=30).fine_tunes
    # The first line is the job that changes.
    names = [ours.job] + [job.name for job in listed if job.name != ours.job]
    runs = {}
    with tempfile.TemporaryDirectory(prefix="finetune-bench-") as folder:
        names_file = pathlib.Path(folder) / "names"
        names_file.write_text("\n".join(names) + "\n")
        wants = {"label": ("--filter", 'labels.team = "t{}"'), "name": ("--names-file", names_file)}
        for _ in range(repeats):
            for want, how in wants.items():
                for streams in (GROUP, watchers):
                    result = load("fan-out", "--frames", "--target", ours.address, "--pid", ours.pid, "--streams", streams, "--connections",
                                  min(100, streams), "--group", GROUP, "--concerned", GROUP, "--changes", changes, "--job", ours.job, *how)
                    runs.setdefault((want, streams), []).append(result)
    ours.close()
    report.keep("runs", {f"{want}, {streams} watchers": of for (want, streams), of in runs.items()})
    for want in wants:
        few, many = (median([r["cpu_us_per_change"] for r in runs[want, streams]]) for streams in (GROUP, watchers))
        report.limit(f"by {want}: CPU of a change that concerns {GROUP} of {watchers} against {GROUP} alone", many / few, 1.15)
    report.say()
    report.table(["wanted by", "watchers", "CPU µs/change", "first ms", "last ms"],
                 [[want, streams] + [spread([r[what] for r in of]) for what in ("cpu_us_per_change", "first_ms", "last_ms")]
                  for (want, streams), of in runs.items()])
