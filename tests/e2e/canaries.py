"""Looks for secrets where none may be: as they are, and as they look when something has encoded them on the way."""

import base64
import urllib.parse


def base64_forms(secret):
    """What of it stays the same wherever in a longer text it stands when that is encoded: one form for each alignment."""
    for shift in range(3):
        padded = bytes(shift) + secret
        cut = len(padded) % 3  # Bytes that share their last characters with what follows.
        whole = base64.b64encode(padded[:len(padded) - cut])
        # A character holds 6 bits: those that hold bits of the padding are not the secret's alone.
        text = whole[(shift * 8 + 5) // 6:]
        yield text
        yield text.translate(bytes.maketrans(b"+/", b"-_"))


def url_forms(secret):
    every = "".join(f"%{byte:02X}" for byte in secret)
    for text in (urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret), every):
        yield text.encode()
        yield text.lower().encode() if text == every else _lower_escapes(text).encode()


def _lower_escapes(text):
    head, *rest = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def forms(secret):
    """(kind, bytes) of each form."""
    secret = secret.encode()
    yield "plain", secret
    yield "JSON", secret.replace(b"/", b"\\/")
    yield "hexadecimal", secret.hex().encode()
    yield from (("base64", form) for form in base64_forms(secret))
    yield from (("URL-encoded", form) for form in url_forms(secret))


def search(secrets, places):
    """`secrets`: texts by name; `places`: bytes by name. What is found: `the API key, plain, in the log: ...around it...`."""
    found = []
    for name, secret in secrets.items():
        for kind, form in forms(secret):
            for place, text in places.items():
                at = text.find(form)
                if at >= 0 and (kind == "plain" or form != secret.encode()):
                    found.append(f"{name}, {kind}, in {place}: ...{text[max(0, at - 100):at + len(form) + 40]!r}")
    return found
