"""Drives the Python client: see ../README.md. With --aio, its coroutines."""

import asyncio
import inspect
import json
import pathlib
import sys
import threading
import time

from google.protobuf import json_format

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "client/python/src"))

import finetune_gateway as fg  # noqa: E402
from finetune_gateway import aio  # noqa: E402

_output = threading.Lock()


def say(message):
    with _output:
        print(json.dumps(message), flush=True)


def as_json(message):
    return json_format.MessageToDict(message)


def described(error):
    if isinstance(error, fg.WaitTimeout):
        return {"code": "WAIT_TIMEOUT", "message": str(error)}
    if isinstance(error, asyncio.CancelledError):
        return {"code": "CANCELLED", "message": "cancelled"}
    if not isinstance(error, fg.GatewayError):
        return {"code": "LOCAL", "message": f"{type(error).__name__}: {error}"}
    return {
        "code": error.code.name, "reason": error.reason, "message": error.message, "retry_delay": error.retry_delay,
        "violations": [{"field": v.field, "description": v.description} for v in error.violations],
        "quota": [{"subject": v.subject, "description": v.description} for v in error.quota], "request_id": error.request_id}


def settings_of(command):
    names = ("tls_ca", "tls_cert", "tls_key", "tls_server_name", "token_file", "connect_timeout")
    return {name: command[name] for name in names if command.get(name)}


def event_json(event):
    found = {"kind": event.kind.value}
    if event.fine_tune is not None:
        found.update(name=event.fine_tune.name, state=fg.state_name(event.fine_tune.state), revision=event.fine_tune.revision)
    return found


def in_state(command):
    state = command.get("state")
    return (lambda job: fg.state_name(job.state) == state) if state else None


def call_of(client, command):
    """The call that a command asks for, and how to show what it returns: all but connect, watch, list, cancel and close."""
    told = []
    progress = lambda done, total: told.append(done)  # noqa: E731
    op = command["op"]
    more = {key: command[key] for key in ("timeout", "request_id", "validate_only") if key in command}
    if op == "submit":
        job = json_format.ParseDict(command["fine_tune"], fg.FineTune())
        return client.submit(job, **more), lambda done: {
            "fine_tune": as_json(done.fine_tune), "request_id": done.request_id, "unknown": done.unknown}
    if op == "get":
        return client.get(command["name"], **more), lambda job: {"fine_tune": as_json(job)}
    if op == "update":
        changes = {key: command[key] for key in ("visibility", "labels", "remove_labels", "etag") if key in command}
        return client.update(command["name"], **changes), lambda job: {"fine_tune": as_json(job)}
    if op == "status":
        return client.status(), lambda status: {"status": as_json(status)}
    if op == "wait":
        return client.wait(command["name"], command["until"], **more), lambda job: {"fine_tune": as_json(job)}
    if op == "upload":
        return client.upload(
            command["path"], public_read=command.get("public_read", False), file_name=command.get("file_name"), progress=progress
        ), lambda dataset: {"data_source_uri": dataset.data_source_uri, "size_bytes": dataset.size_bytes,
                            "sha256": dataset.sha256.hex(), "progress": len(told)}
    if op == "upload_url":
        return client.upload_url(command["file_name"], public_read=command.get("public_read", False)), lambda made: {
            "upload_uri": made.upload_uri, "data_source_uri": made.data_source_uri}
    if op == "download":
        return client.download(command["name"], command["path"], progress=progress), lambda done: {
            "size_bytes": done.size_bytes, "sha256": done.sha256, "resumed_bytes": done.resumed_bytes, "progress": len(told)}
    raise ValueError(f"there is no op {op!r}")


class Lazily:
    """Lets a blocking client's calls be described before they are made, as coroutines are."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return lambda *args, **more: lambda: getattr(self._client, name)(*args, **more)


class SyncDriver:
    def __init__(self):
        self.client = None
        self.watches = {}
        self.threads = {}

    def run(self):
        for line in sys.stdin:
            command = json.loads(line)
            thread = threading.Thread(target=self.execute, args=(command,), daemon=True)
            self.threads[command["id"]] = thread
            thread.start()

    def execute(self, command):
        try:
            say({"id": command["id"], "ok": self.done(command)})
        except Exception as error:
            say({"id": command["id"], "error": described(error)})

    def done(self, command):
        op = command["op"]
        if op == "connect":
            if self.client is not None:
                self.client.close()
            self.client = fg.connect(command["target"], **settings_of(command))
            return {}
        if op == "close":
            self.client.close()
            return {}
        if op == "cancel":
            self.watches[command["target"]].close()
            self.threads[command["target"]].join()
            return {}
        if op == "list":
            more = {key: command[key] for key in ("filter", "order_by", "page_size") if key in command}
            return {"names": [job.name for job in self.client.list(**more)]}
        if op == "watch":
            return self.watch(command)
        call, shown = call_of(Lazily(self.client), command)
        return shown(call())

    def watch(self, command):
        with self.client.watch(command.get("names", ()), in_state(command)) as watch:
            self.watches[command["id"]] = watch
            for event in watch:
                say({"id": command["id"], "event": event_json(event)})
                time.sleep(command.get("slow_ms", 0) / 1000)
        return {}


class AsyncDriver:
    def __init__(self):
        self.client = None
        self.tasks = {}

    async def run(self):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            self.tasks[command["id"]] = asyncio.ensure_future(self.execute(command))

    async def execute(self, command):
        try:
            say({"id": command["id"], "ok": await self.done(command)})
        except (Exception, asyncio.CancelledError) as error:
            if command["op"] == "watch" and isinstance(error, asyncio.CancelledError):
                say({"id": command["id"], "ok": {}})
            else:
                say({"id": command["id"], "error": described(error)})

    async def done(self, command):
        op = command["op"]
        if op == "connect":
            if self.client is not None:
                await self.client.close()
            self.client = aio.connect(command["target"], **settings_of(command))
            return {}
        if op == "close":
            await self.client.close()
            return {}
        if op == "cancel":
            task = self.tasks[command["target"]]
            task.cancel()
            await asyncio.wait([task])
            return {}
        if op == "list":
            more = {key: command[key] for key in ("filter", "order_by", "page_size") if key in command}
            return {"names": [job.name async for job in self.client.list(**more)]}
        if op == "watch":
            async with self.client.watch(command.get("names", ()), in_state(command)) as watch:
                async for event in watch:
                    say({"id": command["id"], "event": event_json(event)})
                    await asyncio.sleep(command.get("slow_ms", 0) / 1000)
            return {}
        call, shown = call_of(self.client, command)
        return shown(await call if inspect.isawaitable(call) else call)


if __name__ == "__main__":
    if "--aio" in sys.argv:
        asyncio.run(AsyncDriver().run())
    else:
        SyncDriver().run()
