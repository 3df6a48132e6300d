"""A database that has no room, no connections or only reads left: writes are refused with its reason, reads go on, and all heals by itself."""

import signal
import threading
import time
import unittest
import uuid

import grpc

import fleet_world
import postgres
from fleet_world import FleetWorld
from harness import EndToEnd, State, job, reason_of, svc, wait_until


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class Refusing(EndToEnd):
    """Two replicas and jobs that go on."""

    def start_world(self, **more):
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.world = FleetWorld(self.folder, self.emulator, replicas=2, **more)
        self.addCleanup(self.world.end)
        self.world.start_all()
        wait_until("a leader", lambda: any(r.metrics().get("finetune_gateway_leader") == 1 for r in self.world.replicas))
        self.made = [self.create(replica, str(uuid.uuid4())) for replica in self.world.replicas]
        for replica in self.world.replicas:
            wait_until("it to know both", lambda r=replica: len(r.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=5).fine_tunes) == 2)
        return self.world.primary

    def create(self, replica, request_id, seconds=10):
        # Large, so that pages fill up soon.
        return replica.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(name=f"job-{request_id[:8]}", labels={f"l{i}": "x" * 60 for i in range(20)}), request_id=request_id), timeout=seconds)

    def refusal(self, replica, request_id):
        """Why it is refused; None if it is not."""
        try:
            self.create(replica, request_id)
            return None
        except grpc.RpcError as error:
            self.assertEqual((error.code(), reason_of(error)), (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"), error.details())
            return error.details()

    def refused(self, replica, words, open_ids):
        """Until it is, with these words; what was taken before is done, and what was refused is in `open_ids`."""
        def once():
            request_id = str(uuid.uuid4())
            open_ids.append((replica, request_id))
            why = self.refusal(replica, request_id)
            return why is not None and words in why and why
        return wait_until(f"a refusal that says '{words}'", once, seconds=60)

    def reads_go_on(self):
        for replica in self.world.replicas:
            for made in self.made:
                # What a lagging memory does not have is asked of the database; this it has.
                found = replica.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=5)
                self.assertEqual(found.upstream_id, made.upstream_id)
            self.assertGreaterEqual(len(replica.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=5).fine_tunes), len(self.made))
            self.assertEqual(replica.gateway.admin("/readyz")[0], 200)

    def age(self, replica):
        return time.time() - replica.status().observe_time.ToNanoseconds() / 1e9

    def heals(self, open_ids):
        """Whoever was refused repeats the request_id, wherever: each has one job."""
        for replica, request_id in open_ids:
            other = self.world.replicas[1 - replica.number]
            wait_until("it to be taken again", lambda r=other, i=request_id: self.refusal(r, i) is None, seconds=60)
        taken = [submit["name"] for submit in self.emulator.submits()]
        self.assertEqual(len(taken), len(self.made) + len(open_ids))
        self.assertEqual(self.emulator.call("GET", "/emulator/duplicates"), [])
        # Segmind is read anew, and all show what it says.
        made = self.made[0]
        self.emulator.call("POST", f"/emulator/jobs/{made.upstream_id}", {"status": "TRAINING_COMPLETED"})
        for replica in self.world.replicas:
            wait_until("the job's end", lambda r=replica: r.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=5).state == State.TRAINED)
            wait_until("a young view", lambda r=replica: self.age(r) < 3)
            wait_until("the store to be well", lambda r=replica: r.metrics()["finetune_gateway_store_writable"] == 1)


