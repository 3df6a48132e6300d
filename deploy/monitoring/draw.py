#!/usr/bin/python3
"""Draws the dashboard's panels with what a Prometheus has: draw.py PROMETHEUS_URL OUT.png [MINUTES]

For a look without Grafana. Needs python3-matplotlib. The time series are those of Grafana's panels, by
the same queries; looks differ.
"""

import json
import os
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  pylint: disable=wrong-import-position

UNITS = {"s": "seconds", "percentunit": "", "reqps": "calls a second", "cpm": "a minute", "none": "", "short": "", "bytes": "MB"}
SCALES = {"bytes": 1e-6}
CELL_WIDTH, CELL_HEIGHT = 0.9, 0.42
# Of a panel, for the legend beside its data; names longer than this are cut.
LEGEND_SHARE = 0.3
LONGEST_NAME = 34


def ask(url, what, **parameters):
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/{what}?{query}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def expression_of(target):
    expression = target["expr"]
    for variable, value in {"$__rate_interval": "1m", "$namespace": ".*", "$instance": ".*"}.items():
        expression = expression.replace(variable, value)
    return expression


def legend_of(target, labels):
    legend = target["legendFormat"]
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def draw_stat(axes, panel, url, now):
    result = ask(url, "query", query=expression_of(panel["targets"][0]), time=now)
    value = float(result[0]["value"][1]) if result else float("nan")
    defaults = panel["fieldConfig"]["defaults"]
    color = "gray"
    for step in defaults["thresholds"]["steps"] if result else []:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    unit = defaults["unit"]
    text = "no data" if value != value else f"{value:.2%}" if unit == "percentunit" else f"{value:.0f} {UNITS[unit]}"
    for mapping in defaults.get("mappings", []):
        text = mapping["options"].get(f"{value:.0f}", {"text": text})["text"]
    axes.set_facecolor({"green": "#3f8f4f", "orange": "#d9822b", "red": "#c23030", "blue": "#2b6cb0"}.get(color, color))
    axes.text(0.5, 0.5, text, ha="center", va="center", color="white", fontsize=15, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_series(axes, panel, url, now, seconds):
    step = max(5, seconds // 200)
    stacked = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking", {}).get("mode") == "normal"
    unit = panel["fieldConfig"]["defaults"]["unit"]
    drawn = []
    for target in panel["targets"]:
        result = ask(url, "query_range", query=expression_of(target), start=now - seconds, end=now, step=step)
        for series in result:
            points = [(float(t) - now, float(v) * SCALES.get(unit, 1)) for t, v in series["values"] if v != "NaN"]
            if points:
                drawn.append((legend_of(target, series["metric"]), points))
    if stacked and drawn:
        moments = sorted({t for _, points in drawn for t, _ in points})
        rows = [[dict(points).get(t, 0.0) for t in moments] for _, points in drawn]
        axes.stackplot([t / 60 for t in moments], rows, labels=[name for name, _ in drawn], alpha=0.7)
    else:
        for name, points in drawn:
            axes.plot([t / 60 for t, _ in points], [v for _, v in points], label=name, linewidth=1)
    axes.set_xlim(-seconds / 60, 0)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    axes.set_ylabel(UNITS[unit], fontsize=7)
    axes.set_xlabel("minutes", fontsize=7, labelpad=1)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-3) * 1.05)
    handles, names = axes.get_legend_handles_labels()
    if any(names):
        short = [name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME - 1] + "…" for name in names]
        axes.legend(handles, short, fontsize=6, loc="upper left", bbox_to_anchor=(1.005, 1.02), frameon=False, borderaxespad=0, labelspacing=0.3, handlelength=1.2)
    elif not drawn:
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", fontsize=9, transform=axes.transAxes)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    url, out = sys.argv[1].rstrip("/"), sys.argv[2]
    seconds = int(float(sys.argv[3]) * 60) if len(sys.argv) == 4 else 900
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "dashboard.json"), encoding="utf-8") as f:
        panels = json.load(f)["panels"]
    now = time.time()
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    figure = pyplot.figure(figsize=(24 * CELL_WIDTH, height * CELL_HEIGHT))
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - place["y"] / height
        if panel["type"] == "row":
            figure.text(left + 0.004, top - 0.6 / height, panel["title"], fontsize=12, weight="bold", va="center")
            continue
        axes = figure.add_axes(
            (
                left + 0.022,
                top - (place["h"] - 0.6) / height,
                (place["w"] / 24 - 0.032) * (1 if panel["type"] == "stat" else 1 - LEGEND_SHARE),
                (place["h"] - 1.6) / height,
            )
        )
        axes.set_title(panel["title"], fontsize=8, loc="left")
        if panel["type"] == "stat":
            draw_stat(axes, panel, url, now)
        else:
            draw_series(axes, panel, url, now, seconds)
    figure.savefig(out, dpi=70)


if __name__ == "__main__":
    main()
