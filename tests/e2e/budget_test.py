"""Budgets of money and of jobs: they hold through kills on both kinds of record, warn, say what is left, and are reported."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import threading
import unittest
import uuid

import credentials
import postgres
from harness import API_KEY, BIN, SOURCE, EndToEnd, details_of, ft, grpc, job, rpc, svc, wait_until

ART, SEA, BOSS = "token-of-the-art-team-0123456789", "token-of-the-sea-team-0123456789", "token-of-the-boss-0123456789abc"


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def a_create(name="", **fields):
    request_id = str(uuid.uuid4())
    return svc.CreateFineTuneRequest(request_id=request_id, fine_tune=job(name=name or f"job-{request_id[:8]}", **fields))


class Budgets(EndToEnd):
    store_flags = ()
    times = ("--settle_time", "2s")

    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)

    def write_policy(self, budgets, **more):
        callers = [credentials.caller("art", "SUBMITTER", ART), credentials.caller("sea", "SUBMITTER", SEA),
                   credentials.caller("boss", "ADMIN", BOSS, sees_all_jobs=True)]
        callers[0]["team"], callers[1]["team"] = "art", "sea"
        callers[0]["labels"] = [{"key": "cost-center", "values": ["7"], "required": True}]
        self.policy = credentials.write_policy(self.folder / "policy.json", callers, budgets=budgets, **more)

    def gateway(self):
        return self.start_gateway(self.emulator, "--policy_file", self.policy, *self.times, *self.store_flags).ready()

    def create(self, gateway, request=None, token=ART):
        return gateway.stub.CreateFineTune(request or a_create(), timeout=20, metadata=bearer(token))

    def quotas(self, gateway, token=ART):
        status = gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20, metadata=bearer(token))
        return {quota.metric: quota for quota in status.quotas}

    def spending(self, gateway, token=BOSS, **request):
        return list(gateway.stub.GetSpending(svc.GetSpendingRequest(**request), timeout=20, metadata=bearer(token)).rows)


class OneRecord(Budgets):
    """What is the same on every record."""

    def test_a_monthly_budget_holds_whatever_dies(self):
        """N creates, hammered over 50 connections with kills in between: N jobs, never one more."""
        budget = 20
        self.write_policy([{"name": "art-month", "team": "art", "period": "MONTH", "time_zone": "Europe/Berlin", "jobs": budget}])
        gateway = self.gateway()
        stop, address = threading.Event(), [gateway.address]

        def hammer():
            while not stop.is_set():
                with grpc.insecure_channel(address[0], options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                    try:
                        rpc.FineTuneServiceStub(channel).CreateFineTune(a_create(), timeout=20, metadata=bearer(ART))
                    except grpc.RpcError:
                        stop.wait(0.05)

        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(50)]
        for thread in threads:
            thread.start()
        for taken in (1, 5, 12):
            wait_until("some jobs to be made", lambda: len(self.emulator.submits()) >= taken, 60)
            gateway.kill()
            gateway.close()
            gateway = self.gateway()
            address[0] = gateway.address
        used = lambda: self.quotas(gateway)["budget:art-month"].used
        wait_until("the budget to be spent", lambda: used() == budget, 90)
        stop.set()
        for thread in threads:
            thread.join(30)
        self.assertLessEqual(len(self.emulator.submits()), budget)

        def spent():
            while used() < budget:
                self.create(gateway)
            return len(self.emulator.submits()) >= budget
        # What a kill left unsent or unknown is settled as made or given back, and what was given back may be spent.
        wait_until("all of the budget to be jobs", spent, 90)
        self.assertEqual(len(self.emulator.submits()), budget)
        error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT_QUOTA_EXCEEDED", gateway.stub.CreateFineTune, a_create(),
                             metadata=bearer(ART))
        details = details_of(error)
        self.assertEqual(details["QuotaFailure"].violations[0].subject, "budget:art-month")
        self.assertEqual(details["ErrorInfo"].metadata["left"], "0")
        self.assertLess(details["RetryInfo"].retry_delay.seconds, 32 * 86400)
        self.create(gateway, token=SEA)
        self.assertEqual(sum(row.jobs for row in self.spending(gateway)), len(self.emulator.submits()))


class OnSqlite(OneRecord):
    def test_money_is_counted_refused_given_back_and_reported(self):
        self.write_policy(
            [{"name": "art-month", "team": "art", "period": "MONTH", "micros": "5000000", "warn_at_percent": 80}],
            prices=[{"base_model": "FAST_FLUX", "base_micros": "1000000", "per_step_micros": "1000"}])
        gateway = self.gateway()
        steps = lambda n: a_create(parameters=ft.TrainingParameters(steps=n))
        self.emulator.fault("submit", "no_credits")
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_CREDITS_EXHAUSTED", gateway.stub.CreateFineTune, steps(1000),
                     metadata=bearer(ART))
        self.emulator.clear_faults()
        quota = self.quotas(gateway)["budget:art-month"]
        self.assertEqual((quota.used, quota.limit, quota.unit), (0, 5_000_000, "credits"))
        first = self.create(gateway, steps(1000))
        self.assertEqual((first.estimated_cost.unit, first.estimated_cost.micros), ("credits", 2_000_000))
        self.assertEqual(first.labels["cost-center"], "7")
        # The second one ends with what is warned of; the third has no room.
        call = gateway.stub.CreateFineTune.with_call(steps(1000), timeout=20, metadata=bearer(ART))
        warnings = [value for key, value in call[1].trailing_metadata() if key == "finetune-budget-warning"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("4 credits of 5 credits used", warnings[0])
        check = steps(1000)
        check.validate_only = True
        for request in (steps(1000), check):
            error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT_QUOTA_EXCEEDED", gateway.stub.CreateFineTune, request,
                                 metadata=bearer(ART))
            self.assertIn("1 credits of 5 credits left", error.details())
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT_QUOTA_EXCEEDED", gateway.stub.CreateFineTune, a_create(),
                     metadata=bearer(ART))  # Without steps it has no price.
        metrics = gateway.admin("/metrics")[1]
        self.assertIn('finetune_gateway_budget_refusals_total{budget="art-month"} 2', metrics)
        self.assertIn('finetune_gateway_budget_warnings_total{budget="art-month"} 1', metrics)

        unpriced = self.create(gateway, token=SEA)
        self.assertTrue(unpriced.unpriced)
        self.emulator.call("POST", f"/emulator/jobs/{first.upstream_id}", {"status": "FAILED", "error_message": "no"})
        by_team = lambda: {row.group: row for row in self.spending(gateway, group_by=svc.GetSpendingRequest.TEAM)}
        wait_until("the failure to be known", lambda: by_team()["art"].failed_jobs == 1)
        art, sea = by_team()["art"], by_team()["sea"]
        self.assertEqual((art.jobs, art.open_jobs, art.costs[0].micros, art.failed_costs[0].micros), (2, 1, 4_000_000, 2_000_000))
        self.assertEqual((sea.jobs, sea.unpriced_jobs, len(sea.costs)), (1, 1, 0))
        self.assertEqual([row.group for row in self.spending(gateway, token=SEA)], ["sea"], "others' spending is not shown")
        by_label = self.spending(gateway, group_by=svc.GetSpendingRequest.LABEL, label_key="cost-center")
        self.assertEqual({row.group: row.jobs for row in by_label}, {"7": 2, "": 1})

        token = self.folder / "boss-token"
        token.write_text(BOSS)
        token.chmod(0o600)
        spend = [BIN / "finetune", "spend", "--by", "team", "--server", gateway.address, "--token-file", token, "--allow-insecure-token"]
        done = subprocess.run([*spend, "-o", "csv"], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {row["team"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
        self.assertEqual((rows["art"]["cost"], rows["art"]["failed_cost"]), ("4 credits", "2 credits"))
        self.assertEqual(rows["sea"]["unpriced"], "1")
        shown = subprocess.run(spend, capture_output=True, text=True, timeout=30, check=True).stdout
        self.assertIn("TEAM", shown.upper())

    def test_labels_that_money_is_counted_by_stay_and_the_policy_may_change(self):
        self.write_policy([{"name": "center", "label": {"key": "cost-center"}, "period": "DAY", "jobs": 2}])
        gateway = self.gateway()
        made = self.create(gateway)
        for labels, token in (({"cost-center": "8"}, ART), ({"cost-center": "7"}, SEA)):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", gateway.stub.CreateFineTune, a_create(labels=labels),
                         metadata=bearer(token))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", gateway.stub.UpdateFineTune, svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made.name, labels={"cost-center": "8"}), update_mask={"paths": ["labels.cost-center"]}),
            metadata=bearer(BOSS))
        # A budget that comes later counts what came before it.
        self.write_policy([{"name": "late", "caller": "art", "period": "MONTH", "jobs": 1}])
        wait_until("the new policy", lambda: "policy changed" in gateway.log)
        wait_until("it to count", lambda: self.quotas(gateway).get("budget:late", svc.QuotaUse()).used == 1)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT_QUOTA_EXCEEDED", gateway.stub.CreateFineTune, a_create(),
                     metadata=bearer(ART))
        gateway.kill()
        gateway = self.gateway()
        self.assertEqual(self.quotas(gateway)["budget:late"].used, 1)
        end = self.quotas(gateway)["budget:late"].reset_time.ToDatetime()
        self.assertEqual((end.day, end.hour), (1, 0))


class Credits(Budgets):
    """What Segmind's account has left."""

    def setUp(self):
        super().setUp()
        self.write_policy([], prices=[{"base_model": "FAST_FLUX", "base_micros": "2000000"}])
        self.emulator.call("POST", "/emulator/settings", {"credits": 5, "price_per_job": 2})

    def start(self, *flags):
        return self.start_gateway(self.emulator, "--policy_file", self.policy, *flags).ready()

    def status(self, gateway):
        return gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20, metadata=bearer(BOSS))

    def finetune(self, gateway, *args):
        token = self.folder / "boss-token"
        token.write_text(BOSS)
        token.chmod(0o600)
        return subprocess.run([BIN / "finetune", *args, "--server", gateway.address, "--token-file", token, "--allow-insecure-token"],
                              capture_output=True, text=True, timeout=30, check=True).stdout

    def test_they_are_read_shown_used_up_and_asked_for_before_anything_is_sent(self):
        gateway = self.start("--require_credits")
        wait_until("them to be told", lambda: self.status(gateway).credits.micros == 5_000_000)
        self.assertIn("5 left", self.finetune(gateway, "status"))
        self.assertRegex(gateway.admin("/metrics")[1], r"(?m)^finetune_gateway_credits 5$")
        self.create(gateway)
        wait_until("one to be paid", lambda: self.status(gateway).credits.micros == 3_000_000)
        self.create(gateway)
        wait_until("the other one to be paid", lambda: self.status(gateway).credits.micros == 1_000_000)
        check = a_create()
        check.validate_only = True
        for request in (a_create(), check):
            error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_CREDITS_EXHAUSTED", gateway.stub.CreateFineTune, request,
                                 metadata=bearer(ART))
            self.assertIn("has 1 credits left, which do not pay for this job (2); nothing was sent", error.details())
        self.assertEqual(len(self.emulator.submits()), 2)
        self.assertEqual(sum(row.jobs for row in self.spending(gateway)), 2)

    def test_what_says_nothing_breaks_nothing_and_segmind_decides(self):
        answers = [{"kind": "status", "code": 404, "body": '{"error":"no such page"}'}, {"kind": "status", "code": 200, "body": "<html>5</html>"},
                   {"kind": "status", "code": 200, "body": '{"credits": -3}'}, {"kind": "status", "code": 200, "body": '{"credits": 1e300}'},
                   {"kind": "status", "code": 200, "body": '{"left": 5}'}, {"kind": "status", "code": 200, "body": '{"credits": "many"}'},
                   {"kind": "status", "code": 500, "body": ""}]
        self.emulator.call("POST", "/emulator/settings", {"credits_header": False, "credits": 1, "no_credits_code": 402})
        gateway = None
        for answer in answers:
            self.emulator.clear_faults()
            self.emulator.fault("credits", count=-1, **answer)
            gateway = self.start("--require_credits", "--credits_poll_interval", "100ms")
            before = self.emulator.calls("credits")
            wait_until("some looks", lambda: self.emulator.calls("credits") >= before + 3)
            status = self.status(gateway)
            self.assertFalse(status.HasField("credits"), answer)
            self.assertEqual(status.upstream_state, svc.GatewayStatus.HEALTHY, answer)
            self.assertIn("credits       unknown", self.finetune(gateway, "status"))
            self.assertRegex(gateway.admin("/metrics")[1], r"(?m)^finetune_gateway_credits Nan$")
            # Segmind says no itself.
            self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_CREDITS_EXHAUSTED", gateway.stub.CreateFineTune, a_create(),
                         metadata=bearer(ART))
            if answer is not answers[-1]:
                gateway.terminate(10)
                gateway.close()
        # And it is known as soon as it is told.
        self.emulator.clear_faults()
        wait_until("them to be told", lambda: self.status(gateway).credits.micros == 1_000_000)

    def test_what_segmind_says_that_a_job_costs_counts(self):
        gateway = self.start()
        made = self.create(gateway)
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"list_item": {"credits_used": 3.5}, "details": {"credits_used": 3.5}})
        wait_until("the price to be told", lambda: gateway.stub.GetFineTune(
            svc.GetFineTuneRequest(name=made.name), timeout=20, metadata=bearer(BOSS)).billed_cost.micros == 3_500_000)
        self.assertEqual([cost.micros for row in self.spending(gateway) for cost in row.costs], [3_500_000])
        self.assertIn("3.5 credits, as Segmind says", self.finetune(gateway, "get", made.name, "-o", "table"))


