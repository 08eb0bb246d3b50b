"""The features of a sound are what tf.signal computes, and the report says enough to compute them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data._audio_features import LogMel, mfcc
from pipeline.data.audio import Audio
from tests.data.files import RATE_HZ, digit_files, load, write_files

SETTINGS = [
    LogMel(rate=8000, frame=256, hop=160, fft=256, bins=32, low_hz=20, high_hz=4000, power=True, offset=1e-6),
    LogMel(rate=16000, frame=480, hop=320, fft=512, bins=40, low_hz=20, high_hz=4000, power=False, offset=1e-6),
    LogMel(rate=44100, frame=1000, hop=441, fft=2048, bins=64, low_hz=0, high_hz=20000, power=True, offset=1e-3),
]


@pytest.mark.tf
@pytest.mark.parametrize("mel", SETTINGS, ids=lambda mel: f"{mel.rate} Hz")
def test_they_are_those_of_tensorflow(mel: LogMel) -> None:
    from pipeline._tf import tf

    clip = np.random.default_rng(1).normal(0, 0.1, mel.rate // 2).astype(np.float32)
    spectrum = tf.abs(tf.signal.stft(clip, mel.frame, mel.hop, mel.fft))
    weights = tf.signal.linear_to_mel_weight_matrix(mel.bins, mel.fft // 2 + 1, mel.rate, mel.low_hz, mel.high_hz)
    expected = tf.math.log(tf.matmul(spectrum**2 if mel.power else spectrum, weights) + mel.offset)
    ours = mel(clip)
    assert ours.shape == mel.shape(len(clip)) == expected.shape
    assert np.abs(ours - expected).max() < 1e-4
    cepstrum = tf.signal.mfccs_from_log_mel_spectrograms(expected)[:, :13]
    assert np.abs(mfcc(ours, 13) - cepstrum).max() < 1e-4


def test_a_tone_lies_in_its_band() -> None:
    mel = SETTINGS[0]
    for band in (5, 12, 25):
        hertz = mel.edges_hz[band + 1]
        clip = np.sin(2 * np.pi * hertz * np.arange(4000) / mel.rate).astype(np.float32)
        assert int(mel(clip).mean(axis=0).argmax()) == band


def test_bands_between_the_bins_are_found() -> None:
    fine = LogMel(rate=8000, frame=64, hop=64, fft=64, bins=40, low_hz=20, high_hz=4000, power=True, offset=1e-6)
    assert fine.deaf_bands()
    assert not SETTINGS[0].deaf_bands()


def as_described(clip: NDArray[np.float32], said: dict[str, Any]) -> NDArray[np.float64]:
    """A stranger's program: the features of a clip, by the report alone."""
    frame, hop, fft = said["frame_samples"], said["hop_samples"], said["fft_size"]
    edges = [1127 * np.log(1 + hertz / 700) for hertz in said["mel_edges_hz"]]
    rows = []
    for start in range(0, said["clip_samples"] - frame + 1, hop):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
        padded = np.concatenate([clip[start : start + frame] * window, np.zeros(fft - frame)])
        power = np.abs(np.fft.fft(padded)[: fft // 2 + 1]) ** 2
        bands = np.zeros(said["mel_bins"])
        for place in range(1, fft // 2 + 1):
            mel = 1127 * np.log(1 + place * said["sample_rate_hz"] / fft / 700)
            for band in range(said["mel_bins"]):
                rise = (mel - edges[band]) / (edges[band + 1] - edges[band])
                fall = (edges[band + 2] - mel) / (edges[band + 2] - edges[band + 1])
                bands[band] += max(0, min(rise, fall)) * power[place]
        rows.append(np.log(bands + said["log_offset"]))
    log_mel = np.array(rows)
    count = said["mel_bins"]
    basis = np.cos(np.pi / count * np.outer(np.arange(count) + 0.5, np.arange(said["mfcc_coefficients"])))
    features: NDArray[np.float64] = 2 * log_mel @ basis / np.sqrt(2 * count)
    features -= said["normalise"]["subtract"]
    features /= said["normalise"]["divide_by"]
    return features


def test_the_report_says_enough_to_write_them_anew(tmp_path: Path) -> None:
    given: dict[str, Any] = {"sample_rate": RATE_HZ, "duration_s": 0.25, "frame_ms": 25.0, "hop_ms": 10.0}
    shape: dict[str, Any] = {"features": "mfcc", "mel_bins": 20, "mfcc_coefficients": 10}
    source = Audio(path=write_files(tmp_path, digit_files()), labels="{label}_{group}_{_}", **given, **shape)
    data = load(source)
    said = data.preprocessing
    assert " ".join(said["order"]) == "samples mono rate clip frames window fft spectrum mel_filters log dct normalise"
    raw = load(source.model_copy(update={"features": "waveform", "normalise": "none"}))
    clips, _ = next(raw.test.batches(3))
    inputs, _ = next(data.test.batches(3))
    for clip, found in zip(clips, inputs, strict=True):
        assert np.abs(as_described(clip[:, 0], said) - found[..., 0]).max() < 1e-3
