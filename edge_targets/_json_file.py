"""JSON from a file that may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def small_json(path: Path, most_bytes: int) -> Any:
    """What a file of so many bytes at most holds.

    Raises:
        ValueError: why that cannot be had: "it is no JSON".
    """
    try:
        # Asked first: what is too large is not read.
        if path.stat().st_size > most_bytes:
            raise ValueError(f"it is larger than {most_bytes} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {(error.strerror or str(error)).lower()}") from error
    try:
        return json.loads(content)
    # Deep nesting ends in RecursionError; broken text in ValueError.
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
