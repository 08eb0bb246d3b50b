"""audio: a folder or .zip of WAV files, as log-mel bands, MFCCs or the waveform itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.data._assemble import Examples, Parts
from pipeline.data._audio_features import LogMel, mfcc
from pipeline.data._files import Decoding, FileSource
from pipeline.data._spool import Spool, SpooledSplit
from pipeline.data._wav import read_wav, resampled
from pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pipeline.dataset import Dataset, Split
    from pipeline.progress import Progress
    from pipeline.task import Task


class Audio(FileSource):
    """WAV files, each one example; classes stand in the folders or in the file names (`labels`).

    Inputs are (frames, bands, 1) for log_mel, (frames, coefficients, 1) for mfcc, (samples, 1) for waveform. What was
    done to a recording is in the report, in full: the device must do the same.
    """

    suffixes: ClassVar[frozenset[str]] = frozenset((".wav", ".wave"))

    sample_rate: int = Field(ge=1_000, le=768_000, description="Samples a second that every file must have.")
    resample: bool = Field(False, description="Bring files of another rate to sample_rate instead of refusing them.")
    duration_s: float = Field(
        gt=0, le=600, description="Length of every clip: longer ones are cut, shorter ones padded with zeros."
    )
    align: Literal["start", "centre"] = Field(
        "start", description="Which part of a recording is kept, and where it lies."
    )
    features: Literal["log_mel", "mfcc", "waveform"] = Field("log_mel", description="What the model sees.")
    frame_ms: float = Field(32.0, gt=0, description="Length of a frame.")
    hop_ms: float = Field(16.0, gt=0, description="From the start of a frame to the next.")
    fft: int | None = Field(
        None, ge=2, le=2**16, description="Size of the transform; default: the power of two from the frame on."
    )
    spectrum: Literal["power", "magnitude"] = Field("power", description="What the mel filters sum up.")
    mel_bins: int = Field(40, ge=1, le=512, description="Mel bands.")
    mfcc_coefficients: int = Field(13, ge=1, le=512, description="How many MFCCs are kept, from the 0th on.")
    low_hz: float = Field(20.0, ge=0, description="Where the first band begins.")
    high_hz: float | None = Field(None, gt=0, description="Where the last band ends; default: half the sample rate.")
    log_offset: float = Field(1e-6, gt=0, description="Added to each band before the natural logarithm.")
    normalise: Literal["none", "example", "training"] = Field(
        "training",
        description="Subtract a mean and divide by a standard deviation: of the clip's own features, or one pair over "
        "all training examples, which the report names.",
    )

    @model_validator(mode="after")
    def _can_be_heard(self) -> Self:
        mel = self._log_mel()
        if self.features == "waveform":
            return self
        if mel.hop < 1 or mel.frame < 2 or mel.frame > min(mel.fft, self._samples()):
            raise ValueError(
                f"a frame of {mel.frame} samples and a hop of {mel.hop} do not fit a clip of {self._samples()} samples "
                f"and a transform of {mel.fft}"
            )
        if not mel.low_hz < mel.high_hz <= self.sample_rate / 2:
            raise ValueError(f"low_hz < high_hz <= {self.sample_rate / 2:g} Hz, half the sample rate, must hold")
        if mel.deaf_bands():
            raise ValueError(
                f"{len(mel.deaf_bands())} mel bands fall between the bins of the transform: lower mel_bins, raise "
                "low_hz, or raise fft"
            )
        if self.features == "mfcc" and self.mfcc_coefficients > self.mel_bins:
            raise ValueError(f"mfcc_coefficients ({self.mfcc_coefficients}) is more than mel_bins ({self.mel_bins})")
        return self

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        mel = self._log_mel()
        decoding = Decoding(lambda content: self._input(content, mel), self._spool(mel), self._described(mel))
        parts = self.read(decoding, progress)
        return self.dataset(_normalised(parts) if self.normalise == "training" else parts, task, seed=seed)

    def _input(self, content: bytes, mel: LogMel) -> NDArray[Any]:
        """From a file's bytes to the model's input."""
        rate, samples = read_wav(content)
        if rate != self.sample_rate:
            if not self.resample:
                raise DataError(
                    f"has a sample rate of {rate} Hz.",
                    expected=f"{self.sample_rate} Hz, as sample_rate says",
                    mend="set resample: true, or another sample_rate",
                )
            samples = resampled(samples, rate, self.sample_rate)
        features = self._features(self._clip(samples), mel)
        if self.normalise == "example":
            # A silent clip has no deviation to divide by.
            features = (features - features.mean()) / max(float(features.std()), 1e-6)
        return features[..., np.newaxis]

    def _features(self, clip: NDArray[np.float32], mel: LogMel) -> NDArray[Any]:
        if self.features == "waveform":
            return clip
        bands = mel(clip)
        return bands if self.features == "log_mel" else mfcc(bands, self.mfcc_coefficients)

    def _clip(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The part that is kept, padded with zeros, (samples,)."""
        wanted = self._samples()
        spare = len(samples) - wanted
        before = abs(spare) // 2 if self.align == "centre" else 0
        if spare >= 0:
            return samples[before : before + wanted]
        return np.pad(samples, (before, -spare - before))

    def _samples(self) -> int:
        return round(self.duration_s * self.sample_rate)

    def _log_mel(self) -> LogMel:
        frame = round(self.frame_ms * self.sample_rate / 1000)
        return LogMel(
            rate=self.sample_rate,
            frame=frame,
            hop=round(self.hop_ms * self.sample_rate / 1000),
            fft=self.fft or 1 << max(frame - 1, 1).bit_length(),
            bins=self.mel_bins,
            low_hz=self.low_hz,
            high_hz=self.high_hz or self.sample_rate / 2,
            power=self.spectrum == "power",
            offset=self.log_offset,
        )

    def _spool(self, mel: LogMel) -> Callable[[], Spool]:
        shapes = {
            "waveform": (self._samples(), 1),
            "log_mel": (*mel.shape(self._samples()), 1),
            "mfcc": (mel.shape(self._samples())[0], self.mfcc_coefficients, 1),
        }
        return lambda: Spool(shapes[self.features], np.float32)

    def _described(self, mel: LogMel) -> dict[str, Any]:
        """What a device must do to a recording, in order. JSON-ready."""
        to_features = {
            "waveform": [],
            "log_mel": ["frames", "window", "fft", "spectrum", "mel_filters", "log"],
            "mfcc": ["frames", "window", "fft", "spectrum", "mel_filters", "log", "dct"],
        }
        described = {
            "kind": "audio",
            "features": self.features,
            "order": ["samples", "mono", "rate", "clip", *to_features[self.features], "normalise"],
            "samples": "PCM divided by its full scale: -1 to 1",
            "mono": "mean of the channels",
            "sample_rate_hz": self.sample_rate,
            "resampled": "other rates: polyphase filter (scipy.signal.resample_poly)" if self.resample else "never",
            "clip_samples": self._samples(),
            "clip_align": self.align,
            "clip_padding": "zeros",
            "normalise": {"how": self.normalise},
        }
        if self.features != "waveform":
            described |= mel.described()
        if self.features == "mfcc":
            described |= {"mfcc_coefficients": self.mfcc_coefficients, "dct": "type 2, divided by sqrt(2 mel_bins)"}
        return described


