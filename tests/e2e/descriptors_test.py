"""When the gateway runs out of descriptors, liveness tells the truth about the gRPC port: gRPC 1.51 never accepts again."""

import os
import resource
import socket
import unittest

import grpc

from harness import EndToEnd, rpc, svc, wait_until


class Descriptors(EndToEnd):
    def open_files(self):
        return len(os.listdir(f"/proc/{self.gateway.popen.pid}/fd"))

    def livez(self):
        """The code that the admin door answers; None if it does not answer at all."""
        try:
            return self.gateway.admin("/livez")[0]
        except OSError:
            return None

    def serves_new_callers(self):
        with grpc.insecure_channel(self.gateway.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                rpc.FineTuneServiceStub(channel).GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=5)
                return True
            except grpc.RpcError:
                return False

    def test_liveness_is_true_during_and_after_exhaustion(self):
        self.gateway = self.start_gateway(self.start_emulator()).ready()
        self.assertEqual((self.livez(), self.serves_new_callers()), (200, True))

        limit = self.open_files() + 16
        resource.prlimit(self.gateway.popen.pid, resource.RLIMIT_NOFILE, (limit, limit))
        host, port = self.gateway.address.split(":")
        # More than fit, and those that do not fit are not answered.
        crowd = [socket.create_connection((host, int(port))) for _ in range(32)]
        self.addCleanup(lambda: [one.close() for one in crowd])
        wait_until("the descriptors to be used up", lambda: self.open_files() >= limit)
        self.assertNotEqual(self.livez(), 200)

        for one in crowd:
            one.close()
        wait_until("descriptors to be free again", lambda: self.open_files() < limit - 8)
        wait_until("the admin door to answer again", self.livez)
        serves = self.serves_new_callers()
        self.assertEqual(self.livez(), 200 if serves else 503)
        # The one thing that must not be: a gateway that nobody can reach and nobody restarts.
        self.assertEqual(self.serves_new_callers(), serves)


if __name__ == "__main__":
    unittest.main()
