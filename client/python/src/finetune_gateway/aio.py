"""The client as coroutines, for asyncio: the same names and meanings as in `client`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import AsyncIterator, Callable, Iterable, Mapping

import grpc
import grpc.aio

from finetune_gateway import errors, unreachable
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_pb2 as ft
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_service_pb2 as svc
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_service_pb2_grpc as rpc
from finetune_gateway.backoff import Backoff
from finetune_gateway.channels import Credentials, Settings, channel_options
from finetune_gateway.jobs import StateLike, Submission, create_request, get_request, list_request, update_request
from finetune_gateway.transfers import ATTEMPTS, DatasetFile, Download, DownloadProtocol, PartialFile, PathLike, Progress
from finetune_gateway.waiting import WaitProtocol
from finetune_gateway.watching import SILENCE, Event, Subscriber, WatchView

FineTune = ft.FineTune


def connect(target: str, **settings) -> "Client":
    """As finetune_gateway.connect; use it in `async with`, within a running event loop."""
    return Client(Settings(target, **settings))


class Client:
    """One gateway, used from one event loop. See finetune_gateway.Client."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._credentials = Credentials(settings)
        self._channel: grpc.aio.Channel | None = None
        self._channel_files: object = None
        self._old_channels: list[grpc.aio.Channel] = []
        # The channel that has brought an answer.
        self._reached: grpc.aio.Channel | None = None
        self._watch: _SharedWatch | None = None
        self._closed = False

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        if self._watch is not None:
            await self._watch.close()
        for channel in self._old_channels + ([self._channel] if self._channel else []):
            await channel.close()
        self._channel, self._old_channels = None, []

    def stub(self) -> rpc.FineTuneServiceStub:
        return rpc.FineTuneServiceStub(self._current_channel())

    def _current_channel(self) -> grpc.aio.Channel:
        if self._closed:
            raise errors.ClientClosedError()
        files = self._credentials.tls_files()
        if self._channel is None or files is not self._channel_files:
            # Calls under way end on the channel that they began on.
            if self._channel is not None:
                self._old_channels.append(self._channel)
            self._channel, self._channel_files = self._open(), files
            while len(self._old_channels) > 2:
                asyncio.ensure_future(self._old_channels.pop(0).close())
        return self._channel

    def _open(self) -> grpc.aio.Channel:
        credentials = self._credentials.channel_credentials()
        options = channel_options(self._settings)
        if credentials is None:
            return grpc.aio.insecure_channel(self._settings.target, options)
        return grpc.aio.secure_channel(self._settings.target, credentials, options)

    def metadata(self) -> list[tuple[str, str]]:
        return self._credentials.metadata()

    async def _call(self, method: str, request, timeout: float):
        channel = self._current_channel()
        call = getattr(rpc.FineTuneServiceStub(channel), method)
        began = time.monotonic()
        try:
            answer = await call(request, timeout=timeout, metadata=self.metadata(), wait_for_ready=True)
        except grpc.RpcError as error:
            failed = errors.from_rpc(error)
            if self._reached is not channel and errors.may_be_out_of_reach(failed):
                seconds = time.monotonic() - began
                if why := await self._why_unreachable():
                    failed.message = unreachable.sentence(self._settings.target, seconds, why)
            raise failed from None
        self._reached = channel
        return answer

    async def _ready(self, timeout: float) -> rpc.FineTuneServiceStub:
        """A stub with a connection; UnreachableError if none comes about in time."""
        channel = self._current_channel()
        ready = asyncio.ensure_future(channel.channel_ready())
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the end.
            if not (await asyncio.wait({ready}, timeout=timeout))[0]:
                why = await self._why_unreachable()
                raise errors.UnreachableError(unreachable.sentence(self._settings.target, timeout, why))
            ready.result()
        except (grpc.aio.UsageError, asyncio.CancelledError):
            if self._closed:
                raise errors.ClientClosedError() from None
            raise
        finally:
            ready.cancel()
        self._reached = channel
        return rpc.FineTuneServiceStub(channel)

    async def _why_unreachable(self) -> str:
        return await asyncio.to_thread(unreachable.why, self._settings, self._credentials.tls_files())

    async def submit(self, fine_tune: FineTune | None = None, *, request_id: str = "", validate_only: bool = False,
                     timeout: float = 60.0, **fields) -> Submission:
        request = create_request(fine_tune, request_id, validate_only, fields)
        deadline = time.monotonic() + timeout
        backoff = Backoff(0.25, 5.0)
        while True:
            try:
                job = await self._call("CreateFineTune", request, max(0.001, deadline - time.monotonic()))
                return Submission(job, request.request_id)
            except errors.GatewayError as error:
                error.request_id = request.request_id
                pause = backoff.next(error.retry_delay)
                if not errors.worth_repeating(error) or time.monotonic() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)

    async def get(self, name: str, *, max_staleness: float | None = None, timeout: float = 30.0) -> FineTune:
        return await self._call("GetFineTune", get_request(name, max_staleness), timeout)

    async def list(self, filter: str = "", *, order_by: str = "", page_size: int = 0, full: bool = False,
                   timeout: float = 30.0) -> AsyncIterator[FineTune]:
        request = list_request(filter, order_by, page_size, full)
        while True:
            page = await self._call("ListFineTunes", request, timeout)
            for job in page.fine_tunes:
                yield job
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update(self, name: str, *, visibility: StateLike | None = None, labels: Mapping[str, str] | None = None,
                     remove_labels: Iterable[str] = (), etag: str = "", timeout: float = 30.0) -> FineTune:
        return await self._call("UpdateFineTune", update_request(name, visibility, labels, remove_labels, etag), timeout)

    async def status(self, *, timeout: float = 10.0) -> svc.GatewayStatus:
        return await self._call("GetGatewayStatus", svc.GetGatewayStatusRequest(), timeout)

    async def wait(self, name: str, until: StateLike = "AVAILABLE", *, timeout: float | None = None) -> FineTune:
        protocol = WaitProtocol(name, until, timeout)
        if self._reached is None:
            connect_timeout = self._settings.connect_timeout
            await self._ready(connect_timeout if timeout is None else min(timeout, connect_timeout))
        while True:
            try:
                done = protocol.answered(await self._call("WaitFineTune", protocol.request(), protocol.call_timeout))
                if done is not None:
                    return done
            except errors.GatewayError as error:
                protocol.failed(error)
            await asyncio.sleep(protocol.pause())

    def watch(self, names: Iterable[str] = (), where: Callable[[FineTune], bool] | None = None) -> "Watch":
        """`async for event in gateway.watch():`; `await watch.close()`, or leave its `async with`, to end it."""
        if self._closed:
            raise errors.ClientClosedError()
        if self._watch is None or self._watch.ended:
            self._watch = _SharedWatch(self)
        return Watch(self._watch, names, where)

    async def upload(self, path: PathLike, *, public_read: bool = False, file_name: str | None = None, force: bool = False,
                     progress: Progress | None = None) -> svc.Dataset:
        dataset = await asyncio.to_thread(DatasetFile, path, public_read, file_name, force)
        with contextlib.closing(dataset):
            backoff = Backoff()
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return await self._send(dataset, progress)
                except errors.GatewayError as error:
                    if attempt == ATTEMPTS or not (
                            errors.worth_repeating(error) or error.code == grpc.StatusCode.DATA_LOSS):
                        raise
                    await asyncio.sleep(backoff.next(error.retry_delay))
        raise AssertionError("not reached")

    async def _send(self, dataset: DatasetFile, progress: Progress | None) -> svc.Dataset:
        async def requests():
            # Read in another thread: the disk may be slow.
            parts = dataset.requests(progress)
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                yield part

        stub = await self._ready(self._settings.connect_timeout)
        try:
            return await stub.UploadDataset(requests(), metadata=self.metadata())
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None

    async def upload_url(self, file_name: str, *, public_read: bool = False, timeout: float = 30.0) -> svc.UploadUrl:
        return await self._call(
            "CreateUploadUrl", svc.CreateUploadUrlRequest(file_name=file_name, public_read=public_read), timeout)

    async def download(self, name: str, path: PathLike, *, progress: Progress | None = None) -> Download:
        with contextlib.closing(await asyncio.to_thread(PartialFile, path)) as file:
            protocol = DownloadProtocol(name, file, progress)
            backoff = Backoff()
            attempt = 0
            while True:
                attempt += 1
                try:
                    await self._fetch(protocol)
                    return await asyncio.to_thread(protocol.finish)
                except errors.GatewayError as error:
                    if protocol.progressed():
                        attempt = 0
                        backoff.reset()
                    if attempt >= ATTEMPTS or not protocol.may_repeat(error):
                        raise
                    await asyncio.sleep(backoff.next(error.retry_delay))

    async def _fetch(self, protocol: DownloadProtocol) -> None:
        stub = await self._ready(self._settings.connect_timeout)
        try:
            stream = stub.DownloadWeights(protocol.request(), metadata=self.metadata())
            try:
                async for message in stream:
                    await asyncio.to_thread(protocol.take, message)
            finally:
                stream.cancel()
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        protocol.complete()