class Readme(Budgets):
    def test_two_teams_get_a_monthly_budget_as_the_readme_has_it(self):
        readme = (SOURCE / "server/access/README.md").read_text()
        section = readme[readme.index("## Two teams get a monthly budget"):]
        steps = re.search(r"```sh\n(.*?)```", section, re.S).group(1)
        credentials.Certificates(self.folder / "certs", "search")
        (self.folder / "token").write_text(BOSS + "\n")
        (self.folder / "token").chmod(0o600)
        ports = self.folder / "ports"
        gateway = self.folder / "gateway"
        gateway.write_text(f"#!/bin/bash\necho $$ > pid\nexec {BIN}/finetune-gateway --listen 127.0.0.1:0 --webhook_listen 127.0.0.1:0 "
                           f"--admin_listen 127.0.0.1:0 --port_file {ports} --drain_delay 0s \"$@\"\n")
        gateway.chmod(0o755)
        self.addCleanup(lambda: os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL))
        steps = steps.replace("segmind-emulator --api_key demo --check_datasets=false &\n", "").replace("=demo", f"={API_KEY}")
        serve, use = steps.replace("http://127.0.0.1:8090", self.emulator.url).split("certs/ca.crt &\n")
        serve = serve.replace("finetune-gateway ", "./gateway ") + "certs/ca.crt >gateway.log 2>&1 &\n"
        subprocess.run(["bash", "-euo", "pipefail", "-c", serve], cwd=self.folder, check=True, timeout=60, stdout=subprocess.DEVNULL)
        port = wait_until("the gateway", lambda: ports.exists() and json.loads(ports.read_text())["grpc"])
        done = subprocess.run(["bash", "-c", use], cwd=self.folder, capture_output=True, text=True, timeout=60, env={
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "FINETUNE_SERVER": f"localhost:{port}"})
        said = done.stdout + done.stderr
        self.assertIn("1.5 credits, as estimated", done.stdout, said)
        self.assertEqual(done.stderr.count("warning: budget search-month: 3 credits of 4 credits used"), 1, said)
        self.assertIn("budget search-month: 1 credits of 4 credits left until", done.stderr, said)
        self.assertIn("budget:search-month: 3 of 4 credits used", done.stdout, said)
        self.assertIn("3 credits", done.stdout.split("TEAM")[1], said)
        self.assertIn(",search,2,", done.stdout, said)
        self.assertEqual(len(self.emulator.submits()), 2)


