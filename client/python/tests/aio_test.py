"""The asynchronous client's watch, without a network."""

import asyncio
import unittest

from finetune_gateway import aio
from finetune_gateway.v1 import Heartbeat, WatchFineTunesResponse


class FakeStream:
    def __init__(self):
        self.messages = asyncio.Queue()

    async def read(self):
        return await self.messages.get()

    def cancel(self):
        pass


class FakeClient:
    """What a shared watch asks of its client: a stub, metadata and the stream."""

    def __init__(self):
        self.stream = FakeStream()

    def stub(self):
        return self

    def metadata(self):
        return ()

    def WatchFineTunes(self, request, **_):  # pylint: disable=invalid-name
        return self.stream


class Watching(unittest.IsolatedAsyncioTestCase):
    async def test_a_watch_is_closed_whatever_comes_at_that_moment(self):
        for turns in range(8):  # Of the event loop, between a message and the end.
            with self.subTest(turns=turns):
                client = FakeClient()
                watch = aio.Watch(aio._SharedWatch(client), (), None)  # pylint: disable=protected-access
                for _ in range(5):
                    await asyncio.sleep(0)
                client.stream.messages.put_nowait(WatchFineTunesResponse(heartbeat=Heartbeat()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                closing = asyncio.ensure_future(watch.close())
                done, _ = await asyncio.wait([closing], timeout=5)
                self.assertTrue(done, "it still reads")


if __name__ == "__main__":
    unittest.main()
