"""All three replicas are replaced under load, one after the other: no call fails, no change is missed.

FINETUNE_WATCHES says how many watch (default 60; 600 at night), FINETUNE_REPLACEMENTS how often all three are replaced.
"""

import asyncio
import os
import unittest

from grpc import aio

import fleet_world
import postgres
import rolling_test
from harness import Gateway

NIGHTLY = bool(os.environ.get("FINETUNE_NIGHTLY"))
WATCHES = int(os.environ.get("FINETUNE_WATCHES", "600" if NIGHTLY else "60"))
ROUNDS = int(os.environ.get("FINETUNE_REPLACEMENTS", "5" if NIGHTLY else "1"))
REPLICAS = 3


@unittest.skipIf(fleet_world.missing(), fleet_world.missing())
class FleetRolling(rolling_test.Replacements):
    def setUp(self):
        super().setUp()
        self.server = postgres.Server()
        self.addCleanup(self.server.remove)
        self.emulator = self.start_emulator("--list_size", str(rolling_test.JOBS), time_scale=0)

    def start(self, number, port=0):
        folder = self.folder / f"replica-{number}"
        folder.mkdir(exist_ok=True)
        gateway = Gateway(folder, self.emulator.url, *self.server.flags, "--replica_name", f"replica-{number}", "--listen",
                          f"127.0.0.1:{port}", "--log_level", "warning")
        self.processes.append(gateway)
        gateway.ready()
        gateway.close()
        return gateway

    def test_a_replacement_of_all_fails_no_call_and_loses_no_change(self):
        asyncio.run(self.scenario())

    async def scenario(self):
        aio.init_grpc_aio()  # As in rolling_test.
        gateways = [await asyncio.to_thread(self.start, number) for number in range(REPLICAS)]
        ports = [int(gateway.address.split(":")[1]) for gateway in gateways]
        # As DNS tells clients of a headless service.
        everywhere = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)

        def replacement_of(number):
            def replace():
                self.assertEqual(gateways[number].terminate(), 0, gateways[number].log)
                gateways[number] = self.start(number, ports[number])
            return replace

        await self.replace_under_load(everywhere, WATCHES, [replacement_of(number) for number in range(REPLICAS)] * ROUNDS)


if __name__ == "__main__":
    unittest.main()