@unittest.skipUnless(postgres.FOLDERS, "there is no PostgreSQL here")
class OnPostgres(OneRecord):
    # What another gateway had submitted may come later.
    times = ("--settle_time", "12s", "--submit_timeout", "2s")

    def setUp(self):
        super().setUp()
        self.server = postgres.Server()
        self.addCleanup(self.server.remove)
        self.store_flags = self.server.flags


@unittest.skipUnless(postgres.FOLDERS, "there is no PostgreSQL here")
class OnReplicas(OnPostgres):
    """Three gateways on one record."""

    def start_replica(self, number):
        return self.start_gateway(self.emulator, "--policy_file", self.policy, *self.times, "--replica_name", f"replica-{number}",
                                  *self.store_flags).ready()

    def test_a_monthly_budget_holds_whatever_dies(self):
        """N creates over 50 connections to all of them, each killed in its turn: N jobs, never one more."""
        budget = 20
        self.write_policy([{"name": "art-month", "team": "art", "period": "MONTH", "time_zone": "Europe/Berlin", "jobs": budget},
                           {"name": "all-week", "account": True, "period": "WEEK", "jobs": 1000, "soft": True}])
        replicas = [self.start_replica(number) for number in range(3)]
        stop = threading.Event()

        def hammer(number):
            while not stop.is_set():
                with grpc.insecure_channel(replicas[number % 3].address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                    try:
                        rpc.FineTuneServiceStub(channel).CreateFineTune(a_create(), timeout=20, metadata=bearer(ART))
                    except grpc.RpcError:
                        stop.wait(0.05)

        threads = [threading.Thread(target=hammer, args=(number,), daemon=True) for number in range(50)]
        for thread in threads:
            thread.start()
        for number, taken in enumerate((1, 5, 12)):
            wait_until("some jobs to be made", lambda: len(self.emulator.submits()) >= taken, 60)
            replicas[number].kill()
            replicas[number].close()
            replicas[number] = self.start_replica(number)
        # What a kill left unknown is settled as made or given back, and what was given back may be spent.
        wait_until("the budget to be spent on jobs", lambda: len(self.emulator.submits()) == budget, 120)
        stop.set()
        for thread in threads:
            thread.join(30)
        for gateway in replicas:
            wait_until("all to be settled", lambda: all(
                j.state != j.SUBMIT_UNKNOWN for j in gateway.stub.ListFineTunes(
                    svc.ListFineTunesRequest(page_size=1000), timeout=20, metadata=bearer(BOSS)).fine_tunes), 60)
            self.assertEqual(self.quotas(gateway)["budget:art-month"].used, budget)
            self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT_QUOTA_EXCEEDED", gateway.stub.CreateFineTune, a_create(),
                         metadata=bearer(ART))
            self.assertEqual(sum(row.jobs for row in self.spending(gateway)), budget)
        self.assertEqual(len(self.emulator.submits()), budget)
        self.assertEqual(self.server.sql("SELECT sum(jobs) FROM finetune.spending").stdout.strip(), str(budget))

    def test_the_leader_alone_reads_the_credits_and_all_know_them(self):
        self.write_policy([])
        self.emulator.call("POST", "/emulator/settings", {"credits": 77.5})
        replicas = [self.start_replica(number) for number in range(3)]
        for gateway in replicas:
            told = lambda: gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20, metadata=bearer(BOSS)).credits
            wait_until("the credits to be told", lambda: told().micros == 77_500_000)
        self.assertEqual(self.emulator.calls("credits"), 1)


def load_tests(loader, tests, pattern):
    """OneRecord is for its heirs alone."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (OnSqlite, Credits, Readme, OnPostgres, OnReplicas))


if __name__ == "__main__":
    unittest.main()
