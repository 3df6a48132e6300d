#!/usr/bin/env python3
"""Writes a zip of real images to train with: sample_images.py FILE.zip [COUNT]. They are gradients: enough to try the flow."""

import sys
import zipfile
import zlib


def png(width, height, shade):
    """A PNG image: an RGB gradient."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x * 255 // width, y * 255 // height, shade % 256)) for y in range(height))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write(path, count=8, side=256):
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            archive.writestr(f"image-{i:02d}.png", png(side, side, i * 30))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        write(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 8)
    except (OSError, ValueError) as error:
        sys.exit(f"sample_images.py: {error}")
