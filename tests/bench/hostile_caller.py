"""One admitted caller that does its worst, all at once, until its standard input ends: hostile_caller.py ADDRESS TOKEN JOB SILENT_HOST.

It runs at a low priority, so that what others feel is the gateway's doing and not that its client takes the cores.
"""

import itertools
import os
import sys
import threading
import time

from servers import SOURCE, ft, svc

sys.path.insert(0, str(SOURCE / "tests/e2e"))

from deaf_client import DeafClient  # noqa: E402
from harness import grpc, rpc  # noqa: E402

ADDRESS, TOKEN, JOB, SILENT = sys.argv[1:5]
METADATA = (("authorization", f"Bearer {TOKEN}"),)
LARGE_FILTER = " OR ".join(f"theme=x{i}" for i in range(97))


def connect():
    return rpc.FineTuneServiceStub(grpc.insecure_channel(ADDRESS, options=[("grpc.use_local_subchannel_pool", 1)]))


def draft(uri):
    return ft.FineTune(display_name="x", data_source_uri=uri, instance_prompt="a photo of TOK x", trigger_word="TOK", base_model="FAST_FLUX",
                       theme="subject")


def keep_open(count, start):
    """So many calls at once for ever: each that ends is begun anew, soon."""
    open_calls = []
    while True:
        open_calls = [call for call in open_calls if not call.done()]
        open_calls += [start() for _ in range(min(count - len(open_calls), 500))]
        time.sleep(0.2)


def waits():
    stub = connect()
    keep_open(20_100, lambda: stub.WaitFineTune.future(svc.WaitFineTuneRequest(name=JOB, until="FAILED"), metadata=METADATA))


def answers_not_read():
    for numbers in itertools.count():
        deaf = DeafClient(ADDRESS, authorization=f"Bearer {TOKEN}")
        for i in range(1000):
            deaf.call("ListFineTunes", svc.ListFineTunesRequest(page_size=1000, view="FINE_TUNE_VIEW_FULL",
                                                                filter=f"display_name != n{numbers}-{i}"))
        for _ in range(50):
            if not deaf.drain():
                break
            time.sleep(0.2)
        deaf.close()


def calls_to_segmind():
    stub = connect()
    while True:
        calls = [stub.CreateUploadUrl.future(svc.CreateUploadUrlRequest(file_name="a.zip"), timeout=5, metadata=METADATA) for _ in range(30)]
        calls += [stub.DownloadWeights(svc.DownloadWeightsRequest(name=JOB, read_limit=1), timeout=5, metadata=METADATA) for _ in range(10)]
        time.sleep(1)
        for call in calls:
            call.cancel()


def silent_datasets():
    stub, number = connect(), itertools.count()
    keep_open(1100, lambda: stub.CreateFineTune.future(svc.CreateFineTuneRequest(
        fine_tune=draft(f"https://{SILENT}/{next(number)}.zip"), validate_only=True), timeout=60, metadata=METADATA))


def large_filters():
    stub, number = connect(), itertools.count()
    while True:
        calls = [stub.ListFineTunes.future(svc.ListFineTunesRequest(filter=f"{LARGE_FILTER} OR theme=y{next(number)}"), timeout=0.2,
                                           metadata=METADATA) for _ in range(300)]
        for call in calls:
            call.exception()


def slow_uploads():
    stub = connect()

    def drip():
        yield svc.UploadDatasetRequest(spec=svc.DatasetSpec(file_name="a.zip", size_bytes=1 << 20))
        while True:
            yield svc.UploadDatasetRequest(chunk=b"x")
            time.sleep(5)

    def upload():
        while True:
            try:
                stub.UploadDataset(drip(), metadata=METADATA)
            except grpc.RpcError:
                time.sleep(1)

    for _ in range(64):
        threading.Thread(target=upload, daemon=True).start()


def large_watches():
    stub, number = connect(), itertools.count()
    while True:
        calls = [stub.WatchFineTunes(svc.WatchFineTunesRequest(filter=f"{LARGE_FILTER} OR theme=z{next(number)}"), metadata=METADATA)
                 for _ in range(100)]
        time.sleep(2)
        for call in calls:
            call.cancel()


def main():
    os.nice(10)
    for worst in (waits, answers_not_read, calls_to_segmind, silent_datasets, large_filters, slow_uploads, large_watches):
        threading.Thread(target=worst, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
