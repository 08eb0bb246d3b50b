"""images: a folder or .zip of image files, a folder a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.data._files import Decoding, FileSource
from pipeline.data._image_decoding import CHANNELS, ImageShape, Resize, Side
from pipeline.data._spool import Spool

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task


class Images(FileSource):
    """`path/<class>/*`, or `path/train/<class>/*` with `path/test/<class>/*` (and `path/validation/<class>/*`).

    Files are read one at a time, by Pillow: PNG, JPEG, BMP, GIF, WebP, PPM.
    """

    suffixes: ClassVar[frozenset[str]] = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"))

    size: tuple[Side, Side] = Field(description="Height and width that every image is brought to.")
    color: Literal["rgb", "grayscale"] = Field("rgb", description="What every image is turned into.")
    resize: Resize = Field("stretch", description="Stretch to the size, or scale to cover it and crop the middle.")
    divide_by: float = Field(255.0, gt=0, description="Pixels are divided by this: 255 turns them into 0..1.")

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        height, width = self.size
        shape = ImageShape(height, width, CHANNELS[self.color], self.resize)
        decoding = Decoding(
            shape.decode, lambda: Spool(shape.shape, np.uint8, self.divide_by), shape.preprocessing(self.divide_by)
        )
        return self.dataset(self.read(decoding, progress), task, seed=seed)
