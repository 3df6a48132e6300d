"""Gateways on tables of another version: a newer one's beside them, and their own made of an older one's.

The newer version does not exist yet. What it may do is written down in postgres_schema.h, and done here: it adds to the tables.
"""

import re
import unittest
import uuid

import grpc

import fleet_world
import postgres
from fleet_world import FleetWorld
from harness import SOURCE, EndToEnd, Gateway, job, reason_of, svc, wait_until

FORM = 3
# To all tables at once or to none, and never long in the way of those who commit: as gateways raise their tables.
ADD_TO_EACH = """
SET lock_timeout = '2s';
DO $$ DECLARE t text; BEGIN
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'finetune' LOOP
    EXECUTE format('ALTER TABLE finetune.%I ADD COLUMN added_later text NOT NULL DEFAULT ''later'', ADD COLUMN also_later bigint', t);
  END LOOP;
  CREATE TABLE finetune.added_later (id text PRIMARY KEY);
  CREATE INDEX changes_by_id ON finetune.changes (id, revision);
  UPDATE finetune.meta SET schema_form = %d;
END $$;
"""


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class Upgrade(EndToEnd):
    def some_more(self, world, count=3):
        before = len(world.acked)
        wait_until("more jobs to be acknowledged", lambda: len(world.acked) >= before + count, seconds=60)

    def test_a_newer_versions_tables_beside_this_version(self):
        emulator = self.start_emulator("--check_datasets=false", time_scale=20)
        world = FleetWorld(self.folder, emulator)
        self.addCleanup(world.end)
        world.start_all().load()
        self.some_more(world)
        wait_until("the newer version's tables", lambda: world.primary.sql(ADD_TO_EACH.replace("%d", str(FORM + 1)), check=False).returncode == 0)
        self.some_more(world)
        # This version is put back, or has yet to be replaced; and one of them dies.
        for replica in world.replicas:
            replica.end(seconds=40)
            replica.start()
        self.some_more(world)
        world.replicas[0].end()
        world.replicas[0].start()
        self.some_more(world)
        world.calm()
        world.check(self)
        self.assertEqual(world.primary.sql("SELECT schema_form FROM finetune.meta").stdout.strip(), str(FORM + 1))
        self.assertEqual(world.primary.sql("SELECT count(*) FROM finetune.fine_tunes WHERE added_later <> 'later'").stdout.strip(), "0")
        # The version after that does without this one: it ends, with a reason.
        world.primary.sql(f"UPDATE finetune.meta SET least_form = {FORM + 1}")
        world.replicas[0].end(seconds=40)
        with self.assertRaisesRegex(AssertionError, rf"newer version \(form {FORM + 1}\).*this one knows {FORM}"):
            world.replicas[0].start()

    def test_a_newer_version_that_lets_this_one_only_read(self):
        """As the ledger's did: the tables refuse what does not keep up what it added."""
        emulator = self.start_emulator("--check_datasets=false", time_scale=20)
        world = FleetWorld(self.folder, emulator, replicas=2)
        self.addCleanup(world.end)
        world.start_all().load()
        self.some_more(world)
        # Those whose commit is in the way are tried again, as the newer version would.
        wait_until("the newer version's tables", lambda: world.primary.sql(
            "SET lock_timeout = '2s'; ALTER TABLE finetune.meta ADD COLUMN added_seq bigint; UPDATE finetune.meta SET added_seq = seq; "
            "ALTER TABLE finetune.meta ADD CONSTRAINT written_by_newer_ones CHECK (added_seq = seq)", check=False).returncode == 0)
        submits = len(emulator.submits())
        with self.assertRaises(grpc.RpcError) as caught:
            world.replicas[0].stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job()), timeout=20)
        self.assertEqual(reason_of(caught.exception), "STORE_UNAVAILABLE")
        for replica in world.replicas:
            self.assertGreater(len(replica.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10).fine_tunes), 0)
        # What was under way by then may have been sent, and was acknowledged to nobody. The rest is sent by those that come after.
        self.assertLessEqual(len(emulator.submits()), submits + len(world.creating))
        for replica in world.replicas:
            replica.end(seconds=40)
        world.primary.sql("ALTER TABLE finetune.meta DROP CONSTRAINT written_by_newer_ones, DROP COLUMN added_seq")
        for replica in world.replicas:
            replica.start()
        self.some_more(world)
        world.calm()
        world.check(self)


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class WayBack(EndToEnd):
    def setUp(self):
        super().setUp()
        self.server = postgres.Server()
        self.addCleanup(self.server.remove)
        self.emulator = self.start_emulator("--check_datasets=false", time_scale=0)

    def fleet(self):
        gateways = []
        for number in range(2):
            folder = self.folder / f"replica-{number}"
            folder.mkdir(exist_ok=True)
            gateways.append(Gateway(folder, self.emulator.url, *self.server.flags, "--replica_name", f"replica-{number}").ready())
        self.processes += gateways
        return gateways

    def end(self, gateways):
        for gateway in gateways:
            self.assertEqual(gateway.terminate(), 0, gateway.log)

    def create(self, gateway):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job()), timeout=20)

    def spending(self, gateway):
        return [str(row) for row in gateway.stub.GetSpending(svc.GetSpendingRequest(), timeout=20).rows]

    def test_behind_the_ledger_and_forward_again(self):
        """By the very words of deploy/README.md."""
        statements = re.search(r"`(ALTER TABLE finetune\.meta DROP CONSTRAINT.*?)`", (SOURCE / "deploy/README.md").read_text(), re.DOTALL)[1]
        older_commit = "UPDATE finetune.meta SET seq = seq + 1"
        gateways = self.fleet()
        jobs = [self.create(gateways[n % 2]) for n in range(3)]
        before = self.spending(gateways[0])
        self.assertIn("jobs: 3", before[0])
        self.assertNotEqual(self.server.sql(older_commit, check=False).returncode, 0, "an older version writes beside this one")
        self.end(gateways)

        self.server.sql(statements)
        self.server.sql(older_commit)
        self.server.sql("UPDATE finetune.spending SET jobs = jobs + 7")  # What is left of the ledger is not believed.

        gateways = self.fleet()
        self.assertEqual(self.server.sql("SELECT schema_form FROM finetune.meta").stdout.strip(), str(FORM))
        self.assertEqual(self.spending(gateways[1]), before)
        for made in jobs:
            self.assertEqual(gateways[0].stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=20).upstream_id, made.upstream_id)
        self.create(gateways[1])
        self.assertIn("jobs: 4", self.spending(gateways[1])[0])
        self.assertNotEqual(self.server.sql(older_commit, check=False).returncode, 0, "an older version writes beside this one")
        self.end(gateways)


if __name__ == "__main__":
    unittest.main()
