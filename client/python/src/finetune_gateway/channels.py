"""Channels to the gateway: their options, and the files of their credentials, which are reread when they change."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import threading
import time
from typing import Any, Callable

import grpc

_SERVICE = "segmind.finetune.v1.FineTuneService"
_RETRIED = ("CreateFineTune", "GetFineTune", "ListFineTunes", "WaitFineTune", "CreateUploadUrl", "GetGatewayStatus")


def _retry(codes: list[str]) -> dict:
    return {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "5s", "backoffMultiplier": 2, "retryableStatusCodes": codes}


# What the gateway recommends to all clients; a test compares them.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {"name": [{"service": _SERVICE, "method": method} for method in _RETRIED], "waitForReady": True,
         "retryPolicy": _retry(["UNAVAILABLE", "CANCELLED"])},
        {"name": [{"service": _SERVICE, "method": "UpdateFineTune"}], "waitForReady": True, "retryPolicy": _retry(["CANCELLED"])},
    ],
    "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1},
}

_LARGEST_FILE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a gateway is reached. Paths of PEM files and of a file with a bearer token; all are reread when they change."""

    target: str
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_server_name: str | None = None
    token_file: str | None = None
    allow_insecure_token: bool = False
    max_message_bytes: int = 64 << 20
    # Seconds after which a transfer or a wait gives up a gateway that cannot be reached; other calls have their own timeout.
    connect_timeout: float = 30.0

    @property
    def secure(self) -> bool:
        return bool(self.tls or self.tls_ca or self.tls_cert)

    def check(self) -> None:
        if not self.target:
            raise ValueError("the gateway's address is empty")
        if re.match(r"https?://", self.target, re.I):
            raise ValueError("the gateway's address is HOST:PORT, without http:// or https://")
        if not _has_port(self.target):
            raise ValueError(f"the gateway's address is HOST:PORT, and {self.target!r} has no port")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("a TLS certificate needs its key, and a key its certificate")
        if self.token_file and not self.secure and not self.allow_insecure_token and not is_loopback(self.target):
            raise ValueError(f"the token would be sent to {self.target} without encryption: use TLS")


_SCHEMES = re.compile(r"^(dns:(//[^/]*/)?|ipv4:|ipv6:|passthrough:///)")
_OTHER_KINDS = re.compile(r"(unix|unix-abstract|vsock):|(?!dns:|ipv[46]:|passthrough:)[a-z][a-z0-9+.-]*://")


def host_and_port(target: str) -> tuple[str, int] | None:
    """None for what has no such, as `unix:/path`."""
    found = re.fullmatch(r"(\[[^\]]+\]|[^:/]+):(\d{1,5})", _SCHEMES.sub("", target).split(",")[0])
    return (found[1].strip("[]"), int(found[2])) if found and 0 < int(found[2]) < 65536 else None


def _has_port(target: str) -> bool:
    """Or is of a kind that needs none, such as `unix:/path`."""
    return host_and_port(target) is not None or _OTHER_KINDS.match(target) is not None


def is_loopback(target: str) -> bool:
    """Whether what is sent there stays on this machine."""
    host = _SCHEMES.sub("", target)
    if host.startswith(("unix:", "unix-abstract:")):
        return True
    host = re.sub(r":\d+$", "", host).strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_file(what: str, path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"the {what} file {path} is larger than a MiB")
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if not data.strip():
        raise ValueError(f"the {what} file {path} is empty")
    return data


class WatchedFiles:
    """Files that are read again when they change; what was good stays until something good comes. Thread-safe.

    `parse` makes a value of the files' bytes, or raises. Looks at the files at most once a second.
    """

    def __init__(self, paths: dict[str, str], parse: Callable[[dict[str, bytes]], Any]):
        self._paths = paths
        self._parse = parse
        self._lock = threading.Lock()
        self._data = self._read()
        self._value = parse(self._data)
        self._looked = time.monotonic()

    def _read(self) -> dict[str, bytes]:
        return {what: read_file(what, path) for what, path in self._paths.items()}

    def value(self) -> Any:
        with self._lock:
            if self._paths and time.monotonic() - self._looked >= 1.0:
                self._looked = time.monotonic()
                try:
                    data = self._read()
                    if data != self._data:
                        self._value = self._parse(data)
                        self._data = data
                except (OSError, ValueError):
                    pass  # Half written, or removed for a moment: the next look will tell.
            return self._value


def _parse_tls(files: dict[str, bytes]) -> dict[str, bytes]:
    for what, data in files.items():
        wanted = b"PRIVATE KEY-----" if what == "TLS key" else b"-----BEGIN CERTIFICATE-----"
        if wanted not in data or b"-----END " not in data:
            raise ValueError(f"the {what} file holds no {'private key' if what == 'TLS key' else 'certificate'} in PEM")
    return files


def _parse_token(files: dict[str, bytes]) -> str:
    token = files["token"].decode("ascii", "strict").strip()
    if token.lower().startswith("bearer "):
        raise ValueError("the token file must hold the token alone, without 'Bearer' before it")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("the token file must hold the token alone, as one word of plain text")
    return token


class Credentials:
    """The credentials that the files hold now."""

    def __init__(self, settings: Settings):
        settings.check()
        paths = {"TLS CA": settings.tls_ca, "TLS certificate": settings.tls_cert, "TLS key": settings.tls_key}
        self._settings = settings
        self._tls = WatchedFiles({what: path for what, path in paths.items() if path}, _parse_tls)
        self._token = WatchedFiles({"token": settings.token_file}, _parse_token) if settings.token_file else None

    def tls_files(self) -> dict[str, bytes]:
        """A new object whenever they have changed."""
        return self._tls.value()

    def metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self._token.value()}")] if self._token else []

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        if not self._settings.secure:
            return None
        files = self._tls.value()
        return grpc.ssl_channel_credentials(files.get("TLS CA"), files.get("TLS key"), files.get("TLS certificate"))


def channel_options(settings: Settings) -> list[tuple[str, Any]]:
    from finetune_gateway import __version__

    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.enable_retries", 1),
        ("grpc.primary_user_agent", f"finetune-gateway-client-python/{__version__}"),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # A connection of its own for each client; a gateway that has gone is noticed, and one that is back is found soon.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ]
    if is_loopback(settings.target):
        options.append(("grpc.enable_http_proxy", 0))
    if settings.tls_server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    return options
