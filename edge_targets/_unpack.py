"""Unpacks a model that travelled over the air: ONE file, standard library only, for any device with Python.

    python3 _unpack.py model.tflite.mix model.tflite

The ending names the codec: gz, xz and lzma, which a system's own tools unpack too; or mix, made for small quantized
models. `mix` guesses every bit from several contexts, mixes the guesses by their record so far, and codes the bit by
arithmetic coding (Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005). It calculates
by + - * / of IEEE doubles alone, which every machine rounds alike; not by `sum`, which Python 3.12 changed.
A parcel: b"EMX1", size, CRC-32, number of weight tensors, for each (gap to the last one's end, length, inner axis,
filter size), then the code. Numbers are unsigned LEB128.
"""

import gzip
import lzma
import sys
import zlib
from bisect import bisect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAGIC = b"EMX1"
MOST_BYTES = 2**20  # more would take a device minutes
Where = tuple[int, int, int, int]


def _logistic(x: float) -> float:
    power = 1.0 - x / 4096  # to the 4096th: exp(-x), as near as it has to be
    for _ in range(12):
        power *= power
    return 65536.0 / (1.0 + power)


SQUASH = [_logistic((i - 2048) / 170.0) for i in range(4097)]
STRETCH = [(min(bisect(SQUASH, 16.0 * i), 4095) - 2048) / 170.0 for i in range(4096)]


class Guesser:
    """The probability that the next bit is one, learned from the bits before it."""

    def __init__(self) -> None:
        self._records: dict[Any, list[Any]] = {}
        self._weights: dict[Any, list[float]] = {}

    def guess(self, contexts: list[Any], mixer: Any) -> int:  # of 65536; `mixer` names the set of mixing weights
        records = [self._records.setdefault(context, [32768.0, 0]) for context in contexts]
        inputs: list[float] = []
        for chance, seen in records:
            stretched = STRETCH[int(chance) >> 4]
            inputs += (stretched, stretched * min(seen, 8) / 8)
        weights, total = self._weights.setdefault(mixer, [0.1, 0.35] * len(records)), 0.0
        for weight, x in zip(weights, inputs):  # noqa: B905 - one length by construction, and this is the hot loop
            total += weight * x
        at = min(max(total, -11.9), 11.9) * 170.0 + 2048.0
        chance = SQUASH[int(at)] * (int(at) + 1 - at) + SQUASH[int(at) + 1] * (at - int(at))
        self._guessed = records, inputs, weights, chance
        return min(max(int(chance), 1), 65535)

    def learn(self, bit: int) -> None:
        records, inputs, weights, chance = self._guessed
        step = (65536.0 * bit - chance) * (0.02 / 65536.0)
        for i, x in enumerate(inputs):
            weights[i] += step * x
        for record in records:
            record[0] += (65535.0 * bit - record[0]) / (record[1] + 1.6)
            record[1] = min(record[1] + 1, 1022)


class Decoder:
    """Reads bit after bit from an arithmetic code. The packer's encoder has the same `bit`, and is told the bit."""

    def __init__(self, code: Iterator[int]) -> None:
        self._guesser, self._code, self._low, self._high = Guesser(), code, 0, 0xFFFFFFFF
        self._value = int.from_bytes(bytes(next(code, 0) for _ in range(4)), "big")

    def bit(self, contexts: list[Any], mixer: Any, _known: int) -> int:
        middle = self._low + ((self._high - self._low) * self._guesser.guess(contexts, mixer) >> 16)
        bit = int(self._value <= middle)
        self._low, self._high = (self._low, middle) if bit else (middle + 1, self._high)
        self._guesser.learn(bit)
        while not (self._low ^ self._high) & 0xFF000000:
            self._low, self._high = self._low << 8 & 0xFFFFFFFF, self._high << 8 & 0xFFFFFFFF | 255
            self._value = self._value << 8 & 0xFFFFFFFF | next(self._code, 0)
        return bit


def walk(coder: Any, size: int, tensors: list[Where], known: bytes) -> bytes:
    """Pass over a model bit by bit: the packer knows its bytes, the unpacker learns them from its decoder."""
    data = bytearray()
    for number, (start, length, inner, row) in enumerate([*tensors, (size, 0, 1, 1)]):
        while len(data) < start:
            data.append(_byte(coder, data, known))
        for place in range(length):
            data.append(_weight(coder, data, known, (number, place, inner, row)))
    return bytes(data)


def _byte(coder: Any, data: bytearray, known: bytes) -> int:
    """A byte of the file's structure: what stood up to 8 bytes before tells most."""
    at, h = len(data), bytes(data[-8:]).rjust(8, b"\0")
    contexts = [*enumerate((h[7:], h[6:], h[5:], h[4:], h[2:])), (5, at & 3), (6, at & 7, h[4]), (7, h[0], h[4])]
    return _tree(coder, contexts, ("byte", at & 3), known[at] if known else 0)


def _weight(coder: Any, data: bytearray, known: bytes, where: Where) -> int:
    """A weight: first whether it is zero, then its value."""
    number, place, inner, row = where
    near = [place >= back and data[-back] != 0 for back in (1, 2, inner, row)]
    kinds = ((0,), (1, *near[:2]), (2, *near[2:]), (3, place % row), (4, place // row), (5, near[0], *near[2:]))
    value = known[len(data)] ^ 128 if known else 0
    if not coder.bit([(number, "zero", *kind) for kind in kinds], (number, "zero"), int(value != 128)):
        return 0
    above = data[-row] >> 4 if place >= row else 0
    return _tree(coder, [(number, 0), (number, 1, place // row), (number, 2, above)], (number, "value"), value) ^ 128


def _tree(coder: Any, contexts: list[Any], mixer: tuple[Any, ...], value: int) -> int:
    node = 1
    for shift in range(7, -1, -1):
        node = node * 2 + coder.bit([(context, node) for context in contexts], (*mixer, shift), value >> shift & 1)
    return node - 256


def _number(stream: Iterator[int]) -> int:
    value = shift = 0
    while (byte := next(stream, 0)) > 127 and shift < 63:
        value, shift = value | (byte & 127) << shift, shift + 7
    return value | byte << shift


def unmix(parcel: bytes) -> bytes:
    """The bytes of a `mix` parcel. ValueError where it is none, or damaged."""
    stream, tensors, end = iter(parcel[len(MAGIC) :]), [], 0
    size, checksum, count = (_number(stream) for _ in range(3))
    for _ in range(min(count, MOST_BYTES)):
        gap, length, inner, row = (_number(stream) for _ in range(4))
        tensors.append((end + gap, length, max(inner, 1), max(row, 1)))
        end += gap + length
    data = walk(Decoder(stream), size, tensors, b"") if parcel[:4] == MAGIC and end <= size <= MOST_BYTES else b""
    if zlib.crc32(data) != checksum:
        raise ValueError("the parcel is damaged")
    return data


UNPACK = {"gz": gzip.decompress, "xz": lzma.decompress, "lzma": lzma.decompress, "mix": unmix}

if __name__ == "__main__":
    _new = Path(sys.argv[2] + ".new")
    _new.write_bytes(UNPACK[sys.argv[1].rpartition(".")[2]](Path(sys.argv[1]).read_bytes()))
    _new.replace(sys.argv[2])