class FullDisk(Refusing):
    def setUp(self):
        super().setUp()
        if why := postgres.Disk.missing():
            self.skipTest(why)
        self.server = self.start_world(own_disk=True)
        self.disk = self.server.disk

    def test_a_full_disk(self):
        open_ids = []
        self.disk.fill()
        for replica in self.world.replicas:
            self.assertIn("No space left on device", self.refused(replica, "its disk is full", open_ids))
            wait_until("the metric to say so", lambda r=replica: r.metrics()["finetune_gateway_store_writable"] == 0)
        posted = len(self.emulator.submits())
        for replica in self.world.replicas:
            open_ids.append((replica, str(uuid.uuid4())))
            self.assertIn("its disk is full", self.refusal(*open_ids[-1]))
        self.assertEqual(len(self.emulator.submits()), posted, "what could not be prepared was posted")
        self.reads_go_on()
        # One that starts now waits for room, if it needs any.
        restarted = self.world.replicas[0]
        restarted.end()
        starting = threading.Thread(target=restarted.start)
        starting.start()
        time.sleep(3)
        self.disk.free()
        starting.join(60)
        self.assertIsNotNone(restarted.gateway, "it ended for want of room")
        restarted.gateway.ready()
        self.heals(open_ids)

    def test_a_full_disk_under_the_log(self):
        """The server ends, and what restarts servers finds no room for it until somebody makes some."""
        open_ids = []
        self.disk.fill(left=1 << 20)
        write = ("CREATE TABLE IF NOT EXISTS public.filler (x text); "
                 "INSERT INTO public.filler SELECT repeat(md5(random()::text), 50) FROM generate_series(1, 20000)")
        wait_until("the server to end", lambda: self.server.sql(write, check=False) and "PANIC" in self.server.log, seconds=60, step=0.1)
        self.server.stop(signal.SIGQUIT)
        for replica in self.world.replicas:
            self.refused(replica, "", open_ids)
        self.reads_go_on()
        ages = [self.age(replica) for replica in self.world.replicas]
        time.sleep(2)
        for replica, before in zip(self.world.replicas, ages):
            self.assertGreater(self.age(replica), before + 1.5, "nobody reads Segmind, and all say so")
            # By now, or once its lease has ended.
            wait_until("Segmind to be in doubt", lambda r=replica: r.status().upstream_state == svc.GatewayStatus.DEGRADED, seconds=10)
        self.disk.free()
        self.server.come_back()
        self.heals(open_ids)


class OtherReasons(Refusing):
    def test_no_connection_left(self):
        server = self.start_world(user="gate")
        open_ids = []
        server.sql("ALTER ROLE gate CONNECTION LIMIT 0")
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gate'")
        for replica in self.world.replicas:
            self.refused(replica, "too many connections", open_ids)
        self.reads_go_on()
        server.sql("ALTER ROLE gate CONNECTION LIMIT -1")
        self.heals(open_ids)

    def test_too_few_connections_for_all(self):
        """Each would have three: whoever can write goes on, and one of them reads Segmind."""
        server = self.start_world(user="gate")
        server.sql("ALTER ROLE gate CONNECTION LIMIT 5")
        for _ in range(4):
            server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gate'")

            def written(before=len(self.made)):
                for replica in self.world.replicas:
                    try:
                        self.made.append(self.create(replica, str(uuid.uuid4()), seconds=5))
                    except grpc.RpcError as error:
                        self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error.details())
                return len(self.made) > before
            wait_until("somebody to take submissions", written, seconds=40)
            job_id = self.emulator.submits()[-1]["id"]
            self.emulator.call("POST", f"/emulator/jobs/{job_id}", {"status": "TRAINING_COMPLETED"})
            wait_until("Segmind to be read", lambda i=job_id: any(self.is_trained(replica, i) for replica in self.world.replicas), seconds=40)
        server.sql("ALTER ROLE gate CONNECTION LIMIT -1")
        for replica in self.world.replicas:
            wait_until("a young view", lambda r=replica: self.age(r) < 3, seconds=40)
            wait_until("all to be shown", lambda r=replica: self.is_trained(r, job_id))
        self.assertEqual(self.emulator.call("GET", "/emulator/duplicates"), [])

    @staticmethod
    def is_trained(replica, upstream_id):
        try:
            return any(found.upstream_id == upstream_id and found.state == State.TRAINED for found in replica.stub.ListFineTunes(
                svc.ListFineTunesRequest(page_size=100), timeout=5).fine_tunes)
        except grpc.RpcError:
            return False

    def test_an_address_that_leads_to_a_standby_for_a_while(self):
        self.start_world(standby="asynchronous")
        open_ids = []
        for replica in self.world.replicas:
            replica.database.retarget(self.world.standby.socket)
            replica.database.reset()
        for replica in self.world.replicas:
            self.refused(replica, "standby", open_ids)
        self.reads_go_on()
        # Nobody ends what goes to the standby: it is for the gateways to look elsewhere.
        for replica in self.world.replicas:
            replica.database.retarget(self.world.primary.socket)
        self.heals(open_ids)
        # All of their connections: whoever gives no sign of life where it is heard is missed after eight seconds.
        time.sleep(9)
        for replica in self.world.replicas:
            self.assertEqual(replica.metrics()["finetune_gateway_members"], 2)
        self.assertEqual(self.world.standby.backends(), [])
        self.assertEqual(self.world.primary.sql("SELECT count(*) FROM finetune.members WHERE expires > 1").stdout, "2\n")


if __name__ == "__main__":
    unittest.main()
