"""The audio source: names, rates, lengths and sample formats; every file that is no sound is named."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data._archive import UnreadableError
from pipeline.data._wav import read_wav
from pipeline.data.audio import Audio
from pipeline.errors import DataError
from tests.data.files import RATE_HZ, digit_files, load, tone, wav, write_files, write_zip

PATTERN = "{label}_{group}_{index}"


def digits(path: Path, **settings: Any) -> Audio:
    given = {"labels": PATTERN, "sample_rate": RATE_HZ, "duration_s": 0.25, "mel_bins": 20, **settings}
    return Audio.model_validate({"path": path, **given})


def waveform(folder: Path, sound: bytes, **settings: Any) -> Any:
    """The clip that the model sees of one sound, (samples,)."""
    others = {f"train/{label}/{index}.wav": wav(tone(50 + index)) for index, label in enumerate("aabb")}
    fixed = {"labels": "folder", "features": "waveform", "normalise": "none"}
    source = digits(write_files(folder, others | {"test/a/x.wav": sound}), **{**fixed, **settings})
    [clip] = next(load(source).test.batches(9))[0]
    return clip[:, 0]


def test_the_official_split_is_by_index(tmp_path: Path) -> None:
    data = load(digits(write_files(tmp_path, digit_files()), test_indices_below=2, labels="{label}_{_}_{index}"))
    assert (data.train.size, data.validation.size, data.test.size) == (22, 2, 12)
    assert data.class_names == ("0", "1")
    assert data.input_shape == (14, 20, 1)


def test_speakers_are_held_out_whole(tmp_path: Path) -> None:
    folder = write_files(tmp_path, digit_files(speakers=5, each=4))
    data = load(digits(folder, features="waveform", normalise="none", validation_fraction=0.25))
    assert (data.train.size, data.validation.size, data.test.size) == (24, 8, 8)
    speakers = [_speakers(folder, part) for part in (data.train, data.validation, data.test)]
    assert not speakers[0] & speakers[1] and not (speakers[0] | speakers[1]) & speakers[2]


def _speakers(folder: Path, split: Any) -> set[str]:
    known = {}
    for path in folder.iterdir():
        known[read_wav(path.read_bytes())[1][:2000].tobytes()] = path.name.split("_")[1]
    return {known[clip[:, 0].tobytes()] for x, _ in split.batches(99) for clip in x}


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    files = {f"recordings/{name}": content for name, content in digit_files().items()}
    zipped = load(digits(write_zip(tmp_path / "set.zip", files)))
    assert zipped.fingerprint == load(digits(write_files(tmp_path / "set", files))).fingerprint


@pytest.mark.parametrize("name", ["zero.wav", "0_speaker_x.wav"])
def test_a_name_that_says_no_class_is_named(name: str, tmp_path: Path) -> None:
    folder = write_files(tmp_path, digit_files() | {name: wav(tone(200))})
    with pytest.raises(DataError, match=f"1 of 37 files cannot be used: {name} has a name that does not say its class"):
        load(digits(folder))
    assert load(digits(folder, unreadable="skip")).notes


def test_another_rate_is_refused_by_name_or_resampled(tmp_path: Path) -> None:
    sound = wav(tone(440, rate=16000), 16000)
    with pytest.raises(DataError, match=r"test/a/x\.wav has a sample rate of 16000 Hz") as caught:
        waveform(tmp_path / "refused", sound, unreadable="skip")
    assert "resample: true" in caught.value.mend
    clip = waveform(tmp_path / "resampled", sound, resample=True)
    assert np.abs(clip[100:-100] - tone(440)[100:1900] / 32768).max() < 2e-3


@pytest.mark.parametrize(("align", "first"), [("start", 0), ("centre", 1000)])
def test_longer_clips_are_cut_and_shorter_ones_padded(align: str, first: int, tmp_path: Path) -> None:
    samples = tone(440)
    cut = waveform(tmp_path / "long", wav(samples), align=align)
    assert np.array_equal(cut, (samples[first : first + 2000] / 32768).astype(np.float32))
    padded = waveform(tmp_path / "short", wav(samples[:1000]), align=align)
    before = 500 if align == "centre" else 0
    assert np.array_equal(padded[before : before + 1000], (samples[:1000] / 32768).astype(np.float32))
    assert np.count_nonzero(padded) <= 1000


def test_one_mean_and_deviation_of_training_are_taken_out_of_all(tmp_path: Path) -> None:
    folder = write_files(tmp_path, digit_files())
    raw, normalised = (load(digits(folder, normalise=how)) for how in ("none", "training"))
    said = normalised.preprocessing["normalise"]
    seen = np.concatenate([x for part in (raw.train, raw.validation) for x, _ in part.batches(99)])
    assert said["subtract"] == pytest.approx(seen.mean(), abs=1e-4)
    assert said["divide_by"] == pytest.approx(seen.std(), abs=1e-4)
    before, after = (next(data.test.batches(99))[0] for data in (raw, normalised))
    assert np.allclose(after, (before - said["subtract"]) / said["divide_by"], atol=1e-5)


def test_each_example_can_be_normalised_by_itself(tmp_path: Path) -> None:
    files = digit_files() | {"0_silent_0.wav": wav(np.zeros(4000, np.int16))}
    data = load(digits(write_files(tmp_path, files), normalise="example"))
    for x, _ in data.train.batches(1):
        assert abs(x.mean()) < 1e-5
        assert x.std() == pytest.approx(1, abs=1e-4) or not x.any()


@pytest.mark.parametrize(
    "settings",
    [
        {"labels": "{_}_{index}"},
        {"labels": "{label}_{speaker}"},
        {"labels": "{label}_{label}"},
        {"labels": "{label}_{_}", "test_indices_below": 5},
        {"low_hz": 5000.0},
        {"high_hz": 4001.0},
        {"mel_bins": 200},
        {"features": "mfcc", "mfcc_coefficients": 21},
        {"fft": 128},
        {"duration_s": 0.01},
        {"hop_ms": 0.01},
    ],
)
def test_settings_that_cannot_be_are_refused_without_reading(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        digits(Path("nowhere"), **settings)


RAMP = np.linspace(-0.9, 0.9, 101)


def wav24(samples: Any) -> bytes:
    """What SciPy does not write: 24 bits, in WAVE_FORMAT_EXTENSIBLE."""
    data = b"".join(round(each * 2**23).to_bytes(3, "little", signed=True) for each in samples)
    pcm = struct.pack("<H14s", 1, bytes.fromhex("000000001000800000aa00389b71"))
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE_HZ, RATE_HZ * 3, 3, 24, 22, 24, 4) + pcm
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


FORMATS = {
    "8 bits": (wav((RAMP * 128 + 128).round().astype(np.uint8)), 1 / 128),
    "16 bits": (wav((RAMP * 2**15).astype(np.int16)), 2.0**-14),
    "24 bits, extensible": (wav24(RAMP), 2.0**-22),
    "32 bits": (wav((RAMP * 2**31).astype(np.int32)), 2.0**-22),
    "floats": (wav(RAMP.astype(np.float32)), 1e-7),
    "doubles": (wav(RAMP), 1e-7),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sound(name: str) -> None:
    content, step = FORMATS[name]
    rate, samples = read_wav(content)
    assert rate == RATE_HZ
    assert samples.dtype == np.float32
    assert np.abs(samples - RAMP).max() <= step


def test_channels_become_their_mean() -> None:
    stereo = np.stack([RAMP, np.zeros(101)], axis=1).astype(np.float32)
    assert np.allclose(read_wav(wav(stereo))[1], RAMP / 2)


GOOD = wav(tone(300))
NO_SOUNDS = {
    "text": (b"not a sound at all", "is no WAV file"),
    "empty": (b"", "is no WAV file"),
    "truncated": (GOOD[:-100], "is truncated"),
    "header only": (GOOD[:20], "is no WAV file"),
    "no samples": (wav(np.zeros(0, np.int16)), "holds no samples"),
    "NaN": (wav(np.full(100, np.nan, np.float32)), "holds NaN"),
    "too large": (wav(np.full(100, 1e300)), "holds NaN or infinite"),
    "no such rate": (wav(tone(300), 3), "has a sample rate of 3 Hz"),
}


@pytest.mark.parametrize("kind", NO_SOUNDS)
def test_what_is_no_sound_is_named(kind: str, tmp_path: Path) -> None:
    content, why = NO_SOUNDS[kind]
    with pytest.raises(UnreadableError, match=why):
        read_wav(content)
    folder = write_files(tmp_path, digit_files() | {"0_bad_0.wav": content})
    with pytest.raises(DataError, match=rf"1 of 37 files cannot be used: 0_bad_0\.wav {why}"):
        load(digits(folder, resample=True))
