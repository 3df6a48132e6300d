"""Links that can be hurt: each forwards connections of one port to a TCP port or a Unix socket, on a thread of their own.

A blackhole holds bytes back in one direction or both, as a network that drops packets does until it is mended: nobody is told.
"""

import asyncio
import threading


class Link:
    """From a port of its own to a target, which may be changed: new connections go to the new one.

    A target is a port of this machine, (host, port), or a Unix socket's path.
    """

    def __init__(self, links, target):
        self.links, self.target = links, target
        self.refusing = False
        self.delay = 0.0
        self.holds = {"up": False, "down": False}  # From the client to the server; from the server to the client.
        self.left = {"up": None, "down": None}  # Bytes that still pass before that direction is held.
        self.bytes = {"up": 0, "down": 0}
        self.pairs = set()
        self.healed = None
        self.port = links.call(self._listen())

    async def _listen(self):
        self.healed = asyncio.Event()
        self.healed.set()
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        if self.refusing:
            writer.transport.abort()
            return
        try:
            if isinstance(self.target, int):
                far = await asyncio.open_connection("127.0.0.1", self.target)
            elif isinstance(self.target, tuple):
                far = await asyncio.open_connection(*self.target)
            else:
                far = await asyncio.open_unix_connection(str(self.target))
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far[1])
        self.pairs.add(pair)
        tasks = [asyncio.ensure_future(self._forward(reader, far[1], "up")), asyncio.ensure_future(self._forward(far[0], writer, "down"))]
        try:
            # The end of either direction ends both, as our protocols' ends do.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self.pairs.discard(pair)
            for side in pair:
                side.close()

    async def _forward(self, reader, writer, direction):
        try:
            while True:
                data = await reader.read(65536)
                if not data:
                    # Of its end nobody is told either.
                    while self.holds[direction]:
                        await self.healed.wait()
                    return
                if self.delay:
                    await asyncio.sleep(self.delay)
                left = self.left[direction]
                if left is not None:
                    # Stops in the middle of a message.
                    now, data = data[:left], data[left:]
                    self.left[direction] = left - len(now)
                    writer.write(now)
                    if data or self.left[direction] == 0:
                        self.left[direction] = None
                        self.holds[direction] = True
                        self.healed.clear()
                while self.holds[direction]:
                    await self.healed.wait()
                self.bytes[direction] += len(data)
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            return

    def _do(self, action):
        async def run():
            action()
        self.links.call(run())

    def retarget(self, target):
        """As a service that leads to another server now: the old connections end."""
        def action():
            self.target = target
            self.break_all()
        self._do(action)

    def break_all(self):
        for pair in list(self.pairs):
            for side in pair:
                side.transport.abort()

    def reset(self):
        """All connections end, new ones are taken."""
        self._do(self.break_all)

    def cut(self):
        """All connections end, new ones are refused."""
        def action():
            self.refusing = True
            self.break_all()
        self._do(action)

    def blackhole(self, *directions):
        def action():
            self.healed.clear()
            for direction in directions:
                self.holds[direction] = True
        self._do(action)

    def stop_after(self, direction, count):
        """So many bytes pass, and then that direction is a blackhole."""
        def action():
            self.left[direction] = count
        self._do(action)

    def slow(self, seconds):
        def action():
            self.delay = seconds
        self._do(action)

    def heal(self):
        def action():
            self.refusing, self.delay = False, 0.0
            self.left = {"up": None, "down": None}
            self.holds = {"up": False, "down": False}
            self.healed.set()
        self._do(action)


class Links:
    """The loop of all links; ended by `close`."""

    def __init__(self):
        self.all = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def link(self, target):
        self.all.append(Link(self, target))
        return self.all[-1]

    def close(self):
        async def close_all():
            for link in self.all:
                link.server.close()
                link.break_all()
            await asyncio.sleep(0)
        self.call(close_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
