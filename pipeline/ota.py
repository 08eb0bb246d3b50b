"""What travels over the air: the artifact under the best of the codecs that every device's system unpacks."""

from __future__ import annotations

import gzip
import lzma
from dataclasses import dataclass


@dataclass(frozen=True)
class Parcel:
    """Compressed bytes and the name of the codec, which is the file's ending too."""

    codec: str
    data: bytes


def pack(data: bytes) -> Parcel:
    """The smallest of deflate and xz; ties go to the simpler codec."""
    parcels = [
        Parcel("gz", gzip.compress(data, 9, mtime=0)),
        Parcel("xz", lzma.compress(data, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)),
    ]
    return min(parcels, key=lambda parcel: len(parcel.data))


def unpack(parcel: Parcel) -> bytes:
    """The bytes that were packed, exactly."""
    return {"gz": gzip.decompress, "xz": lzma.decompress}[parcel.codec](parcel.data)
