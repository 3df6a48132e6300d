"""Files on their way: what uploads and downloads do to this machine's disk, and how a broken download is continued."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import os
import pathlib
import tempfile
import zipfile
from typing import Callable, Iterator, Union

import grpc

from finetune_gateway import errors
from finetune_gateway._proto.segmind.finetune.v1 import fine_tune_service_pb2 as svc

try:
    from google_crc32c import value as _crc32c
except ImportError:  # TLS, TCP and the SHA-256 of the whole still guard the bytes.
    _crc32c = None

CHUNK_BYTES = 1 << 20
# How often in a row a transfer may break without getting any further.
ATTEMPTS = 6

Progress = Callable[[int, int], None]
PathLike = Union[str, "os.PathLike[str]"]

# What the gateway and Segmind take as an image, and what may lie beside one: its caption, and a table of captions.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_CAPTION_SUFFIXES = (".txt", ".caption")
_TABLES = ("metadata.jsonl", "metadata.csv")


@dataclasses.dataclass(frozen=True)
class Download:
    """A file that was downloaded: its size, its SHA-256 in hexadecimal, and how much of it an earlier attempt had left."""

    path: pathlib.Path
    size_bytes: int
    sha256: str
    resumed_bytes: int


class PartialFile:
    """A file that is being fetched. Its bytes gather in PATH.part and get the final name only when all are there.

    What is there is kept for a later attempt, also of another process, together with the version of the source that it is from
    (PATH.part.generation). Locked against a second fetch of the same path.
    """

    def __init__(self, path: PathLike):
        self.path = pathlib.Path(path)
        self._part = self.path.with_name(self.path.name + ".part")
        self._generation_path = self.path.with_name(self.path.name + ".part.generation")
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder; name the file", str(self.path))
        # The finished file takes the name, and with it the place of whatever has it.
        if self.path.exists() and not self.path.is_file():
            raise OSError(errno.EINVAL, "is no regular file; name another", str(self.path))
        self._file = self._open_locked()
        self._digest = hashlib.sha256()
        self.size = 0
        self.generation = ""
        self._load()

    def _open_locked(self):
        while True:
            file = open(self._part, "a+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise FileExistsError(errno.EEXIST, "another download to the same path is under way", str(self.path)) from None
            except OSError as error:
                # A file system without locks: go on without one.
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    file.close()
                    raise
            # Another process may have given the file its final name between the opening and the lock.
            try:
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self._part)):
                    return file
            except FileNotFoundError:
                pass
            file.close()

    def _load(self) -> None:
        try:
            self.generation = self._generation_path.read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            self.generation = ""
        if not self.generation:
            self.restart("")
            return
        self._file.seek(0)
        while block := self._file.read(CHUNK_BYTES):
            self._digest.update(block)
            self.size += len(block)

    def restart(self, generation: str) -> None:
        """Drops what is there: from now on the file is of this version. One without a version cannot be continued later."""
        self._generation_path.unlink(missing_ok=True)
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0
        self.generation = generation
        if generation:
            self._generation_path.write_text(generation)

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def sha256(self) -> bytes:
        return self._digest.digest()

    def finish(self) -> None:
        """Gives the complete file its name, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._part, self.path)
        self._generation_path.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        self._file.close()


