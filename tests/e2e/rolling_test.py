"""A gateway is replaced under load, the StatefulSet's way: the old process drains on SIGTERM, the new one starts on its store and port.

Clients with the recommended service config see no call fail, and watchers that resume with their token miss no change.
FINETUNE_WATCHES says how many watch (default 200; 1000 at night), FINETUNE_REPLACEMENTS how often it is replaced.
"""

import asyncio
import collections
import itertools
import json
import os
import random
import time
import unittest
import uuid

import grpc
from google.protobuf import duration_pb2, field_mask_pb2
from grpc import aio

from harness import EndToEnd, ft, job, recommended_service_config, rpc, svc

NIGHTLY = bool(os.environ.get("FINETUNE_NIGHTLY"))
WATCHES = int(os.environ.get("FINETUNE_WATCHES", "1000" if NIGHTLY else "200"))
REPLACEMENTS = int(os.environ.get("FINETUNE_REPLACEMENTS", "5" if NIGHTLY else "2"))
CHANNELS = 4
CALLERS = 32
WAITERS = 32
JOBS = 20


def channel(address):
    return aio.insecure_channel(address, options=[
        ("grpc.service_config", json.dumps(recommended_service_config())),
        ("grpc.initial_reconnect_backoff_ms", 200), ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.use_local_subchannel_pool", 1)])


class Callers:
    """Unary calls of every kind: CALLERS tasks that read, WAITERS that wait for a job which never ends, and one that makes changes."""

    def __init__(self, stubs, names, dataset):
        self.stubs, self.names, self.dataset = stubs, names, dataset
        self.stop = False
        self.done = collections.Counter()
        self.failures = collections.Counter()
        self.longest = 0.0

    async def run(self):
        stub = self.stubs[0]
        endless = (await self.create(stub)).name
        await asyncio.gather(self.change(stub), *(self.read(i) for i in range(CALLERS)),
                             *(self.wait(self.stubs[i % len(self.stubs)], endless) for i in range(WAITERS)))

    async def some_more(self):
        """Returns when many calls of each kind have been answered since."""
        before = collections.Counter(self.done)
        await until("calls", lambda: all(self.done[kind] > before[kind] + n for kind, n in (("get", 200), ("list", 20), ("update", 5))))

    async def counted(self, kind, call):
        began = time.monotonic()
        try:
            await call
            self.done[kind] += 1
        except grpc.RpcError as error:
            self.failures[f"{kind}: {error.code().name}: {error.details()}"] += 1
        if kind != "wait":
            self.longest = max(self.longest, time.monotonic() - began)

    async def read(self, i):
        chance = random.Random(i)
        stub = self.stubs[i % len(self.stubs)]
        while not self.stop:
            kind = chance.choices(("get", "list", "status"), (80, 10, 10))[0]
            if kind == "get":
                call = stub.GetFineTune(svc.GetFineTuneRequest(name=chance.choice(self.names)), timeout=30)
            elif kind == "list":
                call = stub.ListFineTunes(svc.ListFineTunesRequest(page_size=chance.randint(1, 50)), timeout=30)
            else:
                call = stub.GetGatewayStatus(svc.GetGatewayStatusRequest(), timeout=30)
            await self.counted(kind, call)

    async def wait(self, stub, name):
        while not self.stop:
            await self.counted("wait", stub.WaitFineTune(
                svc.WaitFineTuneRequest(name=name, timeout=duration_pb2.Duration(seconds=2)), timeout=30))

    def update(self, stub, name):
        return stub.UpdateFineTune(svc.UpdateFineTuneRequest(
            fine_tune=ft.FineTune(name=name, labels={"n": uuid.uuid4().hex}),
            update_mask=field_mask_pb2.FieldMask(paths=["labels"])), timeout=30)

    def create(self, stub):
        return stub.CreateFineTune(svc.CreateFineTuneRequest(
            fine_tune=job(self.dataset, name="rolling"), request_id=str(uuid.uuid4())), timeout=30)

    async def change(self, stub):
        for i in itertools.count():
            if self.stop:
                return
            if i % 10 == 0:
                await self.counted("create", self.create(stub))
            else:
                await self.counted("update", self.update(stub, self.names[i % len(self.names)]))
            # Every change goes to every watch, and Python takes some 5,000 a second.
            await asyncio.sleep(WATCHES / 2500)


class Watch:
    """What one watcher knows, across as many streams as it takes."""

    def __init__(self, stub, delivery):
        self.stub, self.delivery = stub, delivery
        self.etags, self.revisions, self.resets, self.streams = {}, [], 0, 0
        self.token = ""
        self.ended = None

    async def run(self):
        while True:
            self.streams += 1
            try:
                async for response in self.stub.WatchFineTunes(svc.WatchFineTunesRequest(
                        resume_token=self.token, delivery=self.delivery)):
                    self.take(response)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    self.ended = error
                    return
            await asyncio.sleep(random.uniform(0.05, 0.5))

    def take(self, response):
        event = response.WhichOneof("event")
        if event == "restart":
            self.resets += 1
            self.etags.clear()
            self.revisions.clear()
        elif event == "change":
            self.etags[response.change.fine_tune.name] = response.change.fine_tune.etag
            if response.change.type != svc.Change.SNAPSHOT:
                self.revisions.append(response.revision)
        if response.resume_token:
            self.token = response.resume_token


class Replacements(EndToEnd):
    """Replaces gateways under load: what must hold then, and what it costs."""

    async def replace_under_load(self, target, watchers, replacements):
        """Makes the replacements one after the other, while calls are made to `target` and that many watch it."""
        calling, watching = ([channel(target) for _ in range(CHANNELS)] for _ in range(2))
        stubs = [rpc.FineTuneServiceStub(c) for c in calling]
        delivery = svc.WatchFineTunesRequest.Delivery
        watches = [Watch(rpc.FineTuneServiceStub(watching[i % CHANNELS]), delivery.Value(("EVERY", "LATEST")[i % 2])) for i in range(watchers)]
        tasks = [asyncio.create_task(w.run()) for w in watches]
        await until("every watch to know all jobs", lambda: all(len(w.etags) == JOBS for w in watches))

        callers = Callers(stubs, list(watches[0].etags), f"{self.emulator.url}/none.zip")
        load = asyncio.create_task(callers.run())
        gaps = []
        for replace in replacements:
            await callers.some_more()
            began = time.monotonic()
            await asyncio.to_thread(replace)
            gaps.append(time.monotonic() - began)
        await callers.some_more()
        callers.stop = True
        await load
        self.assertEqual(callers.failures, {})
        await self.check(stubs[0], watches)
        self.report(callers, watches, gaps)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for c in calling + watching:
            await c.close()

    async def check(self, stub, watches):
        """All know what the gateways know, and those that want every change had each of them once and in order."""
        listed = await stub.ListFineTunes(svc.ListFineTunesRequest(page_size=1000), timeout=30)
        wanted = {f.name: f.etag for f in listed.fine_tunes}
        await until("every watch to have every job as it is", lambda: all(w.etags == wanted or w.ended for w in watches))
        self.assertEqual([w.ended for w in watches if w.ended], [])
        for watch in watches[::2]:
            self.assertEqual(watch.resets, 0)
            self.assertEqual(watch.revisions, list(range(watch.revisions[0], listed.revision + 1)))

    def report(self, callers, watches, gaps):
        print(f"\n{sum(callers.done.values())} calls {dict(callers.done)}, none failed, the longest (waits aside) took {callers.longest:.2f} s; "
              f"{len(watches)} watches had {sum(len(w.revisions) for w in watches)} changes over {sum(w.streams for w in watches)} streams, "
              f"{sum(w.resets for w in watches)} resets; SIGTERM to ready again: {', '.join(f'{g:.2f}' for g in gaps)} s", flush=True)


class Rolling(Replacements):
    def test_a_replacement_fails_no_call_and_loses_no_change(self):
        self.emulator = self.start_emulator("--list_size", str(JOBS), time_scale=0)
        asyncio.run(self.scenario())

    def start(self, port=0):
        gateway = self.start_gateway(self.emulator, "--listen", f"127.0.0.1:{port}", "--log_level", "warning").ready()
        gateway.close()
        return gateway

    async def scenario(self):
        # Held to the end: gRPC 1.51 for Python waits for itself for ever when its last asyncio object goes inside of the event loop.
        aio.init_grpc_aio()
        gateway = self.start()

        def replace():
            nonlocal gateway
            self.assertEqual(gateway.terminate(), 0, gateway.log)
            gateway = self.start(int(gateway.address.split(":")[1]))

        await self.replace_under_load(gateway.address, WATCHES, [replace] * REPLACEMENTS)


async def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
