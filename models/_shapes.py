"""What the zoo's models ask of their inputs, and the sentence that says so when it is not given."""

from __future__ import annotations

import math


def require_image(input_shape: tuple[int, ...], least: int = 1) -> None:
    """Refuse what is not an image.

    Args:
        input_shape: should be (height, width, channels).
        least: the smallest height and width that the architecture does not shrink to nothing.

    Raises:
        ValueError: it is no image, or too small a one.
    """
    if len(input_shape) != 3 or min(input_shape) < 1 or min(input_shape[:2]) < least:
        smallest = f" of at least {least}x{least}" if least > 1 else ""
        raise ValueError(f"it takes images{smallest}, (height, width, channels), and the data has {input_shape}")


def require_window(input_shape: tuple[int, ...]) -> tuple[int, int]:
    """The time steps of a window, and how many numbers each has: (time, features).

    Args:
        input_shape: (time, channels) of a sensor, or (time, bands, 1) of a spectrogram.

    Raises:
        ValueError: there is no time axis, or nothing beside it.
    """
    if len(input_shape) < 2 or min(input_shape) < 1:
        raise ValueError(f"it takes windows over time, (time, channels), and the data has {input_shape}")
    return input_shape[0], math.prod(input_shape[1:])


def require_positive(**options: float) -> None:
    """Refuse options that are zero or less, each by its name.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if value <= 0:
            raise ValueError(f"its option {name} must be more than 0, and is {value}")


def require_share(**options: float) -> None:
    """Refuse options that are no share from 0 up to, and without, 1.

    Raises:
        ValueError: names the option and its value.
    """
    for name, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"its option {name} must be at least 0 and less than 1, and is {value}")
