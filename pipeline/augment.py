"""Augment: how training inputs are varied, by Keras' own layers, anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.errors import DataError
from pipeline.settings import Settings

Share = Annotated[float, Field(ge=0, lt=1)]


class Augment(Settings):
    """Random changes that leave the meaning of an input alone. Only the training split sees them.

    All but `noise` need images (height, width, channels); a spectrogram is one, with time as its height.
    """

    flip: Literal["horizontal", "vertical", "horizontal_and_vertical"] | None = Field(
        None, description="Mirror every other image."
    )
    rotate: Share = Field(0.0, description="Turn by up to this share of a full turn, both ways.")
    zoom: Share = Field(0.0, description="Zoom in or out by up to this share.")
    shift_height: Share = Field(0.0, description="Move by up to this share of the height (the time of a spectrogram).")
    shift_width: Share = Field(0.0, description="Move by up to this share of the width.")
    contrast: Share = Field(0.0, description="Change the contrast by up to this share.")
    noise: float = Field(0.0, ge=0, description="Standard deviation of Gaussian noise, in the inputs' units.")

    def over(self, batches: Any, input_shape: tuple[int, ...], seed: int) -> Any:
        """A `tf.data.Dataset` of (x, y) batches whose inputs are varied; the order of the batches is kept.

        Args:
            batches: x (b, *input_shape) float32, y (b, ...).
            input_shape: of one example, without batch.
            seed: fixes every random choice.

        Raises:
            DataError: a setting that needs images meets something else.
        """
        layers = [make(seed + place) for place, make in enumerate(self._layers(input_shape))]

        def vary(x: Any, y: Any) -> tuple[Any, Any]:
            for layer in layers:
                x = layer(x, training=True)
            return x, y

        # Layers keep the state of their random numbers, so batches pass one by one: each run draws the same.
        return batches.map(vary)

    def _layers(self, input_shape: tuple[int, ...]) -> list[Callable[[int], Any]]:
        from pipeline._tf import keras

        build = keras.layers
        edge = {"fill_mode": "nearest"}
        chosen: list[Callable[[int], Any]] = []
        if self.flip is not None:
            chosen.append(lambda seed: build.RandomFlip(self.flip, seed=seed))
        if self.rotate:
            chosen.append(lambda seed: build.RandomRotation(self.rotate, seed=seed, **edge))
        if self.zoom:
            chosen.append(lambda seed: build.RandomZoom(self.zoom, seed=seed, **edge))
        if self.shift_height or self.shift_width:
            chosen.append(lambda seed: build.RandomTranslation(self.shift_height, self.shift_width, seed=seed, **edge))
        if self.contrast:
            chosen.append(lambda seed: build.RandomContrast(self.contrast, seed=seed))
        if chosen and len(input_shape) != 3:
            raise DataError(
                f"augment asks for changes to images, and the inputs have shape {input_shape}.",
                expected="inputs (height, width, channels)",
                mend="keep only augment.noise",
            )
        if self.noise:
            chosen.append(lambda seed: build.GaussianNoise(self.noise, seed=seed))
        return chosen
