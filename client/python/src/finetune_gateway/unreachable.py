"""Why a gateway cannot be reached: gRPC says of that no more than that time ran out."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import urllib.request
from typing import Mapping

from finetune_gateway.channels import Settings, host_and_port, is_loopback

_PATIENCE = 2.0
_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_….


def why(settings: Settings, files: Mapping[str, bytes]) -> str:
    """Half a sentence; empty if nothing is wrong that can be seen from here. Connects once more, and takes seconds at most."""
    address = host_and_port(settings.target)
    if address is None:
        return ""
    if not is_loopback(settings.target) and (proxy := _proxy_for(address)):
        return f"the way there is the proxy of {proxy}; is it the proxy's to connect there? If not, name the host in no_proxy"
    try:
        _connect(address).close()
        return _why_no_tls(settings, files, address) if settings.secure else _why_not_plain(address)
    except socket.gaierror:
        return f"there is no host {address[0]}"
    except ConnectionRefusedError:
        return "connection refused; is the gateway running there?"
    except (socket.timeout, TimeoutError):
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)


def sentence(target: str, seconds: float, why: str) -> str:
    return f"could not connect to {target} in {seconds:.3g} s" + (f": {why}" if why else "")


def _connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, _PATIENCE)


def _proxy_for(address: tuple[str, int]) -> str:
    """The environment's variable that names the proxy."""
    no_proxy = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if urllib.request.proxy_bypass_environment(f"{address[0]}:{address[1]}", {"no": no_proxy}):
        return ""
    return next((name for name in ("grpc_proxy", "https_proxy", "http_proxy") if os.environ.get(name)), "")


def _why_no_tls(settings: Settings, files: Mapping[str, bytes], address: tuple[str, int]) -> str:
    context = ssl.create_default_context(cadata=files["TLS CA"].decode("latin-1") if "TLS CA" in files else None)
    context.set_alpn_protocols(["h2"])
    if settings.tls_cert:
        with contextlib.suppress(OSError):  # Being replaced.
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    name = settings.tls_server_name or address[0]
    try:
        with context.wrap_socket(_connect(address), server_hostname=name) as stream:
            # An HTTP/2 server speaks first. A client's certificate that it does not like it refuses only now.
            if stream.recv(1):
                return ""
    except ssl.SSLCertVerificationError as error:
        return _unverified(error.verify_code, name, settings)
    except (socket.timeout, TimeoutError):
        return "what is there does not answer; is it the right port?"
    except (ssl.SSLError, ConnectionError) as error:
        if "ALERT" not in (getattr(error, "reason", None) or ""):
            return "what is there does not speak TLS; is it the right port, and is the gateway one with TLS?"
    if settings.tls_cert:
        return f"it does not accept the certificate {settings.tls_cert}"
    return "it asks for a client certificate; give yours as tls_cert and tls_key"


def _unverified(code: int, name: str, settings: Settings) -> str:
    if code == _EXPIRED:
        return "its certificate has expired"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet; is this machine's clock right?"
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"its certificate is not for {name}; call it by a name that the certificate has"
    trusted = f"in {settings.tls_ca}" if settings.tls_ca else "that this system trusts; give its authority as tls_ca"
    return f"its certificate is not signed by an authority {trusted}"


def _why_not_plain(address: tuple[str, int]) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    speaks_tls = False
    try:
        with context.wrap_socket(_connect(address)):
            speaks_tls = True
    except ssl.SSLError as error:
        speaks_tls = "ALERT" in (error.reason or "")
    except OSError:
        pass
    if speaks_tls:
        return "it speaks TLS; give the authority of its certificate as tls_ca, or tls=True"
    with contextlib.suppress(OSError), _connect(address) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        if stream.recv(5) == b"HTTP/":
            return "what is there speaks HTTP, not gRPC; is it the right port?"
    return ""
