"""What a gateway says of itself that has never read Segmind."""

import socket
import subprocess
import time
import unittest

from harness import BIN, EndToEnd, job, svc, wait_until

DEGRADED = svc.GatewayStatus.UpstreamState.DEGRADED


class Readiness(EndToEnd):
    def away(self):
        """The URL of a port that nobody listens on."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{closed.getsockname()[1]}"

    def run_cli(self, *args):
        return subprocess.run([BIN / "finetune", "--server", self.gateway.address, *args], capture_output=True, text=True, timeout=30, check=False)

    def says_that_it_has_read_nothing(self):
        status = self.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5)
        self.assertFalse(status.HasField("observe_time"))
        self.assertEqual(status.upstream_state, DEGRADED)
        self.assertFalse(self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(), timeout=5).HasField("observe_time"))
        self.assertIn("has not read Segmind", self.run_cli("list").stderr)
        self.assertIn("never since its start", self.run_cli("status").stdout)

    def test_with_an_empty_record_it_is_not_ready_however_long_it_takes(self):
        self.gateway = self.start_gateway(self.away())
        end = time.monotonic() + 12
        while time.monotonic() < end:
            code, why = self.gateway.admin("/readyz")
            self.assertEqual(code, 503)
            self.assertIn("Segmind has not been read yet", why)
            self.assertEqual(self.gateway.admin("/livez")[0], 200)
            time.sleep(0.5)
        self.says_that_it_has_read_nothing()

    def test_with_jobs_in_the_record_it_is_ready_and_says_that_they_are_old(self):
        emulator = self.start_emulator("--check_datasets=false", time_scale=0)
        self.gateway = self.start_gateway(emulator).ready()
        made = self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id="00000000-0000-4000-8000-000000000001", fine_tune=job()), timeout=20)
        wait_until("a read", lambda: self.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5).HasField("observe_time"))
        self.assertEqual(self.run_cli("list").stderr, "")
        self.gateway.terminate()
        self.gateway = self.start_gateway(self.away()).ready()
        self.assertEqual(self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=made.name), timeout=5).name, made.name)
        self.says_that_it_has_read_nothing()


if __name__ == "__main__":
    unittest.main()
