"""From the bytes of a WAV file to samples, by SciPy. Any bytes end in samples or in a reason."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data._archive import UnreadableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATES_HZ = range(1_000, 768_001)
"""Rates of real recordings: a damaged header may ask for a filter that fills the memory."""

# SciPy puts 24-bit samples into the upper bytes of 32.
_FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31, "int64": 2.0**63}


def read_wav(content: bytes) -> tuple[int, NDArray[np.float32]]:
    """The rate and the samples of a WAV file: PCM of 8, 16, 24, 32 bits or IEEE floats, WAVE_FORMAT_EXTENSIBLE too.

    Args:
        content: its bytes.

    Returns:
        Samples a second, and the mean of all channels, (samples,), -1 to 1 for PCM.

    Raises:
        UnreadableError: it is no such file, damaged, truncated or empty.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            # Chunks that SciPy does not know are no damage; an early end is.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
            rate, samples = wavfile.read(io.BytesIO(content))
    except wavfile.WavFileWarning:
        raise UnreadableError("is truncated: its header announces more than there is") from None
    except Exception as error:  # SciPy lets almost any error out of damaged bytes
        raise UnreadableError(f"is no WAV file that can be read: {error}") from error
    if not samples.size:
        raise UnreadableError("holds no samples")
    if rate not in RATES_HZ:
        raise UnreadableError(f"has a sample rate of {rate} Hz, which no recording has")
    return rate, _mono(_scaled(samples))


def resampled(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """The same sound at another rate, by SciPy's polyphase filter, (samples * wanted / rate,)."""
    from scipy.signal import resample_poly

    shared = math.gcd(rate, wanted)
    changed: NDArray[np.float32] = resample_poly(samples, wanted // shared, rate // shared).astype(np.float32)
    return changed


def _scaled(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples (n,) or (n, channels) as floats; PCM from -1 to 1."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "f":
        # What is too large becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)
    if samples.dtype.name not in _FULL_SCALE:
        raise UnreadableError(f"has samples of the type {samples.dtype}, which no recorder writes")
    return (samples / _FULL_SCALE[samples.dtype.name]).astype(np.float32)


def _mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(samples).all():
        raise UnreadableError("holds NaN or infinite samples")
    mean: NDArray[np.float32] = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float64)
    return mean.astype(np.float32, copy=False)
