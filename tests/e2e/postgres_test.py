"""The record in a PostgreSQL database: one gateway, its restarts and the server's, and the way there from a file."""

import collections
import shutil
import signal
import subprocess
import threading
import time
import unittest
import uuid

import grpc

import postgres
from harness import BIN, EndToEnd, ft, job, reason_of, svc, wait_until

@unittest.skipUnless(postgres.FOLDERS, "there is no PostgreSQL here")
class Postgres(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=0)
        self.server = postgres.Server()
        self.addCleanup(self.server.remove)

    def gateway(self):
        return self.start_gateway(self.emulator, *self.server.flags).ready()

    def create(self, gateway, request_id):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(f"{self.emulator.url}/x.zip", name=f"job-{request_id[:8]}"), request_id=request_id), timeout=20)

    def answer(self, gateway, request_id):
        try:
            return self.create(gateway, request_id).name
        except grpc.RpcError as error:
            return reason_of(error)

    def refused_start(self, *args):
        done = subprocess.run(
            [BIN / "finetune-gateway", "--listen", "127.0.0.1:0", "--webhook_listen", "127.0.0.1:0", "--admin_listen", "127.0.0.1:0",
             "--upstream_url", self.emulator.url, "--api_key_file", self.folder / "api-key", *args],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.startswith("finetune-gateway: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertNotIn("geheim", done.stderr)
        return lines[0]

    def synced_token(self, gateway):
        stream = gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(), timeout=30)
        token = next(r for r in stream if r.WhichOneof("event") == "synced").resume_token
        stream.cancel()
        return token

    def test_nothing_is_lost_by_kills_of_either_side(self):
        gateway = self.gateway()
        ids = [str(uuid.uuid4()) for _ in range(6)]
        made = {i: self.create(gateway, i).name for i in ids[:3]}
        token = self.synced_token(gateway)
        gateway.kill()
        gateway = self.gateway()
        self.assertEqual({i: self.create(gateway, i).name for i in ids[:3]}, made)
        stream = gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(resume_token=token), timeout=30)
        self.assertNotEqual(next(stream).WhichOneof("event"), "restart", "what was kept is resumed exactly")
        stream.cancel()

        # Whoever was killed is missed. Before that a new server would wait for what only that one may have known.
        wait_until("it to be missed", lambda: self.server.sql("SELECT count(*) FROM finetune.members WHERE expires > 0").stdout == "1\n")

        # The server goes: reads go on, nothing is posted, and it comes back by itself.
        self.server.stop(signal.SIGQUIT)
        before = len(self.emulator.submits())
        self.assertEqual(self.answer(gateway, ids[3]), "STORE_UNAVAILABLE")
        self.assertEqual(len(self.emulator.submits()), before)
        self.assertEqual(len(gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10).fine_tunes), 3)
        self.assertEqual(gateway.admin("/readyz")[0], 200)
        self.server.start()
        wait_until("submissions to be taken again", lambda: self.answer(gateway, ids[3]).startswith("fineTunes/"))
        for request_id in ids:
            wait_until("it to be taken", lambda i=request_id: self.answer(gateway, i).startswith("fineTunes/"))
        self.assertEqual(len(self.emulator.submits()), len(ids))
        self.assertEqual(self.emulator.call("GET", "/emulator/duplicates"), [])
        self.assertEqual(gateway.terminate(), 0)

    def test_a_start_waits_for_whoever_stands_in_its_way(self):
        """Again and again, each time for longer than any one statement waits: whatever step of the start it meets, the next attempt goes on."""
        self.gateway().terminate()
        holds = "DO $$ BEGIN FOR i IN 1..4 LOOP PERFORM seq FROM finetune.meta FOR UPDATE; PERFORM pg_sleep(2.5); COMMIT; " \
                "PERFORM pg_sleep(0.003); COMMIT; END LOOP; END $$"
        holder = threading.Thread(target=self.server.sql, args=(holds,))
        holder.start()
        self.addCleanup(holder.join)
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        wait_until("the row to be locked", lambda: self.server.sql(sleeping).stdout == "1\n")
        self.create(self.gateway(), str(uuid.uuid4()))

    def test_a_second_gateway_has_the_same_record(self):
        first, second = self.gateway(), self.gateway()
        made = self.create(first, str(uuid.uuid4())).name
        self.assertEqual(second.stub.GetFineTune(svc.GetFineTuneRequest(name=made), timeout=10).name, made)
        self.assertEqual(first.terminate(), 0)
        self.assertTrue(self.create(second, str(uuid.uuid4())).name)

    def test_a_password_in_sight_is_refused(self):
        (self.folder / "api-key").write_text("key")
        self.assertIn("--store_password_file", self.refused_start("--store", "postgresql://admin:geheim@localhost/postgres"))

    def test_says_who_reads_segmind_and_leads_anew_after_a_kill(self):
        def status():
            return gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=10)

        def start():
            return self.start_gateway(self.emulator, *self.server.flags).ready()

        def leads():
            return any(one.leader for one in status().replicas)

        gateway = start()
        wait_until("it to lead", leads)
        self.assertEqual((status().store, [one.name for one in status().replicas]), ("postgresql", [status().replica]))
        term = status().leader_term
        metrics = gateway.admin("/metrics")[1]
        for line in (f"finetune_gateway_leader_term {term}", "finetune_gateway_leader 1", "finetune_gateway_members 1",
                     "finetune_gateway_store_reachable 1", "finetune_gateway_store_lag_seconds 0"):
            self.assertIn(line, metrics)
        # Nobody gave the lead up: it is taken once the lease has ended.
        gateway.kill()
        killed = time.monotonic()
        gateway = start()
        wait_until("the next process to lead", lambda: status().leader_term > term)
        self.assertLess(time.monotonic() - killed, 10)
        # And at once if it was given up.
        term = status().leader_term
        self.assertEqual(gateway.terminate(), 0)
        gateway = start()
        wait_until("the third process to lead", lambda: status().leader_term > term, seconds=3)

    def move_command(self, source, target):
        return [BIN / "finetune-gateway", "copy-store", "--from", source, "--to", target, "--store_password_file", self.server.password]

    def move(self, source, target):
        return subprocess.run(self.move_command(source, target), capture_output=True, text=True, check=False)

    def check_moved(self, gateway, kept, made, token):
        """All that its callers hold is good at the other place."""
        self.assertEqual(self.create(gateway, kept).name, made)
        self.assertEqual(gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=made), timeout=10).labels["a"], "1")
        stream = gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(resume_token=token), timeout=30)
        self.assertNotEqual(next(stream).WhichOneof("event"), "restart")
        stream.cancel()
        self.assertEqual(len(self.emulator.submits()), 1)

    def test_a_move_that_is_killed_at_any_moment_is_finished_by_the_same_one(self):
        gateway = self.start_gateway(self.emulator).ready()
        kept = str(uuid.uuid4())
        made = self.create(gateway, kept).name
        self.assertEqual(gateway.terminate(), 0)
        original = self.folder / "store.db"
        took = 0.3
        interrupted = collections.Counter()
        for attempt in range(20):
            self.server.sql(f"CREATE DATABASE killed{attempt}")
            file, target = self.folder / f"killed{attempt}.db", self.server.url.replace("/postgres", f"/killed{attempt}")
            shutil.copy(original, file)
            begun = time.monotonic()
            move = subprocess.Popen(self.move_command(f"sqlite:{file}", target), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                move.wait((0.3 + 0.7 * attempt / 20) * took)
            except subprocess.TimeoutExpired:
                move.kill()
                move.wait()
            took = max(took, time.monotonic() - begun)
            # Nobody starts on either of two places that may both have it.
            there = self.server.sql("SELECT count(*) FROM finetune.meta WHERE seq > 0", database=f"killed{attempt}", check=False).stdout.strip()
            if there == "1":
                self.assertIn("was moved" if move.returncode == 0 else "moved", self.refused_start("--store", f"sqlite:{file}"))
            again = self.move(f"sqlite:{file}", target)
            interrupted["done" if move.returncode == 0 else "there" if there == "1" else "not there"] += 1
            if again.returncode != 0:
                self.assertIn("was moved", again.stderr)
            self.assertIn("was moved", self.refused_start("--store", f"sqlite:{file}"))
            self.assertEqual(self.server.sql("SELECT count(*) FROM finetune.intents", database=f"killed{attempt}").stdout.strip(), "1")
        print(f"\n20 moves: {dict(interrupted)}", flush=True)
        gateway = self.start_gateway(self.emulator, "--store", target, "--store_password_file", self.server.password).ready()
        self.assertEqual(self.create(gateway, kept).name, made)
        self.assertEqual(len(self.emulator.submits()), 1)
        self.assertEqual(gateway.terminate(), 0)

    def test_a_record_moves_from_a_file_and_back(self):
        gateway = self.start_gateway(self.emulator).ready()
        kept = str(uuid.uuid4())
        made = self.create(gateway, kept).name
        gateway.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made, labels={"a": "1"}), update_mask={"paths": ["labels"]}), timeout=20)
        token = self.synced_token(gateway)
        file, back = f"sqlite:{self.folder}/store.db", f"sqlite:{self.folder}/back.db"
        self.assertIn("in use", self.move(file, self.server.url).stderr)
        self.assertEqual(gateway.terminate(), 0)
        self.assertIn("must be a file", self.move(file, back).stderr)
        done = self.move(file, self.server.url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("was moved", self.refused_start("--store", file))
        gateway = self.gateway()
        self.check_moved(gateway, kept, made, token)
        token = self.synced_token(gateway)

        self.assertIn("gateway", self.move(self.server.url, back).stderr)
        self.assertEqual(gateway.terminate(), 0)
        done = self.move(self.server.url, back)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"start with --store={back}", self.refused_start(*self.server.flags))
        gateway = self.start_gateway(self.emulator, "--store", back).ready()
        self.check_moved(gateway, kept, made, token)
        self.assertEqual(gateway.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
