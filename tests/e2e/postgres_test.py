"""The record in a PostgreSQL database: one gateway at a time, its restarts and the server's, and the way there from a file."""

import glob
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest
import urllib.parse
import uuid

import grpc

from harness import BIN, EndToEnd, ft, job, reason_of, svc, wait_until

FOLDERS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))


class Server:
    """A PostgreSQL behind a socket in a folder, as a user without rights: initdb refuses root."""

    def __init__(self):
        self.bin = pathlib.Path(FOLDERS[-1])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.as_user = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.password = self.folder / "password"
        self.password.write_text("geheim\n")
        self.password.chmod(0o644)
        subprocess.run([*self.as_user, self.bin / "initdb", "-D", self.folder / "data", "-U", "admin", "-A", "scram-sha-256", "-N",
                        "--pwfile", self.password, "--locale=C.UTF-8", "-E", "UTF8"], check=True, capture_output=True)
        self.popen = None
        self.start()

    def start(self):
        self.popen = subprocess.Popen(
            [*self.as_user, self.bin / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", "-c", "max_connections=20"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("PostgreSQL to answer", lambda: self.sql("SELECT 1", check=False).returncode == 0)

    def stop(self, number=signal.SIGINT):
        self.popen.send_signal(number)
        self.popen.wait(30)

    def sql(self, text, database="postgres", check=True):
        return subprocess.run([self.bin / "psql", "-h", self.folder, "-U", "admin", "-d", database, "-Atc", text], check=check,
                              capture_output=True, text=True, env={**os.environ, "PGPASSWORD": "geheim"})

    @property
    def url(self):
        return f"postgresql://admin@{urllib.parse.quote(str(self.folder), safe='')}/postgres"

    @property
    def flags(self):
        return ["--store", self.url, "--store_password_file", self.password]


@unittest.skipUnless(FOLDERS, "there is no PostgreSQL here")
class Postgres(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=0)
        self.server = Server()
        self.addCleanup(lambda: (self.server.stop(signal.SIGQUIT), shutil.rmtree(self.server.folder, ignore_errors=True)))

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

    def test_a_second_gateway_and_a_password_in_sight_are_refused(self):
        self.gateway()
        self.assertIn("another gateway has the record", self.refused_start(*self.server.flags))
        self.assertIn("--store_password_file", self.refused_start("--store", "postgresql://admin:geheim@localhost/postgres"))

    def test_a_record_moves_from_a_file(self):
        gateway = self.start_gateway(self.emulator).ready()
        kept = str(uuid.uuid4())
        made = self.create(gateway, kept).name
        gateway.stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=made, labels={"a": "1"}), update_mask={"paths": ["labels"]}), timeout=20)
        token = self.synced_token(gateway)
        copy = [BIN / "finetune-gateway", "copy-store", "--from", f"sqlite:{self.folder}/store.db", "--to", self.server.url,
                "--store_password_file", self.server.password]
        self.assertIn("in use", subprocess.run(copy, capture_output=True, text=True, check=False).stderr)
        self.assertEqual(gateway.terminate(), 0)
        done = subprocess.run(copy, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("was moved", self.refused_start("--store", f"sqlite:{self.folder}/store.db"))
        gateway = self.gateway()
        self.assertEqual(self.create(gateway, kept).name, made)
        self.assertEqual(gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=made), timeout=10).labels["a"], "1")
        stream = gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest(resume_token=token), timeout=30)
        self.assertNotEqual(next(stream).WhichOneof("event"), "restart")
        stream.cancel()
        self.assertEqual(len(self.emulator.submits()), 1)


if __name__ == "__main__":
    unittest.main()
