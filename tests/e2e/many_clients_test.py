"""Calls to Segmind do not grow with the number of clients."""

import concurrent.futures
import unittest

from google.protobuf import duration_pb2

from harness import EndToEnd, svc


class ManyClients(EndToEnd):
    def upstream_calls(self, clients):
        before = self.emulator.calls()
        fresh = svc.Freshness(max_staleness=duration_pb2.Duration(seconds=3600))

        def one(i):
            listed = self.gateway.stub.ListFineTunes(svc.ListFineTunesRequest(freshness=fresh, page_size=20), timeout=60)
            return self.gateway.stub.GetFineTune(svc.GetFineTuneRequest(name=listed.fine_tunes[i % 20].name, freshness=fresh), timeout=60)

        with concurrent.futures.ThreadPoolExecutor(min(clients, 200)) as pool:
            self.assertEqual(sum(1 for job in pool.map(one, range(clients)) if job.name), clients)
        return self.emulator.calls() - before

    def test_a_thousand_clients_that_list_and_get_cause_no_more_calls_than_one(self):
        self.emulator = self.start_emulator("--list_size", "50")
        self.gateway = self.start_gateway(
            self.emulator, "--active_poll_interval", "1h", "--idle_poll_interval", "1h", "--upstream_calls_per_minute", "4").ready()
        self.assertLessEqual(self.upstream_calls(1), 1)
        self.assertLessEqual(self.upstream_calls(1000), 1)

    def test_a_hundred_fresh_reads_at_once_share_reads(self):
        self.emulator = self.start_emulator("--list_size", "50")
        self.gateway = self.start_gateway(self.emulator, "--active_poll_interval", "1h", "--idle_poll_interval", "1h").ready()
        self.emulator.fault("list", "latency", ms=300, count=-1)
        before = self.emulator.calls("list")
        fresh = svc.Freshness(max_staleness=duration_pb2.Duration())
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: self.gateway.stub.ListFineTunes(
                svc.ListFineTunesRequest(freshness=fresh), timeout=60), range(100)))
        self.assertEqual(len(answers), 100)
        self.assertLessEqual(self.emulator.calls("list") - before, 4)


if __name__ == "__main__":
    unittest.main()
