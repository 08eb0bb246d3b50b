"""What a network sees of a sound: log-mel bands or MFCCs, by formulas that a device can repeat to the letter.

A clip is cut into frames of `frame` samples, one every `hop` samples, without padding: 1 + (n - frame) // hop of them.
Each is multiplied by a periodic Hann window, w[i] = 0.5 - 0.5 cos(2 pi i / frame), padded with zeros at its end to
`fft` samples, and transformed. Of the fft/2 + 1 bins the magnitude, or its square, is summed up in triangular mel
filters (HTK's mel(f) = 1127 ln(1 + f / 700)). Their `bins` + 2 edges lie evenly in mel between `low_hz` and `high_hz`,
their slopes are straight in mel, their peaks are 1, and the bin of 0 Hz is left out. The feature is ln(band + offset).

MFCCs are the first `coefficients` of the unnormalized DCT-II of the log-mel bands, divided by sqrt(2 bins).

All this is what `tf.signal` computes (stft, linear_to_mel_weight_matrix, mfccs_from_log_mel_spectrograms), and the
tests compare it with that; here it is numpy, so that reading sounds does not wait for TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HTK_FACTOR = 1127.0
HTK_CORNER_HZ = 700.0


@dataclass(frozen=True)
class LogMel:
    """The log-mel bands of a clip.

    Attributes:
        rate: samples a second.
        frame, hop: length of a frame and from one to the next, in samples.
        fft: length of the transform, at least `frame`.
        bins: number of mel bands.
        low_hz, high_hz: outer edges of the first and the last band.
        power: whether squared magnitudes are summed, or magnitudes.
        offset: added before the logarithm.
    """

    rate: int
    frame: int
    hop: int
    fft: int
    bins: int
    low_hz: float
    high_hz: float
    power: bool
    offset: float

    def shape(self, samples: int) -> tuple[int, int]:
        """(frames, bands) of a clip of so many samples."""
        return 1 + (samples - self.frame) // self.hop, self.bins

    def __call__(self, clip: NDArray[np.float32]) -> NDArray[np.float64]:
        """The features of one clip.

        Args:
            clip: (samples,), at least `frame` of them.

        Returns:
            (frames, bands).
        """
        frames = np.lib.stride_tricks.sliding_window_view(clip, self.frame)[:: self.hop]
        spectrum = np.abs(np.fft.rfft(frames * self.window, self.fft))
        bands = (np.square(spectrum) if self.power else spectrum) @ self.filters
        log_bands: NDArray[np.float64] = np.log(bands + self.offset)
        return log_bands

    @cached_property
    def window(self) -> NDArray[np.float64]:
        """The periodic Hann window, (frame,)."""
        window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame) / self.frame)
        return window

    @cached_property
    def edges_hz(self) -> NDArray[np.float64]:
        """Where the bands begin, peak and end: band i from edge i over i + 1 to i + 2, (bins + 2,)."""
        edges: NDArray[np.float64] = _hertz(np.linspace(_mel(self.low_hz), _mel(self.high_hz), self.bins + 2))
        return edges

    @cached_property
    def filters(self) -> NDArray[np.float64]:
        """The weight of each bin of the transform in each band, (fft // 2 + 1, bins)."""
        heard = _mel(np.arange(self.fft // 2 + 1) * self.rate / self.fft)[:, np.newaxis]
        edges = np.linspace(_mel(self.low_hz), _mel(self.high_hz), self.bins + 2)
        lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
        slopes = np.minimum((heard - lower) / (centre - lower), (upper - heard) / (upper - centre))
        weights: NDArray[np.float64] = np.maximum(slopes, 0)
        weights[0] = 0
        return weights

    def deaf_bands(self) -> list[int]:
        """Bands so narrow that no bin of the transform falls into them."""
        return [int(band) for band in np.flatnonzero(self.filters.sum(axis=0) == 0)]

    def described(self) -> dict[str, Any]:
        """The same in words and numbers, JSON-ready, complete enough to write it anew."""
        return {
            "frame_samples": self.frame,
            "hop_samples": self.hop,
            "frame_padding": "none",
            "window": "hann, periodic: 0.5 - 0.5 cos(2 pi i / frame_samples)",
            "fft_size": self.fft,
            "fft_padding": "zeros at the end of the frame",
            "spectrum": "squared magnitude" if self.power else "magnitude",
            "mel_scale": "HTK: 1127 ln(1 + hz / 700)",
            "mel_bins": self.bins,
            "mel_edges_hz": [round(float(edge), 4) for edge in self.edges_hz],
            "mel_filters": "triangles with slopes straight in mel and peak 1; band i rises from edge i, peaks at edge "
            "i + 1, ends at edge i + 2; the bin of 0 Hz has no weight",
            "log": "natural",
            "log_offset": self.offset,
        }


def mfcc(log_mel: NDArray[np.float64], coefficients: int) -> NDArray[np.float64]:
    """Cepstral coefficients of log-mel bands, as `tf.signal.mfccs_from_log_mel_spectrograms`.

    Args:
        log_mel: (frames, bands).
        coefficients: how many of the first are kept.

    Returns:
        (frames, coefficients).
    """
    from scipy.fft import dct

    cepstrum: NDArray[np.float64] = dct(log_mel, type=2, axis=-1) / np.sqrt(2 * log_mel.shape[-1])
    return cepstrum[:, :coefficients]


def _mel(hertz: Any) -> Any:
    return HTK_FACTOR * np.log1p(np.asarray(hertz, np.float64) / HTK_CORNER_HZ)


def _hertz(mel: Any) -> Any:
    return HTK_CORNER_HZ * np.expm1(mel / HTK_FACTOR)
