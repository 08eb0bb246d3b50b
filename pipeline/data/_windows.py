"""Windows out of recordings, cut as the samples come: only what the next window still needs stays in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.data._recordings import Piece, usable
from pipeline.data._spool import Spool
from pipeline.errors import DataError

LabelRule = Literal["same", "majority"]
BYTES_AT_ONCE = 2**22


@dataclass
class Windows:
    """Cuts recordings into windows and spools them.

    Args:
        length: samples of a window.
        hop: samples from the start of one window to that of the next.
        rule: "same" leaves out windows in which the label changes; "majority" gives each its most frequent label, the
            least one of several.
    """

    length: int
    hop: int
    rule: LabelRule
    channels: tuple[str, ...] = ()
    _spool: Spool | None = None
    _recording: _Recording | None = None
    _is_text: bool | None = None
    _counts: Counter[str] = field(default_factory=Counter)

    def cut(self, pieces: Iterable[Piece]) -> Spool:
        """All windows of these pieces.

        Raises:
            DataError: there is none, or a recording has other channels than those before.
        """
        for piece in pieces:
            if self._recording is None or piece.recording != self._recording.name:
                self._finish()
                self._recording = _Recording(piece.recording)
            self._add(piece, self._recording)
        self._finish()
        if self._spool is None:
            raise DataError("There is no recording with any sample.", expected="recordings of sensors")
        if not len(self._spool):
            raise DataError(
                f"No recording gives a window of {self.length} samples: {'; '.join(self.notes())}.",
                expected="recordings that are as long as a window; rows of one recording stand one behind the other",
                mend="set a smaller window, or label_rule: majority",
            )
        return self._spool

    def notes(self) -> list[str]:
        """What did not become part of a window, a sentence each."""
        sentences = {
            "short": f"{{}} recordings are shorter than a window of {self.length} samples and were left out",
            "left": "{} samples at the ends of recordings fill no window and were left out",
            "mixed": "{} windows in which the label changes were left out",
        }
        return [text.format(self._counts[key]) for key, text in sentences.items() if self._counts[key]]

    def _add(self, piece: Piece, recording: _Recording) -> None:
        spool = self._fitting_spool(piece)
        self._check_labels(piece)
        recording.extend(piece)
        count = max(0, (len(recording.values) - self.length) // self.hop + 1)
        # Windows overlap, so that many of them take more memory than the recording.
        at_once = max(1, BYTES_AT_ONCE // (4 * math.prod(spool.shape)))
        for start in range(0, count, at_once):
            self._store(spool, recording, piece.group, start, min(count, start + at_once))
        recording.drop(count, count * self.hop)

    def _store(self, spool: Spool, recording: _Recording, group: str, first: int, last: int) -> None:
        """Spool the windows from the first to before the last of those that lie in memory."""
        part = slice(first * self.hop, (last - 1) * self.hop + self.length)
        # (windows, channels, time) → (windows, time, channels)
        x = sliding_window_view(recording.values[part], self.length, axis=0)[:: self.hop].transpose(0, 2, 1)
        labels = sliding_window_view(recording.labels[part], self.length)[:: self.hop]
        kept = np.ones(len(x), bool) if self.rule == "majority" else (labels == labels[:, :1]).all(axis=1)
        self._counts["mixed"] += int((~kept).sum())
        y = [_most_frequent(each) if self.rule == "majority" else each[0].item() for each in labels[kept]]
        if y:
            spool.extend(x[kept], y, [group] * len(y))

    def _fitting_spool(self, piece: Piece) -> Spool:
        shape = (self.length, piece.values.shape[1])
        if self._spool is None:
            self._spool, self.channels = Spool(shape, np.float32), piece.channels
        if self._spool.shape != shape:
            raise DataError(
                f"{piece.recording} has {shape[1]} channels.",
                expected=f"{self._spool.shape[1]}, as the recordings before it have",
            )
        return self._spool

    def _check_labels(self, piece: Piece) -> None:
        is_text = piece.labels.dtype.kind == "U"
        self._is_text = is_text if self._is_text is None else self._is_text
        if is_text is not self._is_text:
            raise DataError(
                f"The label of {piece.recording} is {'text' if is_text else 'a number'}.",
                expected="text for all recordings, or numbers for all",
            )
        if piece.labels.dtype.kind == "f" and not usable(piece.labels).all():
            raise DataError(f"A label of {piece.recording} is NaN or infinite.", expected="finite numbers, or text")

    def _finish(self) -> None:
        """Count what the recording that ended leaves over."""
        if self._recording is None:
            return
        if self._recording.windows == 0:
            self._counts["short"] += 1
        else:
            covered = (self._recording.windows - 1) * self.hop + self.length
            self._counts["left"] += self._recording.samples - covered


@dataclass
class _Recording:
    """What of a recording is in memory, and what was seen of it."""

    name: str
    values: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    labels: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    samples: int = 0
    windows: int = 0
    ahead: int = 0  # samples still to come that lie between two windows

    def extend(self, piece: Piece) -> None:
        self.samples += len(piece.values)
        values, labels = piece.values[self.ahead :], piece.labels[self.ahead :]
        self.ahead -= len(piece.values) - len(values)
        if len(self.values):
            values, labels = np.concatenate([self.values, values]), np.concatenate([self.labels, labels])
        self.values, self.labels = values, labels

    def drop(self, windows: int, samples: int) -> None:
        """Go on behind these windows: the next one begins so many samples later."""
        self.windows += windows
        self.ahead += max(0, samples - len(self.values))
        # Copies, so that the memory of what is behind us is given back.
        self.values, self.labels = self.values[samples:].copy(), self.labels[samples:].copy()


def _most_frequent(labels: NDArray[Any]) -> Any:
    values, counts = np.unique(labels, return_counts=True)
    return values[counts.argmax()].item()
