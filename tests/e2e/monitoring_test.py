"""What operators see of a gateway that works: its metrics, the dashboard and the alerts, by a real Prometheus."""

import json
import re
import subprocess
import time
import unittest

import grpc
import uuid
from google.protobuf import duration_pb2

from credentials import Certificates, caller, write_policy
from harness import EndToEnd, job, reason_of, svc, wait_until
from monitored import MONITORING, World, tools

METRIC = re.compile(r"(?<![\w:])((?:finetune_gateway|grpc_server|process)_[a-z0-9_]+)(?![\w:(])")

REFUSED = 'finetune_gateway_upstream_requests_total{call="submit", code=~"406|429"}'


def dashboard():
    """Each panel's title and queries, with Grafana's variables filled in."""
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    filled = {"$__rate_interval": "15s", "$namespace": ".*", "$instance": ".*"}
    for panel in panels:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in filled.items():
                query = query.replace(variable, value)
            yield panel["title"], query


# What a gateway has to tell that shares its record (postgres_test.py).
OF_A_FLEET = {"finetune_gateway_leader", "finetune_gateway_store_lag_seconds", "finetune_gateway_store_reachable",
              "finetune_gateway_store_synchronous", "finetune_gateway_store_standbys", "finetune_gateway_clock_skew_seconds"}


def quicker(rules):
    """The same rules in a world where Segmind is polled every second: an old view is one of 4 s, and nothing waits for minutes."""
    rules = rules.replace("finetune_gateway_view_age_seconds) > 420", "finetune_gateway_view_age_seconds) > 4")
    return re.sub(r"for: \d+m", "for: 1s", rules).replace("interval: 30s", "interval: 1s")


class Metrics(EndToEnd):
    def test_every_series_is_there_from_the_start_and_promtool_finds_no_fault(self):
        policy = write_policy(self.folder / "policy.json", [caller("ops", "ADMIN", "a-token")], prices=[{"base_micros": "1"}],
                              budgets=[{"name": "all", "account": True, "period": "MONTH", "jobs": "5"}])
        tls = Certificates(self.folder / "certs", "ops").flags(mutual=False)
        metrics = self.start_gateway(self.start_emulator(), "--policy_file", policy, *tls).ready().admin("/metrics")[1]
        done = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True, check=False,
                              env={"PATH": tools("promtool")})
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        there = set(re.findall(r"^(\w+)(?:\{| )", metrics, re.M))
        used = set(METRIC.findall((MONITORING / "rules.yaml").read_text()))
        used |= {name for _, query in dashboard() for name in METRIC.findall(query)}
        self.assertGreater(len(used), 20)
        self.assertEqual(used - there, OF_A_FLEET)
        for series in ('finetune_gateway_upstream_requests_total{call="list",code="429"}',
                       'grpc_server_handled_total{grpc_code="Unavailable",grpc_method="GetFineTune"'):
            self.assertIn(series, metrics)


class Outage(EndToEnd):
    """Segmind is dead for much longer than any interval of the gateway."""

    def setUp(self):
        super().setUp()
        self.world = World(self.folder, quicker((MONITORING / "rules.yaml").read_text()), gateway_flags=(
            "--upstream_timeout", "1s", "--active_poll_interval", "500ms", "--idle_poll_interval", "1s"))
        self.addCleanup(self.world.close)
        self.gateway, self.prometheus = self.world.gateway, self.world.prometheus

    def age(self):
        """How old an answer says that it is."""
        listed = self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1), timeout=5)
        self.assertEqual(len(listed.fine_tunes), 1)
        return time.time() - listed.observe_time.ToMicroseconds() / 1e6

    def test_reads_go_on_the_alert_fires_and_all_recovers_by_itself(self):
        wait_until("jobs", lambda: self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=5).total_size > 30)
        wait_until("a fresh view", lambda: self.age() < 2)
        self.assertEqual(self.prometheus.alerts().keys() & {"FinetuneGatewayViewStale", "FinetuneGatewayDown"}, set())
        self.be_refused()
        self.check_dashboard()
        frozen = time.time()
        self.world.freeze_segmind()
        wait_until("the alert", lambda: "FinetuneGatewayViewStale" in self.prometheus.alerts(), seconds=60)
        began = time.time()
        while time.time() < began + 5:
            # The last read may have begun just before; it may not claim to be younger than the outage.
            self.assertGreaterEqual(self.age(), time.time() - frozen - 0.1)
            self.assertEqual(self.gateway.admin("/livez")[0], 200)
            self.assertEqual(self.gateway.admin("/readyz")[0], 200)
        with self.assertRaises(grpc.RpcError) as caught:
            self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(
                freshness=svc.Freshness(max_staleness=duration_pb2.Duration(seconds=1))), timeout=2)
        self.assertIn(caught.exception.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))
        self.world.thaw_segmind()
        wait_until("a fresh view again", lambda: self.age() < 2, seconds=60)
        wait_until("the alert to end", lambda: "FinetuneGatewayViewStale" not in self.prometheus.alerts(), seconds=60)
        self.assertEqual(self.gateway.popen.poll(), None)

    def be_refused(self):
        """One submit for want of credits, one by the rate limit: its own, for the callers' next one comes when their last is trained."""
        # What came before the first look at it is no increase.
        wait_until("the first scrape", lambda: self.prometheus.values(REFUSED))
        for fault, reason in (("no_credits", "UPSTREAM_CREDITS_EXHAUSTED"), ("rate_limited", "UPSTREAM_RATE_LIMITED")):
            self.world.emulator.fault("submit", fault, count=-1, seconds=1)
            with self.assertRaises(grpc.RpcError) as caught:
                self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(f"{self.world.emulator.url}/x.zip")), timeout=20)
            self.assertEqual(reason_of(caught.exception), reason)
            self.world.emulator.clear_faults()
        # The callers may have been refused meanwhile, too.
        wait_until("both to be seen", lambda: sum(seen >= 1 for seen in self.prometheus.values(REFUSED)) >= 2)

    def check_dashboard(self):
        """Every query of every panel gives numbers."""
        for title, query in dashboard():
            if OF_A_FLEET & set(METRIC.findall(query)):
                continue
            with self.subTest(title):
                wait_until(f"data for {title}: {query}", lambda q=query: [v for v in self.prometheus.values(q) if v == v], seconds=40)


if __name__ == "__main__":
    unittest.main()
