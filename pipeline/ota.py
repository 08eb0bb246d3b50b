"""What travels over the air: the artifact under the best of several codecs, which every device with Python unpacks."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edge_targets import _unpack
from edge_targets._errors import UnusableModel
from edge_targets._unpack import MAGIC, UNPACK, Guesser, Where, walk
from edge_targets.tflite_graph import Tensor, parse_graph, weight_tensors

MOST_MIXED_BITS = 150_000
"""`mix` takes some 10 µs a bit on a PC, packing and unpacking alike: above this a device would wait too long."""

LEAST_WEIGHTS = 16
"""A smaller tensor costs more to name than its contexts win."""


@dataclass(frozen=True)
class Parcel:
    """Compressed bytes and the name of the codec, which is the file's ending too."""

    codec: str
    data: bytes


def pack(data: bytes) -> Parcel:
    """The smallest of deflate, xz, lzma and, for small models, mix; ties go to the simpler codec.

    Args:
        data: a `.tflite`; anything else travels as well, only without the contexts of weights.
    """
    lzmas = [partial(_lzma, lc=lc, lp=lp) for lc, lp in ((0, 0), (0, 2), (3, 0))]
    codecs: list[Callable[[bytes], Parcel]] = [_gzip, _xz, *lzmas]
    # They let go of the interpreter while they work, so each core takes one.
    with ThreadPoolExecutor() as pool:
        parcels = [work.result() for work in [pool.submit(codec, data) for codec in codecs]]
    tensors = _weight_places(data)
    if _mixed_bits(data, tensors) <= MOST_MIXED_BITS:
        parcels.append(Parcel("mix", mix(data, tensors)))
    return min(parcels, key=lambda parcel: len(parcel.data))


def unpack(parcel: Parcel) -> bytes:
    """The bytes that were packed, exactly."""
    return UNPACK[parcel.codec](parcel.data)


def unpacker() -> bytes:
    """The script that unpacks a parcel on the device, to travel once: `python3 unpack.py PARCEL MODEL`."""
    return Path(_unpack.__file__).read_bytes()


def mix(data: bytes, tensors: Sequence[Where]) -> bytes:
    """A parcel for `edge_targets/_unpack.py`, where its form is told.

    Args:
        data: the bytes.
        tensors: where weights lie in them: start, length, inner axis, filter size; in order, apart.
    """
    numbers = [len(data), zlib.crc32(data), len(tensors)]
    end = 0
    for start, length, inner, row in tensors:
        numbers += [start - end, length, inner, row]
        end = start + length
    coder = _Encoder()
    walk(coder, len(data), list(tensors), data)
    return MAGIC + b"".join(map(_leb128, numbers)) + coder.end()


class _Encoder:
    """Writes an arithmetic code; the mirror of `_unpack.Decoder`."""

    def __init__(self) -> None:
        self._guesser, self._low, self._high = Guesser(), 0, 0xFFFFFFFF
        self._code = bytearray()

    def bit(self, contexts: list[object], mixer: object, known: int) -> int:
        middle = self._low + ((self._high - self._low) * self._guesser.guess(contexts, mixer) >> 16)
        self._low, self._high = (self._low, middle) if known else (middle + 1, self._high)
        self._guesser.learn(known)
        while not (self._low ^ self._high) & 0xFF000000:
            self._code.append(self._high >> 24)
            self._low, self._high = self._low << 8 & 0xFFFFFFFF, self._high << 8 & 0xFFFFFFFF | 255
        return known

    def end(self) -> bytes:
        """The code. The decoder reads zeros behind it, so one byte above the low end tells all that is left."""
        if self._low:
            self._code.append((self._low >> 24) + 1)
        return bytes(self._code)


def _gzip(data: bytes) -> Parcel:
    return Parcel("gz", gzip.compress(data, 9, mtime=0))


def _xz(data: bytes) -> Parcel:
    return Parcel("xz", lzma.compress(data, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME))


def _lzma(data: bytes, lc: int, lp: int) -> Parcel:
    """LZMA with its 13-byte header. A weight has little in common with the one before it: fewer `lc` bits often win."""
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "lc": lc, "lp": lp, "pb": 0}]
    return Parcel("lzma", lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters))


def _leb128(number: int) -> bytes:
    coded = bytearray()
    while number > 127:
        coded.append(number & 127 | 128)
        number >>= 7
    return bytes([*coded, number])


def _mixed_bits(data: bytes, tensors: Sequence[Where]) -> int:
    """How many bits `mix` would code: eight a byte, but a weight that is zero is one."""
    weights = sum(length for _, length, _, _ in tensors)
    zeros = sum(data[start : start + length].count(0) for start, length, _, _ in tensors)
    return 8 * (len(data) - zeros) + weights


def _weight_places(data: bytes) -> list[Where]:
    """Where the int8 weights lie in a `.tflite`, in order; nothing for bytes that are none."""
    try:
        tensors = {id(tensor): tensor for _, tensor in weight_tensors(parse_graph(data))}.values()
    except UnusableModel:
        return []
    # The parsed constants are views of the file: how far they lie behind its first byte is where they stand in it.
    first = np.frombuffer(data, np.uint8).ctypes.data
    places = [_place(tensor, first) for tensor in tensors if tensor.dtype == "int8" and tensor.size >= LEAST_WEIGHTS]
    return sorted({place for place in places if place is not None and place[0] + place[1] <= len(data)})


def _place(tensor: Tensor, first: int) -> Where | None:
    if tensor.data is None or tensor.is_sparse or len(tensor.data) != tensor.size or len(tensor.shape) < 2:
        return None
    # Filters lie one after another, but for depthwise kernels, (1, h, w, channels), where each row holds all channels.
    row = tensor.shape[-1] if tensor.shape[0] == 1 else tensor.size // tensor.shape[0]
    return tensor.data.ctypes.data - first, tensor.size, tensor.shape[-1], row
