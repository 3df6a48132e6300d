"""How much callers may do: budgets that hold through crashes, limits that say when to come back, swaps under load."""

import ssl
import threading
import time
import unittest
import uuid

import credentials
from harness import EndToEnd, details_of, grpc, job, rpc, svc, wait_until

TOKEN = "token-of-the-spender-0123456789"
SECOND = "second-token-of-the-spender-0123"


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


class Quota(EndToEnd):
    def start(self, scale=0, **limits):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=scale)
        self.policy = credentials.write_policy(
            self.folder / "policy.json", [credentials.caller("spender", "SUBMITTER", TOKEN, limits=limits)])
        return self.restart()

    def restart(self):
        return self.start_gateway(self.emulator, "--policy_file", self.policy, "--settle_time", "2s").ready()

    @staticmethod
    def create(stub, **more):
        request_id = str(uuid.uuid4())
        return stub.CreateFineTune(
            svc.CreateFineTuneRequest(request_id=request_id, fine_tune=job(name=f"job-{request_id[:8]}"), **more),
            timeout=20, metadata=bearer(TOKEN))

    def quotas(self, gateway):
        status = gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20, metadata=bearer(TOKEN))
        return {quota.metric: (quota.used, quota.limit) for quota in status.quotas}

    def refused_by(self, metric, call, *args):
        error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT_QUOTA_EXCEEDED", call, *args, metadata=bearer(TOKEN))
        details = details_of(error)
        self.assertIn(metric, details["QuotaFailure"].violations[0].description)
        self.assertEqual(details["QuotaFailure"].violations[0].subject, "caller:spender")
        delay = details["RetryInfo"].retry_delay
        return delay.seconds + delay.nanos / 1e9

    def a_create(self):
        request_id = str(uuid.uuid4())
        return svc.CreateFineTuneRequest(request_id=request_id, fine_tune=job(name=f"job-{request_id[:8]}"))

    def test_a_budget_holds_whatever_dies(self):
        """N creates, hammered over 50 connections with kills in between: N jobs, never one more."""
        budget = 20
        gateway = self.start(creates_per_day=budget)
        stop = threading.Event()
        address = [gateway.address]

        def hammer():
            while not stop.is_set():
                with grpc.insecure_channel(address[0], options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                    try:
                        self.create(rpc.FineTuneServiceStub(channel))
                    except grpc.RpcError:
                        stop.wait(0.01)

        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(50)]
        for thread in threads:
            thread.start()
        for taken in (1, 4, 9, 15):
            wait_until("some jobs to be made", lambda: len(self.emulator.submits()) >= taken)
            gateway.kill()
            gateway.close()
            gateway = self.restart()
            address[0] = gateway.address
        wait_until("the budget to be spent", lambda: self.quotas(gateway)["creates_per_day"] == (budget, budget), 60)
        calls = self.emulator.calls("submit")
        time.sleep(1)  # Of hammering at an empty purse.
        stop.set()
        for thread in threads:
            thread.join(30)
        self.assertLessEqual(len(self.emulator.submits()), budget)
        self.assertEqual(self.emulator.calls("submit"), calls)
        # What a kill left unknown is settled as made or given back, and what was given back may be spent.
        wait_until("all submissions to be settled", lambda: all(
            j.state != j.SUBMIT_UNKNOWN for j in gateway.stub.ListFineTunes(
                svc.ListFineTunesRequest(), timeout=20, metadata=bearer(TOKEN)).fine_tunes), 60)
        while self.quotas(gateway)["creates_per_day"][0] < budget:
            self.create(gateway.stub)
        self.assertEqual(len(self.emulator.submits()), budget)
        seconds = self.refused_by("creates_per_day", gateway.stub.CreateFineTune, self.a_create())
        self.assertTrue(86000 < seconds <= 86400, seconds)

    def test_what_made_no_job_is_given_back(self):
        gateway = self.start(creates_per_day=1)
        self.emulator.fault("submit", "no_credits")
        for _ in range(3):
            self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_CREDITS_EXHAUSTED", gateway.stub.CreateFineTune,
                         self.a_create(), metadata=bearer(TOKEN))
        self.assertEqual(self.quotas(gateway)["creates_per_day"], (0, 1))
        self.emulator.clear_faults()
        request = self.a_create()
        made = gateway.stub.CreateFineTune(request, timeout=20, metadata=bearer(TOKEN))
        self.refused_by("creates_per_day", gateway.stub.CreateFineTune, self.a_create())
        again = gateway.stub.CreateFineTune(request, timeout=20, metadata=bearer(TOKEN))
        self.assertEqual(again.name, made.name, "a repeated request_id is no second create")
        self.assertEqual(self.quotas(gateway)["creates_per_day"], (1, 1))

    def test_active_jobs(self):
        gateway = self.start(active_jobs=2)
        first = self.create(gateway.stub)
        self.create(gateway.stub)
        self.refused_by("active_jobs", gateway.stub.CreateFineTune, self.a_create())
        self.assertEqual(self.quotas(gateway)["active_jobs"], (2, 2))
        self.emulator.call("POST", f"/emulator/jobs/{first.upstream_id}", {"status": "FAILED", "error_message": "no"})
        wait_until("a job to be over", lambda: self.quotas(gateway)["active_jobs"] == (1, 2))
        self.create(gateway.stub)
        self.refused_by("active_jobs", gateway.stub.CreateFineTune, self.a_create())

    def test_watchers_and_calls_a_second(self):
        gateway = self.start(watchers=2, calls_per_second=200)
        watch = lambda: gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(), metadata=bearer(TOKEN))
        streams = [watch(), watch()]
        for stream in streams:
            next(stream)
        self.refused_by("watchers", gateway.stub.WatchFineTunes, svc.WatchFineTunesRequest())
        streams[0].cancel()
        wait_until("a watch to end", lambda: self.quotas(gateway)["watchers"] == (1, 2))
        next(watch())
        credentials.write_policy(self.policy, [
            credentials.caller("spender", "SUBMITTER", TOKEN, limits={"calls_per_second": 0.001})])
        wait_until("the new policy", lambda: "policy changed" in gateway.log)
        for _ in range(3):
            try:
                self.quotas(gateway)
            except grpc.RpcError:
                pass
        self.assertGreater(self.refused_by("calls_per_second", gateway.stub.ListFineTunes, svc.ListFineTunesRequest()), 10)

    def test_swaps_under_load_fail_no_call(self):
        certificates = credentials.Certificates(self.folder / "certs", "dev")
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        spender = lambda *tokens: [credentials.caller("spender", "SUBMITTER", *tokens)]
        self.policy = credentials.write_policy(self.folder / "policy.json", spender(TOKEN))
        gateway = self.start_gateway(self.emulator, "--policy_file", self.policy, *certificates.flags(mutual=False)).ready()
        token, failures, calls, stop = [TOKEN], [], [0], threading.Event()

        def load():
            while not stop.is_set():
                with grpc.secure_channel(gateway.address, certificates.channel_credentials(),
                                         options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                    for _ in range(10):
                        try:
                            rpc.FineTuneServiceStub(channel).ListFineTunes(
                                svc.ListFineTunesRequest(), timeout=20, metadata=bearer(token[0]))
                            calls[0] += 1
                        except grpc.RpcError as error:
                            failures.append(f"{error.code()} {error.details()}")

        def policy(callers, line, count):
            credentials.write_policy(self.policy, callers)
            wait_until(line, lambda: gateway.log.count(line) >= count)

        threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        policy(spender(TOKEN, SECOND), "policy changed", 1)
        token[0] = SECOND
        before = calls[0]
        wait_until("calls with the second token", lambda: calls[0] > before + 50)
        policy(spender(SECOND), "policy changed", 2)
        policy([], "files refused", 1)
        before = (certificates.folder / "tls.crt").read_bytes()
        for old in ("tls.crt", "tls.key"):
            (certificates.folder / old).rename(certificates.folder / f"{old}.old")
        credentials.Certificates(certificates.folder, "dev")
        self.assertNotEqual(before, (certificates.folder / "tls.crt").read_bytes())
        host, port = gateway.address.split(":")

        new = (certificates.folder / "tls.crt").read_text().strip()
        wait_until("the new certificate", lambda: ssl.get_server_certificate((host, int(port))).strip() == new, 30, 0.2)
        stop.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual(failures, [])
        self.assertGreater(calls[0], 100)
        self.refused(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", rpc.FineTuneServiceStub(grpc.secure_channel(
            gateway.address, certificates.channel_credentials())).ListFineTunes, svc.ListFineTunesRequest(), metadata=bearer(TOKEN))


if __name__ == "__main__":
    unittest.main()