class DownloadProtocol:
    """One download over as many streams as it takes; the caller makes the streams and feeds their messages in."""

    def __init__(self, name: str, file: PartialFile, progress: Progress | None):
        self._name = name
        self._file = file
        self._progress = progress
        self._resumed = file.size
        self._total = -1
        self._whole_sha256 = b""
        self._size_before = 0

    def request(self) -> svc.DownloadWeightsRequest:
        """For the next stream: what is missing, of the version that is here."""
        self._total = -1
        self._size_before = self._file.size
        return svc.DownloadWeightsRequest(
            name=self._name, read_offset=self._file.size, generation=self._file.generation if self._file.size else "")

    def take(self, message: svc.DownloadWeightsResponse) -> None:
        file = self._file
        if self._total < 0:
            self._total = message.total_size_bytes
            if file.size == 0:
                file.restart(message.generation)
        if message.sha256:
            self._whole_sha256 = message.sha256
        if message.chunk:
            if message.offset != file.size:
                raise errors.make(grpc.StatusCode.DATA_LOSS, f"byte {message.offset} came where byte {file.size} was due")
            if _crc32c is not None and message.crc32c and _crc32c(message.chunk) != message.crc32c:
                raise errors.make(grpc.StatusCode.DATA_LOSS, f"the bytes from {file.size} on were damaged on their way")
            file.append(message.chunk)
            if self._progress is not None:
                self._progress(file.size, self._total)

    def complete(self) -> None:
        """After the last message of a stream: an error unless the file is whole."""
        file = self._file
        if file.size < self._total:
            raise errors.make(grpc.StatusCode.UNAVAILABLE, f"the transfer ended at byte {file.size} of {self._total}")
        if file.size > self._total >= 0:
            raise errors.make(grpc.StatusCode.DATA_LOSS, "more bytes came than the file has")
        if self._whole_sha256 and self._whole_sha256 != file.sha256():
            raise errors.make(grpc.StatusCode.DATA_LOSS, "the SHA-256 of the file is not what the gateway says")

    def progressed(self) -> bool:
        """Whether the last stream brought anything."""
        return self._file.size > self._size_before

    def may_repeat(self, error: errors.GatewayError) -> bool:
        """Whether another stream may bring the rest. Drops what cannot be continued."""
        if error.reason == "WEIGHTS_CHANGED" or error.code in (grpc.StatusCode.DATA_LOSS, grpc.StatusCode.OUT_OF_RANGE):
            if self._size_before == 0 and error.code != grpc.StatusCode.DATA_LOSS:
                return False
            self._file.restart("")
            self._resumed = 0
            return True
        return errors.worth_repeating(error)

    def finish(self) -> Download:
        self._file.finish()
        return Download(self._file.path, self._file.size, self._file.sha256().hex(), self._resumed)


class DatasetFile:
    """A zip that is to be uploaded: the one at `path`, or one made of the images of the folder there.

    ValueError for what Segmind would refuse after an hour: no image at the top level, no zip at all. `force` sends it all the
    same.
    """

    def __init__(self, path: PathLike, public_read: bool, file_name: str | None, force: bool = False):
        self._folder = pathlib.Path(path)
        self._temporary = None
        self.path = self._folder
        if self._folder.is_dir():
            self.path = self._zip_folder(self._folder)
        elif not force:
            _check_zip(self.path)
        name = file_name or (self._folder.resolve().name + ".zip" if self._folder.is_dir() else self._folder.name)
        digest = hashlib.sha256()
        size = 0
        with open(self.path, "rb") as file:
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
                size += len(block)
        self.spec = svc.DatasetSpec(file_name=name, size_bytes=size, public_read=public_read, sha256=digest.digest())

    def _zip_folder(self, folder: pathlib.Path) -> pathlib.Path:
        taken = [file for file in sorted(folder.iterdir()) if file.is_file() and _belongs(file)]
        if not any(file.suffix.lower() in IMAGE_SUFFIXES for file in taken):
            raise ValueError(f"{folder} has no image ({', '.join(IMAGE_SUFFIXES)}) at its top level")
        self._temporary = tempfile.NamedTemporaryFile(prefix="dataset-", suffix=".zip")
        with zipfile.ZipFile(self._temporary.name, "w", zipfile.ZIP_STORED) as archive:
            for file in taken:
                archive.write(file, file.name.encode("utf-8", "replace").decode())
        return pathlib.Path(self._temporary.name)

    def requests(self, progress: Progress | None) -> Iterator[svc.UploadDatasetRequest]:
        yield svc.UploadDatasetRequest(spec=self.spec)
        sent = 0
        with open(self.path, "rb") as file:
            while block := file.read(CHUNK_BYTES):
                yield svc.UploadDatasetRequest(chunk=block)
                sent += len(block)
                if progress is not None:
                    progress(sent, self.spec.size_bytes)

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.close()


def _belongs(file: pathlib.Path) -> bool:
    if file.name.startswith("."):
        return False
    return file.suffix.lower() in IMAGE_SUFFIXES + _CAPTION_SUFFIXES or file.name in _TABLES


def _check_zip(path: pathlib.Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is no zip") from None
    if not any("/" not in name and name.lower().endswith(IMAGE_SUFFIXES) for name in names):
        raise ValueError(f"{path} has no image at its top level; Segmind looks into no sub-folder")
