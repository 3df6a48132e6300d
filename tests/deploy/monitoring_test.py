"""The rules and the dashboard, held against promtool and against the metrics in the sources."""

import json
import os
import re
import subprocess
import tempfile
import unittest

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MONITORING = os.path.join(ROOT, "deploy/monitoring")

def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def metrics_in_sources():
    """Metric names in string literals, with where they are."""
    names = {}
    for folder, _, files in os.walk(os.path.join(ROOT, "server")):
        for file in files:
            if file.endswith((".cc", ".h")):
                source = read(os.path.join(folder, file))
                for name in re.findall(r'"((?:finetune_gateway|grpc_server|process)_[a-z0-9_]+)"', source):
                    names.setdefault(name, set()).add(os.path.relpath(os.path.join(folder, file), ROOT))
    return names


def metrics_in(expression):
    return set(re.findall(r"(?<![\w:])((?:finetune_gateway|grpc_server|process)_[a-z0-9_]+)(?![\w:(])", expression))


def exposed(name):
    """The name under which the sources know a series: a histogram's parts belong to the histogram."""
    return re.sub(r"_(bucket|sum|count)$", "", name) if name.endswith(("_bucket", "_sum", "_count")) else name


def rules():
    return [r for g in yaml.safe_load(read(os.path.join(MONITORING, "rules.yaml")))["groups"] for r in g["rules"]]


def alerts():
    return [r for r in rules() if "alert" in r]


def dashboard():
    return json.loads(read(os.path.join(MONITORING, "dashboard.json")))


def panels():
    return [p for p in dashboard()["panels"] if p["type"] != "row"]


def expressions():
    return [(p["title"], t["expr"]) for p in panels() for t in p["targets"]]


class Rules(unittest.TestCase):
    def test_promtool_takes_them(self):
        done = promtool("check", "rules", os.path.join(MONITORING, "rules.yaml"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_they_fire_when_they_should_and_not_otherwise(self):
        done = promtool("test", "rules", os.path.join(HERE, "rules_test.yaml"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_alert_is_tested_firing_and_silent(self):
        firing, silent = set(), set()
        for test in yaml.safe_load(read(os.path.join(HERE, "rules_test.yaml")))["tests"]:
            for case in test["alert_rule_test"]:
                (firing if case.get("exp_alerts") else silent).add(case["alertname"])
        names = {a["alert"] for a in alerts()}
        self.assertEqual(firing, names)
        self.assertEqual(silent, names)

    def test_every_metric_is_one_that_the_gateway_makes(self):
        known = metrics_in_sources()
        for rule in rules():
            for metric in metrics_in(rule["expr"]):
                self.assertIn(exposed(metric), known, rule.get("alert", rule.get("record")))

    def test_every_alert_says_what_it_means_and_where_help_is(self):
        headings = re.findall(r"^#+ (.+)$", read(os.path.join(ROOT, "deploy/README.md")), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
        for alert in alerts():
            self.assertIn(alert["labels"]["severity"], ("critical", "warning", "info"))
            for annotation in ("summary", "description", "runbook"):
                self.assertTrue(alert["annotations"].get(annotation), alert["alert"])
            page, anchor = alert["annotations"]["runbook"].split("#")
            self.assertEqual(page, "deploy/README.md")
            self.assertEqual(anchor, alert["alert"].lower())
            self.assertIn(anchor, anchors)

    def test_the_operator_gets_the_same_rules(self):
        made = subprocess.run([os.path.join(MONITORING, "operator-rule.sh")], capture_output=True, text=True, check=True)
        self.assertEqual(made.stdout, read(os.path.join(MONITORING, "prometheus-rule.yaml")))
        self.assertEqual(
            yaml.safe_load(made.stdout)["spec"], yaml.safe_load(read(os.path.join(MONITORING, "rules.yaml")))
        )


class Readme(unittest.TestCase):
    def test_its_table_has_every_metric_of_jobs_and_no_other(self):
        table = re.findall(r"^\| `(finetune_gateway_\w+)` \| [\w, ]+ \| .* \|$", read(os.path.join(ROOT, "deploy/README.md")), re.MULTILINE)
        made = {m for m, files in metrics_in_sources().items() if files & {"server/jobs/record/job_series.cc"}}
        self.assertEqual(sorted(table), sorted(made | {"finetune_gateway_submissions_not_made_total"}))


class Dashboard(unittest.TestCase):
    def test_every_metric_is_one_that_the_gateway_makes(self):
        known = metrics_in_sources()
        for title, expression in expressions():
            used = metrics_in(expression)
            self.assertTrue(used, title)
            for metric in used:
                self.assertIn(exposed(metric), known, title)

    def test_it_shows_every_metric_that_an_alert_looks_at(self):
        shown = {exposed(m) for _, e in expressions() for m in metrics_in(e)}
        for alert in alerts():
            for metric in metrics_in(alert["expr"]):
                self.assertIn(exposed(metric), shown, alert["alert"])

    def test_promtool_understands_every_query(self):
        # As rules, with Grafana's variables filled in.
        values = {"$__rate_interval": "1m", "$namespace": ".*", "$instance": ".*"}
        recorded = []
        for i, (_, expression) in enumerate(expressions()):
            for variable, value in values.items():
                expression = expression.replace(variable, value)
            self.assertNotIn("$", expression)
            recorded.append({"record": f"panel:{i}", "expr": expression})
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}, f)
            f.flush()
            done = promtool("check", "rules", f.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_it_asks_its_questions_in_order(self):
        rows = [p["title"] for p in dashboard()["panels"] if p["type"] == "row"]
        self.assertEqual(
            rows,
            ["Is it us or Segmind?", "Is the view fresh?", "Trainings", "Who uses it?", "What does it cost?", "Are the replicas one?"],
        )

    def test_legends_lie_beside_the_data(self):
        for panel in panels():
            if panel["type"] == "timeseries":
                self.assertEqual(panel["options"]["legend"]["placement"], "right", panel["title"])

    def test_every_panel_says_what_it_shows_and_has_its_own_place(self):
        taken = set()
        ids = [p["id"] for p in dashboard()["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in panels():
            self.assertTrue(panel["description"], panel["title"])
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells

    def test_it_works_with_any_data_source(self):
        for panel in panels():
            self.assertEqual(panel["datasource"]["uid"], "${datasource}")


if __name__ == "__main__":
    unittest.main()
