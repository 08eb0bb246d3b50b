"""A flat model held against the data: its free dimensions filled, its input and output compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline._intake._formats import first_line
from pipeline.errors import ModelError

Shape = tuple[int | None, ...]


def fitted(
    model: Any,
    name: str,
    input_shape: tuple[int, ...] | None,
    output_shape: tuple[int, ...] | None,
    custom: Mapping[str, type],
) -> Any:
    """The model for inputs of the data's shape.

    Args:
        model: a flat tf_keras model.
        name: what messages call it.
        input_shape: what the data gives, without the batch; None where nothing is known of the data.
        output_shape: what the task asks for, without the batch, likewise.
        custom: the user's tf_keras classes.

    Returns:
        The model itself, or one with the data's shape where it left dimensions free.

    Raises:
        ModelError: the shapes do not fit, or the model has several inputs or outputs.
    """
    if input_shape is None:
        return model
    if len(model.inputs) > 1 or len(model.outputs) > 1:
        raise ModelError(
            f"{name} has {_count(model.inputs, 'input')} and {_count(model.outputs, 'output')}.",
            expected="one input and one output: a run trains on pairs of x and y",
            mend="cut the model to the part that shall go on the device: keras.Model(one_input, one_output)",
        )
    wanted: Shape = tuple(model.inputs[0].shape[1:])
    if len(wanted) != len(input_shape) or any(w not in (None, d) for w, d in zip(wanted, input_shape, strict=True)):
        raise _unfit_input(name, wanted, input_shape)
    # A fixed batch would not fit the batches of training and calibration.
    if None in wanted or model.inputs[0].shape[0] is not None:
        model = _rebuilt(model, name, input_shape, custom)
    given: Shape = tuple(model.outputs[0].shape[1:])
    if output_shape is not None and given != output_shape:
        raise _unfit_output(name, given, output_shape)
    return model


def _rebuilt(model: Any, name: str, input_shape: tuple[int, ...], custom: Mapping[str, type]) -> Any:
    from pipeline._tf import keras

    architecture = json.loads(model.to_json())
    for layer in architecture["config"]["layers"]:
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_input_shape"] = [None, *input_shape]
        # Shapes that a layer noted of its own would be taken for the new ones.
        layer.pop("build_config", None)
    try:
        rebuilt = keras.models.model_from_json(json.dumps(architecture), custom_objects=dict(custom))
        rebuilt.set_weights(model.get_weights())
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{name} does not take inputs of shape {_shown(input_shape)}: {first_line(error)}",
            expected="inputs of a size that its layers can work on",
            mend="choose another size in the data's settings, or save the model for this input shape",
        ) from error
    return rebuilt


def _unfit_input(name: str, wanted: Shape, given: tuple[int, ...]) -> ModelError:
    return ModelError(
        f"{name} takes inputs of shape {_shown(wanted)}, the data gives {_shown(given)}.",
        expected="the same shape, without the batch",
        mend=_input_mend(wanted, given),
    )


def _input_mend(wanted: Shape, given: tuple[int, ...]) -> str:
    if len(wanted) == len(given) + 1 and wanted[-1] == 1:
        return "add_channel: true in the data's settings appends the channel axis"
    if len(wanted) == len(given) == 3 and wanted[2] in (None, given[2]):
        return f"choose the size in the data's settings (size: [{wanted[0]}, {wanted[1]}])"
    if len(wanted) == len(given) == 3:
        return f"choose the number of channels in the data's settings, or a model for {given[2]}"
    return "change the data's settings, or build the model for the data's shape"


def _unfit_output(name: str, given: Shape, wanted: tuple[int, ...]) -> ModelError:
    return ModelError(
        f"{name} gives outputs of shape {_shown(given)}, the task asks for {_shown(wanted)}.",
        expected="one number for each class or target of the data",
        mend="put a last layer of that size on the model, or name the task and the classes that it was built for",
    )


def _shown(shape: Shape) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def _count(things: list[Any], word: str) -> str:
    return f"{len(things)} {word}{'s' if len(things) > 1 else ''}"
