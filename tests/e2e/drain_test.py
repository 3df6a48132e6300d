"""SIGTERM with many streams open: all are told, and the process exits with 0 in time.

FINETUNE_STREAMS says how many (default 1,000; 10,000 at night).
"""

import asyncio
import collections
import os
import time
import unittest

import grpc
from grpc import aio

from harness import EndToEnd, rpc, svc

STREAMS = int(os.environ.get("FINETUNE_STREAMS", "10000" if os.environ.get("FINETUNE_NIGHTLY") else "1000"))
STREAMS_OF_A_CHANNEL = 100
DRAIN_TIME = 10


class Drain(EndToEnd):
    def test_every_stream_ends_with_unavailable_and_the_process_with_0(self):
        self.gateway = self.start_gateway(self.start_emulator(), "--drain_time", f"{DRAIN_TIME}s", "--log_level", "warning").ready()
        self.synced, self.ended = 0, collections.Counter()
        asyncio.run(self.scenario())

    async def watch(self, stub):
        try:
            async for response in stub.WatchFineTunes(svc.WatchFineTunesRequest()):
                self.synced += response.WhichOneof("event") == "synced"
            self.ended["OK"] += 1
        except grpc.RpcError as error:
            self.ended[error.code().name] += 1

    async def scenario(self):
        # Held to the end: gRPC 1.51 for Python waits for itself for ever when its last asyncio object goes inside of the event loop.
        aio.init_grpc_aio()
        channels = [aio.insecure_channel(self.gateway.address, options=[("grpc.use_local_subchannel_pool", 1)])
                    for _ in range(-(-STREAMS // STREAMS_OF_A_CHANNEL))]
        streams = [asyncio.create_task(self.watch(rpc.FineTuneServiceStub(channels[i % len(channels)]))) for i in range(STREAMS)]
        end = time.monotonic() + 120
        while self.synced < STREAMS:
            self.assertLess(time.monotonic(), end, f"{self.synced} of {STREAMS} streams are open")
            await asyncio.sleep(0.05)
        began = time.monotonic()
        code = await asyncio.to_thread(self.gateway.terminate, 60)
        took = time.monotonic() - began
        await asyncio.wait(streams)
        print(f"\n{STREAMS} streams: exit code {code} after {took:.1f} s", flush=True)
        self.assertEqual((code, self.ended), (0, {"UNAVAILABLE": STREAMS}))
        # Streams have drain_time, calls as much again.
        self.assertLess(took, 2 * DRAIN_TIME)
        for channel in channels:
            await channel.close()


if __name__ == "__main__":
    unittest.main()
