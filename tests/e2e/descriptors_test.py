"""Connections without a call do not use up the descriptors: gRPC 1.51 never accepts again, and then liveness tells the truth."""

import os
import resource
import socket
import unittest
import uuid

import grpc

from harness import EndToEnd, job, rpc, svc, wait_until


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

    def test_a_crowd_that_says_nothing_takes_nobodys_place(self):
        self.gateway = self.start_gateway(self.start_emulator(), prefix=("prlimit", "--nofile=6000:6000")).ready()
        watch = self.gateway.stub.WatchFineTunes(svc.WatchFineTunesRequest())
        self.assertTrue(next(watch).HasField("synced"))
        host, port = self.gateway.address.split(":")
        greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
        crowd = []
        self.addCleanup(lambda: [one.close() for one in crowd])
        for i in range(9000):
            crowd.append(socket.create_connection((host, int(port))))
            if i % 2:
                crowd[-1].sendall(greeting)
            if i % 100 == 99:
                self.assertTrue(self.serves_new_callers(), i)
        self.assertLess(self.open_files(), 6000)
        self.assertEqual(self.livez(), 200)
        self.assertRegex(self.gateway.admin("/metrics")[1], r"(?m)^finetune_gateway_cut_connections_total [1-9]")
        self.gateway.stub.CreateFineTune(svc.CreateFineTuneRequest(request_id=str(uuid.uuid4()), fine_tune=job(name="seen")), timeout=20)
        self.assertTrue(next(watch).HasField("change"))


if __name__ == "__main__":
    unittest.main()
