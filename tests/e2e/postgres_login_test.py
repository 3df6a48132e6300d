"""How a gateway comes into a database: names, certificates, passwords, what it says when it is not let in, and what changes while it runs."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import unittest
import uuid

import grpc

import postgres
from harness import BIN, SOURCE, EndToEnd, Gateway, job, reason_of, svc, wait_until

HOST = "db.example"


@unittest.skipUnless(postgres.FOLDERS, "there is no PostgreSQL here")
class Login(EndToEnd):
    def setUp(self):
        super().setUp()
        self.emulator = self.start_emulator(time_scale=0)
        # Port 5432 of an address that nobody else has.
        self.address = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])
        self.server = postgres.Server(listen=self.address, allow="127.0.0.0/8")
        self.addCleanup(self.server.remove)
        self.server.sql("CREATE ROLE app LOGIN PASSWORD 'first'")
        self.server.sql("GRANT CREATE ON DATABASE postgres TO app")
        self.password, self.ca = self.folder / "app-password", self.folder / "app-ca.crt"
        self.write(self.password, "first\n")

    def write(self, path, text):
        """Whole or not at all, as a mounted Secret changes."""
        draft = pathlib.Path(f"{path}.new")
        draft.write_text(text)
        draft.rename(path)

    def certify(self, host=HOST):
        """The server shows a certificate for `host` of an authority that is made for it; its folder."""
        made = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        subprocess.run([SOURCE / "deploy/dev-certs.sh", made], check=True, capture_output=True, env={**os.environ, "FINETUNE_DEV_HOSTS": host})
        for name in ("tls.crt", "tls.key"):
            shutil.copy(made / name, self.server.folder / name)
            (self.server.folder / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(self.server.folder / name, "postgres", "postgres")
            self.server.sql(f"ALTER SYSTEM SET ssl_{'cert' if name == 'tls.crt' else 'key'}_file = '{self.server.folder / name}'")
        self.server.sql("ALTER SYSTEM SET ssl = on")
        self.server.sql("SELECT pg_reload_conf()")
        wait_until("the server to have its certificate", lambda: self.server.sql("SHOW ssl").stdout.strip() == "on")
        return made

    def url(self, host=HOST, user="app", more=""):
        return f"postgresql://{user}@{host}/postgres?hostaddr={self.address}{more}"

    def flags(self, url=None, **more):
        flags = {"store": url or self.url(), "store_password_file": self.password, "store_ca_file": self.ca, **more}
        return [word for name, value in flags.items() if value for word in (f"--{name}", value)]

    def why_waiting(self, *flags):
        """What the log of a start says that the database does not let in."""
        log = self.folder / "refused.log"
        with open(log, "wb") as out:
            gateway = subprocess.Popen(
                [BIN / "finetune-gateway", "--listen", "127.0.0.1:0", "--webhook_listen", "127.0.0.1:0", "--admin_listen", "127.0.0.1:0",
                 "--upstream_url", self.emulator.url, "--api_key_file", self.folder / "api-key", *flags], stdout=out, stderr=out)
        try:
            return wait_until("it to say why", lambda: next(
                (line for line in log.read_text().splitlines() if "waiting for the database" in line), None))
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(30)
            self.assertNotIn("first", log.read_text())

    def create(self, gateway):
        return gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(f"{self.emulator.url}/x.zip", name="job"), request_id=str(uuid.uuid4())), timeout=10)

    def expect_refused(self, gateway, words):
        """Creates are refused with these words, from soon on, and reads go on."""
        def refused():
            try:
                self.create(gateway)
            except grpc.RpcError as error:
                self.assertEqual(reason_of(error), "STORE_UNAVAILABLE", error.details())
                return words in error.details()
            return False
        self.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        wait_until(f"creates to be refused with {words}", refused)
        gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=10)
        self.assertEqual(gateway.admin("/readyz")[0], 200)

    def expect_made(self, gateway):
        def made():
            try:
                return self.create(gateway).name
            except grpc.RpcError:
                return None
        wait_until("creates to go on", made, seconds=20)

    def test_says_what_to_do_when_it_is_not_let_in(self):
        (self.folder / "api-key").write_text("k\n")
        (self.folder / "api-key").chmod(0o600)
        wrong = self.folder / "wrong"
        self.write(wrong, "wrong\n")
        other_ca = self.certify()
        self.server.sql("ALTER SYSTEM SET ssl = off")
        self.server.sql("SELECT pg_reload_conf()")
        wait_until("the server to be without", lambda: self.server.sql("SHOW ssl").stdout.strip() == "off")
        shutil.copy(other_ca / "ca.crt", self.ca)
        self.assertIn("set ssl=on there", self.why_waiting(*self.flags()))
        shutil.copy(self.certify() / "ca.crt", self.ca)
        for says, flags in (
                ("a name that the server's certificate is for", self.flags(self.url("other.example"))),
                ("as --store_ca_file", self.flags(store_ca_file=other_ca / "ca.crt")),
                ("as --store_ca_file", self.flags(store_ca_file=self.folder / "nothing-there.crt")),
                ("as --store_password_file", self.flags(store_password_file=wrong)),
                ("as --store_password_file", self.flags(store_password_file=None)),
                ("does not exist", self.flags(self.url().replace("/postgres?", "/nowhere?")))):
            with self.subTest(says):
                line = self.why_waiting(*flags)
                self.assertIn(says, line)
                self.assertNotIn("disable server certificate", line)

    def test_goes_on_with_a_new_password_and_a_new_authority(self):
        shutil.copy(self.certify() / "ca.crt", self.ca)
        gateway = Gateway(self.folder, self.emulator.url, *self.flags())
        self.processes.append(gateway)
        gateway.ready()
        self.create(gateway)
        self.server.sql("ALTER ROLE app PASSWORD 'second'")
        self.expect_refused(gateway, "as --store_password_file")
        self.write(self.password, "second\n")
        self.expect_made(gateway)
        made = self.certify()
        self.expect_refused(gateway, "as --store_ca_file")
        self.write(self.ca, (made / "ca.crt").read_text())
        self.expect_made(gateway)
        # A right that is taken away, and given back.
        self.server.sql("REASSIGN OWNED BY app TO admin")
        self.server.sql("REVOKE ALL ON ALL TABLES IN SCHEMA finetune FROM app")
        self.expect_refused(gateway, "permission denied")
        self.server.sql("GRANT admin TO app")
        self.expect_made(gateway)
        self.assertEqual(gateway.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