class Watch:
    """A local watcher: an asynchronous iterator over events."""

    def __init__(self, shared: "_SharedWatch", names: Iterable[str], where: Callable[[FineTune], bool] | None):
        self._shared = shared
        self._changed = asyncio.Event()
        self._subscriber = Subscriber(names, where, self._changed.set)
        self._closed = False
        shared.add(self._subscriber)

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Event:
        while not self._closed:
            self._changed.clear()
            event = self._subscriber.next()
            if event is not None:
                return event
            await self._changed.wait()
        raise StopAsyncIteration

    async def close(self) -> None:
        self._closed = True
        self._changed.set()
        await self._shared.remove(self._subscriber)

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()


class _SharedWatch:
    """The one stream behind all watches of a client, and the task that reads it. Opened by the first watch; ends with the last."""

    def __init__(self, client: Client):
        self._client = client
        self._view = WatchView()
        self._ever_heard = False
        self._closing = False
        self._task: asyncio.Task | None = None

    @property
    def ended(self) -> bool:
        return self._closing or (self._task is not None and self._task.done())

    def add(self, subscriber: Subscriber) -> None:
        self._view.add(subscriber)
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def remove(self, subscriber: Subscriber) -> None:
        self._view.remove(subscriber)
        if not self._view.watched:
            await self.close()

    async def close(self) -> None:
        self._view.end(errors.ClientClosedError())
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        backoff = Backoff()
        # Before Python 3.12, asyncio.wait_for loses a cancellation that comes together with a message.
        while not self._closing:
            error = None
            try:
                await self._read(backoff)
            except errors.GatewayError as caught:
                error = caught
            except (OSError, ValueError) as caught:
                error = errors.make(grpc.StatusCode.UNAVAILABLE, str(caught))
            if error is not None and not self._view.failed(error, self._ever_heard):
                return
            await asyncio.sleep(backoff.next(error.retry_delay if error is not None else None))

    async def _read(self, backoff: Backoff) -> None:
        """One stream, to its end."""
        stream = self._client.stub().WatchFineTunes(
            self._view.request(), metadata=self._client.metadata(), wait_for_ready=True)
        try:
            while not self._closing:
                response = await asyncio.wait_for(stream.read(), SILENCE)
                if response is grpc.aio.EOF:
                    return
                self._ever_heard = True
                if response.resume_token:
                    backoff.reset()  # Only a stream that gets somewhere ends the backing off.
                self._view.apply(response)
        except asyncio.TimeoutError:
            raise errors.make(grpc.StatusCode.UNAVAILABLE, f"nothing was heard from the gateway for {SILENCE:g} s") from None
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        finally:
            stream.cancel()