def _normalised(parts: Parts) -> Parts:
    """All parts with the mean and deviation of the training features taken out as they are read."""
    # Batches of a million numbers: single clips may be long.
    batch_size = max(1, 2**20 // math.prod(parts.input_shape))
    mean, deviation = _mean_and_deviation(parts.train.split, batch_size)
    described = {"how": "training", "subtract": mean, "divide_by": deviation}
    return replace(
        parts,
        train=_scaled(parts.train, mean, deviation),
        validation=None if parts.validation is None else _scaled(parts.validation, mean, deviation),
        test=_scaled(parts.test, mean, deviation),
        preprocessing={**parts.preprocessing, "normalise": described},
    )


def _mean_and_deviation(split: Split, batch_size: int) -> tuple[float, float]:
    """Over all numbers of all examples, in one pass; a deviation of zero becomes one."""
    count, total, squares = 0, 0.0, 0.0
    for x, _ in split.batches(batch_size):
        count += x.size
        total += float(x.sum(dtype=np.float64))
        squares += float(np.square(x, dtype=np.float64).sum())
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean**2, 0))) or 1.0


def _scaled(examples: Examples, mean: float, deviation: float) -> Examples:
    split = examples.split
    assert isinstance(split, SpooledSplit), "files are read into spools"
    return replace(examples, split=replace(split, subtract=mean, divide_by=deviation))
