"""The client, with blocking calls. `aio` has the same as coroutines."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Callable, Iterable, Iterator, Mapping

import grpc

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
    """A client of the gateway at `target` (HOST:PORT, or a gRPC name such as dns:///finetune-gateway:50051).

    tls: TLS with the system's authorities. tls_ca: a PEM file with the authorities to trust instead. tls_cert, tls_key: PEM files
    with the client's own certificate and key. token_file: a file with a bearer token. All files are reread when they change.
    connect_timeout: after how many seconds a transfer or a wait gives up a gateway that cannot be reached (30).
    Raises ValueError or OSError for settings that cannot work. Does not connect: the first call does, and waits for a gateway
    that is away until its own timeout.
    """
    return Client(Settings(target, **settings))


class Client:
    """One gateway. Thread-safe. `timeout`s are in seconds; a call that fails raises a GatewayError."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._credentials = Credentials(settings)
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._channel_files: object = None
        self._old_channels: list[grpc.Channel] = []
        # The channel that has brought an answer.
        self._reached: grpc.Channel | None = None
        self._watch: _SharedWatch | None = None
        self._closed = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends all watches and the connection."""
        with self._lock:
            self._closed = True
            watch, channels = self._watch, self._old_channels + ([self._channel] if self._channel else [])
            self._watch, self._channel, self._old_channels = None, None, []
        if watch is not None:
            watch.close()
        for channel in channels:
            channel.close()

    def stub(self) -> rpc.FineTuneServiceStub:
        """The generated stub, for calls that have no method here; pass `metadata()` along."""
        return rpc.FineTuneServiceStub(self._current_channel())

    def _current_channel(self) -> grpc.Channel:
        with self._lock:
            if self._closed:
                raise errors.ClientClosedError()
            files = self._credentials.tls_files()
            if self._channel is None or files is not self._channel_files:
                # Calls under way end on the channel that they began on.
                if self._channel is not None:
                    self._old_channels.append(self._channel)
                self._channel, self._channel_files = self._open(), files
                while len(self._old_channels) > 2:
                    self._old_channels.pop(0).close()
            return self._channel

    def _open(self) -> grpc.Channel:
        credentials = self._credentials.channel_credentials()
        options = channel_options(self._settings)
        if credentials is None:
            return grpc.insecure_channel(self._settings.target, options)
        return grpc.secure_channel(self._settings.target, credentials, options)

    def metadata(self) -> list[tuple[str, str]]:
        return self._credentials.metadata()

    def _call(self, method: str, request, timeout: float):
        channel = self._current_channel()
        call = getattr(rpc.FineTuneServiceStub(channel), method)
        began = time.monotonic()
        try:
            answer = call(request, timeout=timeout, metadata=self.metadata(), wait_for_ready=True)
        except grpc.RpcError as error:
            failed = errors.from_rpc(error)
            if self._reached is not channel and errors.may_be_out_of_reach(failed):
                seconds = time.monotonic() - began
                if why := unreachable.why(self._settings, self._credentials.tls_files()):
                    failed.message = unreachable.sentence(self._settings.target, seconds, why)
            raise failed from None
        self._reached = channel
        return answer

    def _ready(self, timeout: float) -> rpc.FineTuneServiceStub:
        """A stub with a connection; UnreachableError if none comes about in time."""
        channel = self._current_channel()
        deadline = time.monotonic() + timeout
        ready = grpc.channel_ready_future(channel)
        try:
            while True:
                with contextlib.suppress(grpc.FutureTimeoutError):
                    ready.result(max(0.0, min(0.25, deadline - time.monotonic())))
                    self._reached = channel
                    return rpc.FineTuneServiceStub(channel)
                if self._closed:
                    raise errors.ClientClosedError()
                if time.monotonic() >= deadline:
                    why = unreachable.why(self._settings, self._credentials.tls_files())
                    raise errors.UnreachableError(unreachable.sentence(self._settings.target, timeout, why))
        finally:
            ready.cancel()

    def submit(self, fine_tune: FineTune | None = None, *, request_id: str = "", validate_only: bool = False,
               timeout: float = 60.0, **fields) -> Submission:
        """Submits a job: one request_id makes at most one job, whatever fails.

        The job is given by its fields as keywords (display_name, data_source_uri, instance_prompt, trigger_word, base_model, theme,
        labels, visibility="PUBLIC", parameters={"steps": 500}, ...), as a FineTune message, or both. The call is repeated while the
        gateway is out of reach, until `timeout`; an error has the `request_id` that the same submit may be repeated with. Look at
        `unknown` of what is returned.
        """
        request = create_request(fine_tune, request_id, validate_only, fields)
        deadline = time.monotonic() + timeout
        backoff = Backoff(0.25, 5.0)
        while True:
            try:
                job = self._call("CreateFineTune", request, max(0.001, deadline - time.monotonic()))
                return Submission(job, request.request_id)
            except errors.GatewayError as error:
                error.request_id = request.request_id
                pause = backoff.next(error.retry_delay)
                if not errors.worth_repeating(error) or time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)

    def get(self, name: str, *, max_staleness: float | None = None, timeout: float = 30.0) -> FineTune:
        """The job `fineTunes/{id}`. max_staleness: how old, in seconds, what is told may be; 0 asks Segmind now."""
        return self._call("GetFineTune", get_request(name, max_staleness), timeout)

    def list(self, filter: str = "", *, order_by: str = "", page_size: int = 0, full: bool = False,
             timeout: float = 30.0) -> Iterator[FineTune]:
        """All jobs that match, newest first, page by page as they are asked for."""
        request = list_request(filter, order_by, page_size, full)
        while True:
            page = self._call("ListFineTunes", request, timeout)
            yield from page.fine_tunes
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def update(self, name: str, *, visibility: StateLike | None = None, labels: Mapping[str, str] | None = None,
               remove_labels: Iterable[str] = (), etag: str = "", timeout: float = 30.0) -> FineTune:
        """Changes what is given, and nothing else. With `etag`, only if the job is still as it was then (ConflictError)."""
        return self._call("UpdateFineTune", update_request(name, visibility, labels, remove_labels, etag), timeout)

    def status(self, *, timeout: float = 10.0) -> svc.GatewayStatus:
        """How healthy and how fresh the gateway is, who you are to it, and what you may still do."""
        return self._call("GetGatewayStatus", svc.GetGatewayStatusRequest(), timeout)

    def wait(self, name: str, until: StateLike = "AVAILABLE", *, timeout: float | None = None) -> FineTune:
        """The job once it has reached `until`, or has ended otherwise: look at its state. WaitTimeout after `timeout` seconds
        (None: never), also across restarts of the gateway; UnreachableError if it was never there."""
        protocol = WaitProtocol(name, until, timeout)
        if self._reached is None:
            connect_timeout = self._settings.connect_timeout
            self._ready(connect_timeout if timeout is None else min(timeout, connect_timeout))
        while True:
            try:
                done = protocol.answered(self._call("WaitFineTune", protocol.request(), protocol.call_timeout))
                if done is not None:
                    return done
            except errors.GatewayError as error:
                protocol.failed(error)
            time.sleep(protocol.pause())

    def watch(self, names: Iterable[str] = (), where: Callable[[FineTune], bool] | None = None) -> "Watch":
        """Events about jobs, for ever: first all that there are, then SYNCED, then each change.

        Iterate over it, from one thread; close it (or leave its `with`) to end it, from any thread. `names`: only these jobs;
        `where`: only jobs for which it is true, and LEFT when one stops being so. All watches of a client share one stream, which
        resumes by itself and tells nothing twice.
        """
        with self._lock:
            if self._closed:
                raise errors.ClientClosedError()
            if self._watch is None or self._watch.ended:
                self._watch = _SharedWatch(self)
            shared = self._watch
        return shared.subscribe(names, where)

    def upload(self, path: PathLike, *, public_read: bool = False, file_name: str | None = None, force: bool = False,
               progress: Progress | None = None) -> svc.Dataset:
        """Sends a zip, or the images of a folder as one, through the gateway. `data_source_uri` of what is returned is for submit.

        FAST_FLUX needs public_read. progress(done, total) is called now and then, in bytes. ValueError for what Segmind would
        refuse an hour later; `force` sends a zip all the same.
        """
        with contextlib.closing(DatasetFile(path, public_read, file_name, force)) as dataset:
            backoff = Backoff()
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._send(dataset, progress)
                except errors.GatewayError as error:
                    if attempt == ATTEMPTS or not (
                            errors.worth_repeating(error) or error.code == grpc.StatusCode.DATA_LOSS):
                        raise
                    time.sleep(backoff.next(error.retry_delay))
        raise AssertionError("not reached")

    def _send(self, dataset: DatasetFile, progress: Progress | None) -> svc.Dataset:
        stub = self._ready(self._settings.connect_timeout)
        try:
            return stub.UploadDataset(dataset.requests(progress), metadata=self.metadata())
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None

    def upload_url(self, file_name: str, *, public_read: bool = False, timeout: float = 30.0) -> svc.UploadUrl:
        """A URL to which a dataset can be PUT directly, by whoever has internet access."""
        return self._call("CreateUploadUrl", svc.CreateUploadUrlRequest(file_name=file_name, public_read=public_read), timeout)

    def download(self, name: str, path: PathLike, *, progress: Progress | None = None) -> Download:
        """Fetches a job's weights into `path`. Goes on where it broke, also in a later process, unless the file has changed at its
        source; until it is whole its bytes are in PATH.part, and what lies at `path` stays."""
        with contextlib.closing(PartialFile(path)) as file:
            protocol = DownloadProtocol(name, file, progress)
            backoff = Backoff()
            attempt = 0
            while True:
                attempt += 1
                try:
                    self._fetch(protocol)
                    return protocol.finish()
                except errors.GatewayError as error:
                    if protocol.progressed():
                        attempt = 0
                        backoff.reset()
                    if attempt >= ATTEMPTS or not protocol.may_repeat(error):
                        raise
                    time.sleep(backoff.next(error.retry_delay))

    def _fetch(self, protocol: DownloadProtocol) -> None:
        stub = self._ready(self._settings.connect_timeout)
        try:
            stream = stub.DownloadWeights(protocol.request(), metadata=self.metadata())
            try:
                for message in stream:
                    protocol.take(message)
            finally:
                stream.cancel()
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        protocol.complete()


class Watch:
    """A local watcher: an iterator over events. See Client.watch."""

    def __init__(self, shared: "_SharedWatch", names: Iterable[str], where: Callable[[FineTune], bool] | None):
        self._shared = shared
        self._changed = shared.changed
        self._subscriber = Subscriber(names, where, self._changed.notify_all)
        self._closed = False

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None after `timeout` seconds without one, or once the watch is closed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._closed:
                event = self._subscriber.next()
                if event is not None:
                    return event
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
        return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._shared.remove(self._subscriber)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _SharedWatch:
    """The one stream behind all watches of a client, and the thread that reads it. Opened by the first watch; ends with the last."""

    def __init__(self, client: Client):
        self._client = client
        # Guards all below, and tells of changes.
        self.changed = threading.Condition()
        self._view = WatchView()
        self._stream = None
        self._stopped = False
        self._ever_heard = False
        self._thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        with self.changed:
            return self._stopped

    def subscribe(self, names: Iterable[str], where: Callable[[FineTune], bool] | None) -> Watch:
        watch = Watch(self, names, where)
        with self.changed:
            self._view.add(watch._subscriber)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="finetune-watch", daemon=True)
                self._thread.start()
        return watch

    def remove(self, subscriber: Subscriber) -> None:
        with self.changed:
            self._view.remove(subscriber)
            if self._view.watched:
                return
        self.close()

    def close(self) -> None:
        with self.changed:
            if not self._stopped:
                self._stopped = True
                self._view.end(errors.ClientClosedError())
            stream, thread = self._stream, self._thread
            self.changed.notify_all()
        if stream is not None:
            stream.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        backoff = Backoff()
        while True:
            error = None
            try:
                self._read(backoff)
            except errors.GatewayError as caught:
                error = caught
            except (OSError, ValueError) as caught:
                error = errors.make(grpc.StatusCode.UNAVAILABLE, str(caught))
            with self.changed:
                if not self._stopped and error is not None and not self._view.failed(error, self._ever_heard):
                    self._stopped = True
                if self._stopped or self.changed.wait_for(
                        lambda: self._stopped, backoff.next(error.retry_delay if error is not None else None)):
                    return

    def _read(self, backoff: Backoff) -> None:
        """One stream, to its end."""
        with self.changed:
            if self._stopped:
                return
            request = self._view.request()
        stream = self._client.stub().WatchFineTunes(request, metadata=self._client.metadata(), wait_for_ready=True)
        with self.changed:
            self._stream = stream
            if self._stopped:
                stream.cancel()
        silence = _Silence(stream)
        try:
            for response in stream:
                silence.heard()
                with self.changed:
                    self._ever_heard = True
                    if response.resume_token:
                        backoff.reset()  # Only a stream that gets somewhere ends the backing off.
                    if not self._stopped:
                        self._view.apply(response)
        except grpc.RpcError as error:
            if silence.fired:
                raise errors.make(grpc.StatusCode.UNAVAILABLE, f"nothing was heard from the gateway for {SILENCE:g} s") from None
            raise errors.from_rpc(error) from None
        finally:
            silence.stop()
            stream.cancel()
            with self.changed:
                self._stream = None


class _Silence:
    """Cancels a stream on which nothing came for too long, not even a heartbeat: it is dead, whatever TCP believes."""

    def __init__(self, stream):
        self.fired = False
        self._stream = stream
        self._heard = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="finetune-watch-silence", daemon=True)
        self._thread.start()

    def heard(self) -> None:
        self._heard = time.monotonic()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(max(0.1, self._heard + SILENCE - time.monotonic())):
            if time.monotonic() - self._heard >= SILENCE:
                self.fired = True
                self._stream.cancel()
                return
