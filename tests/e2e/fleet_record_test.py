"""Several gateways on one PostgreSQL: what is done at one is seen at the others, and a submission is one, whatever dies."""

import concurrent.futures
import signal
import threading
import unittest
import uuid

import grpc

import credentials
from harness import EndToEnd, ft, job, reason_of, svc, wait_until
from postgres import FOLDERS, Server
from quota_test import TOKEN, bearer


@unittest.skipUnless(FOLDERS, "there is no PostgreSQL here")
class FleetRecord(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=0)
        self.server = Server()
        self.addCleanup(self.server.remove)

    def gateway(self, *args):
        folder = self.folder / f"replica-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        return self.start_gateway(self.emulator, *self.server.flags, "--replica_name", folder.name,
                                  "--active_poll_interval", "300ms", "--idle_poll_interval", "1s", *args).ready()

    def create(self, gateway, request_id, timeout=30, metadata=()):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(f"{self.emulator.url}/x.zip", name=f"job-{request_id[:8]}"), request_id=request_id), timeout=timeout,
            metadata=metadata)

    def get(self, gateway, name, timeout=10, **more):
        return gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=name), timeout=timeout, **more)

    @staticmethod
    def metric(gateway, name):
        lines = [line for line in gateway.admin("/metrics")[1].splitlines() if line.startswith(name + " ")]
        return float(lines[0].split()[1])

    def test_what_is_done_at_one_is_seen_at_the_others(self):
        a, b, c = self.gateway(), self.gateway(), self.gateway()
        stream = b.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=60)
        self.assertEqual(next(stream).WhichOneof("event"), "synced")
        for i in range(20):
            made = self.create(a, str(uuid.uuid4()))
            # No NOT_FOUND, however soon: it asks before it says so.
            self.assertEqual(self.get((b, c)[i % 2], made.name).name, made.name)
        seen = {}
        for response in stream:
            if response.WhichOneof("event") == "change":
                seen[response.change.fine_tune.name] = response.resume_token
            if len(seen) == 20:
                break
        stream.cancel()
        # A label that is set at one is there for the etag at the next.
        name = made.name
        for _ in range(5):
            changed = b.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
                fine_tune=ft.FineTune(name=name, labels={"at": "b"}), update_mask={"paths": ["labels"]}), timeout=20)
            try:
                changed = c.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
                    fine_tune=ft.FineTune(name=name, labels={"at": "c"}, etag=changed.etag), update_mask={"paths": ["labels"]}), timeout=20)
                break
            except grpc.RpcError as error:
                # It may have gone on at Segmind meanwhile.
                self.assertEqual(error.code(), grpc.StatusCode.ABORTED)
        self.assertEqual(changed.labels["at"], "c")
        # Resumed at another one, exactly.
        stream = c.stub.WatchFineTunes(svc.WatchFineTunesRequest(resume_token=list(seen.values())[10]), timeout=30)
        first = next(stream)
        self.assertEqual(first.WhichOneof("event"), "change")
        stream.cancel()
        self.refused(grpc.StatusCode.NOT_FOUND, "FINE_TUNE_NOT_FOUND", self.get, b, "fineTunes/none")
        wait_until("all to show the same", lambda: len({
            (self.metric(g, "finetune_gateway_revision"), self.metric(g, "finetune_gateway_view_digest")) for g in (a, b, c)}) == 1)

    def test_a_session_never_goes_back(self):
        a, b = self.gateway(), self.gateway()
        call = a.stub.CreateFineTune.with_call
        made, answered = call(svc.CreateFineTuneRequest(
            fine_tune=job(f"{self.emulator.url}/x.zip"), request_id=str(uuid.uuid4())), timeout=20, metadata=[("finetune-session", "")])
        token = dict(answered.initial_metadata())["finetune-session"]
        for i in range(20):
            changed, answered = (a, b)[i % 2].stub.UpdateFineTune.with_call(svc.UpdateFineTuneRequest(
                fine_tune=ft.FineTune(name=made.name, labels={"i": str(i)}), update_mask={"paths": ["labels"]}),
                timeout=20, metadata=[("finetune-session", token)])
            token = dict(answered.initial_metadata())["finetune-session"]
            seen, answered = (b, a)[i % 2].stub.GetFineTune.with_call(
                svc.GetFineTuneRequest(name=made.name), timeout=20, metadata=[("finetune-session", token)])
            self.assertEqual(seen.labels["i"], str(i))
            self.assertNotIn("finetune-session-lost", dict(answered.initial_metadata()))
        _, answered = a.stub.GetFineTune.with_call(svc.GetFineTuneRequest(name=made.name), timeout=20)
        self.assertNotIn("finetune-session", dict(answered.initial_metadata()), "only who asks pays")

    def test_a_download_of_a_job_that_was_just_made_elsewhere_finds_it(self):
        a, b = self.gateway(), self.gateway()
        for _ in range(40):
            made = self.create(a, str(uuid.uuid4()))
            with self.assertRaises(grpc.RpcError) as refused:
                list(b.stub.DownloadWeights(svc.DownloadWeightsRequest(name=made.name), timeout=10))
            self.assertEqual(refused.exception.code(), grpc.StatusCode.FAILED_PRECONDITION, refused.exception.details())
        with self.assertRaises(grpc.RpcError) as refused:
            list(b.stub.DownloadWeights(svc.DownloadWeightsRequest(name="fineTunes/none"), timeout=10))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.NOT_FOUND)
        # Nobody can tell without the database.
        self.server.stop(signal.SIGQUIT)
        with self.assertRaises(grpc.RpcError) as refused:
            list(b.stub.DownloadWeights(svc.DownloadWeightsRequest(name="fineTunes/none"), timeout=10))
        self.assertEqual(reason_of(refused.exception), "STORE_UNAVAILABLE")

    def test_a_hundred_creates_with_one_request_id_are_one_submission(self):
        gateways = [self.gateway() for _ in range(3)]
        self.emulator.fault("submit", "latency", ms=300)
        request_id = str(uuid.uuid4())
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            names = list(pool.map(lambda i: self.create(gateways[i % 3], request_id).name, range(100)))
        self.assertEqual(len(set(names)), 1)
        self.assertEqual(len(self.emulator.submits()), 1)

    def test_a_kill_in_the_middle_of_a_post_leaves_one_job(self):
        a, b = self.gateway(), self.gateway()
        self.emulator.fault("submit", "stall")
        request_id = str(uuid.uuid4())
        thread = threading.Thread(target=lambda: self.answer(b, request_id))
        thread.start()
        wait_until("the POST to arrive", lambda: len(self.emulator.submits()) == 1)
        b.kill()
        thread.join()
        made = self.create(a, request_id, timeout=60)
        wait_until("the job to be found", lambda: self.get(a, made.name).upstream_id != "", seconds=60)
        self.assertEqual(len(self.emulator.submits()), 1)
        self.assertEqual(self.emulator.call("GET", "/emulator/duplicates"), [])

    def answer(self, gateway, request_id, metadata=()):
        try:
            return self.create(gateway, request_id, metadata=metadata).name
        except grpc.RpcError as error:
            return reason_of(error)

    def test_a_limit_counts_over_all_of_them(self):
        policy = credentials.write_policy(
            self.folder / "policy.json", [credentials.caller("spender", "SUBMITTER", TOKEN, limits={"creates_per_day": 7})])
        gateways = [self.gateway("--policy_file", policy) for _ in range(3)]
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda i: self.answer(gateways[i % 3], str(uuid.uuid4()), bearer(TOKEN)), range(30)))
        self.assertEqual(sum(answer.startswith("fineTunes/") for answer in answers), 7, answers)
        self.assertEqual(len(self.emulator.submits()), 7)

    def test_without_the_database_reads_go_on_and_all_heals(self):
        a, b = self.gateway(), self.gateway()
        made = self.create(a, str(uuid.uuid4()))
        self.get(b, made.name)
        before = len(self.emulator.submits())
        self.server.stop(signal.SIGQUIT)
        self.assertEqual(self.answer(b, str(uuid.uuid4())), "STORE_UNAVAILABLE")
        self.assertEqual(self.get(b, made.name).name, made.name)
        self.refused(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", self.get, b, "fineTunes/cannot-tell")
        self.assertEqual(b.admin("/readyz")[0], 200)
        self.assertEqual(len(self.emulator.submits()), before)
        late = threading.Thread(target=lambda: setattr(self, "late", self.gateway()))
        late.start()
        self.server.start()
        late.join()
        wait_until("submissions to be taken again", lambda: self.answer(b, str(uuid.uuid4())).startswith("fineTunes/"))
        self.assertEqual(self.get(self.late, made.name).name, made.name)
        wait_until("all to show the same", lambda: len({self.metric(g, "finetune_gateway_view_digest") for g in (a, b, self.late)}) == 1)


if __name__ == "__main__":
    unittest.main()
