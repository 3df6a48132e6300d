"""A client that is gone without a word is found within a minute, though its TCP connection looks well."""

import os
import signal
import subprocess
import unittest

from harness import BIN, EndToEnd, svc, wait_until


class VanishedClient(EndToEnd):
    def watchers(self):
        return self.gateway.stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=20).watcher_count

    def watch(self):
        process = subprocess.Popen([BIN / "finetune", "--server", self.gateway.address, "watch"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_its_watch_ends_within_a_minute_and_others_go_on(self):
        self.gateway = self.start_gateway(self.start_emulator("--list_size", "3")).ready()
        gone, alive = self.watch(), self.watch()
        wait_until("both watches", lambda: self.watchers() == 2)
        # The kernel still acknowledges for it: only an answer to a ping would show life.
        os.kill(gone.pid, signal.SIGSTOP)
        wait_until("the vanished client's watch to end", lambda: self.watchers() < 2, seconds=60, step=0.5)
        self.assertEqual(self.watchers(), 1)
        self.assertIsNone(alive.poll())


if __name__ == "__main__":
    unittest.main()
