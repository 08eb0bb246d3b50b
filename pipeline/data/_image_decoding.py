"""From the bytes of an image file to its pixels, by Pillow. Any bytes end in pixels or in a reason."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipeline.data._archive import UnreadableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
"""What is opened. Pillow knows more, but some of those start other programs."""

MAX_PIXELS = 2**26
"""The largest image: it is in memory whole before it is resized."""

MAX_SIDE = 4096
"""The largest input a side."""

CHANNELS = {"rgb": 3, "grayscale": 1}
_MODES = {3: "RGB", 1: "L"}

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Resize = Literal["stretch", "crop"]


@dataclass(frozen=True)
class ImageShape:
    """Size and colours that every image is brought to.

    An image is turned as its EXIF orientation says, made grayscale (ITU-R 601: 0.299 R + 0.587 G + 0.114 B) or RGB
    (transparency is dropped, 16-bit grayscale keeps its upper byte), and resized by Pillow's bilinear filter, which
    averages over what it shrinks.

    Attributes:
        height, width: in pixels.
        channels: 3 for RGB, 1 for grayscale.
        resize: "stretch" to the size, or scale to cover it and "crop" the middle.
    """

    height: int
    width: int
    channels: int
    resize: Resize

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    def preprocessing(self, divide_by: float) -> dict[str, Any]:
        """What a device must do to an image, in order. JSON-ready."""
        return {
            "kind": "image",
            "order": ["orientation", "color", "resize", "divide_by"],
            "orientation": "turned as EXIF says",
            "color": "rgb" if self.channels == 3 else "grayscale: 0.299 R + 0.587 G + 0.114 B",
            "resize": self.resize,
            "resize_filter": "bilinear, antialiased (Pillow)",
            "height": self.height,
            "width": self.width,
            "divide_by": divide_by,
        }

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """The pixels of an image file, (height, width, channels).

        Args:
            content: the bytes of a PNG, JPEG, BMP, GIF (its first frame), WebP or PPM.

        Raises:
            UnreadableError: it is none of them, damaged, truncated or too large.
        """
        from PIL import Image, UnidentifiedImageError

        with warnings.catch_warnings():
            # Damage that Pillow only warns of ends in an error or in pixels; its own size limit is above ours.
            warnings.simplefilter("ignore")
            try:
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    if image.width * image.height > MAX_PIXELS:
                        raise UnreadableError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS} in all")
                    return self._pixels(image)
            except UnidentifiedImageError:
                raise UnreadableError(f"is no image of a known kind ({', '.join(FORMATS)})") from None
            except UnreadableError:
                raise
            except Exception as error:  # Pillow's readers let almost any error out of damaged bytes
                raise UnreadableError(f"is damaged: {error}") from error

    def of_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same for pixels that are decoded already, (h, w), (h, w, 1) or (h, w, 3).

        Raises:
            UnreadableError: they are no image.
        """
        from PIL import Image

        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)) or not pixels.size:
            raise UnreadableError(f"has shape {pixels.shape}, which is no image")
        return self._pixels(Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        image = _eight_bits(ImageOps.exif_transpose(image)).convert(_MODES[self.channels])
        size = (self.width, self.height)
        if self.resize == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        elif image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(image, np.uint8).reshape(self.shape)


def _eight_bits(image: Any) -> Any:
    """Pillow cuts brighter pixels than 255 off where it should scale them."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableError(f"has pixels of 32 bits (mode {image.mode}), where 8 or 16 are expected")
    return image
