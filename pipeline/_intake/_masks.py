"""The masks that Keras 3 recorded by itself, told from those of the user: tf_keras hands masks on by itself, too."""

from __future__ import annotations

import inspect
from typing import Any

from pipeline._intake._graph import is_layer, is_tensor, leaves, mapped
from pipeline.errors import ModelError


def told_by_the_user(node: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments without the masks that Keras 3 recorded by itself: tf_keras hands masks on by itself, too."""
    if not hasattr(node, "arguments") or not is_layer(node.operation):
        return args, kwargs
    bound = _bound(node.operation, args, kwargs)
    first = next(iter(bound.values()), None)
    kept = {}
    if "mask" not in kwargs and "mask" in inspect.signature(node.operation.call).parameters:
        _check_unmasked(node.operation, first)
    for name, value in kwargs.items():
        if name == "mask" or name.endswith("_mask"):
            partner = first if name == "mask" else bound.get(name.removesuffix("_mask"))
            if all(mask is None for mask in leaves(value)) or _signature(value) == _signature(_masks(partner)):
                continue
        kept[name] = value
    return args, kept


def _check_unmasked(layer: Any, first: Any) -> None:
    # Keras 3 forgets the mask of a sequence that comes with initial states; tf_keras would go by it.
    if any(mask is not None for mask in leaves(_masks(first))):
        raise ModelError(
            f"Layer {layer.name!r} of class {type(layer).__name__} is called with a masked sequence and further "
            "tensors: Keras 3 ignores the mask, tf_keras does not",
            expected="one tensor with a mask, or several without",
            mend="build the model without mask_zero and Masking",
        )


def _bound(layer: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name; of a custom call() that takes anything, only the first counts, and needs none."""
    try:
        return dict(inspect.signature(layer.call).bind(*args, **kwargs).arguments)
    except TypeError:
        return {str(place): value for place, value in enumerate(args)} | kwargs


def _masks(value: Any) -> Any:
    return mapped(value, lambda leaf: getattr(leaf, "_keras_mask", None))


def _signature(value: Any) -> Any:
    """What a tensor was computed from, so that the same mask computed twice (once for each loading) is one."""
    if isinstance(value, list | tuple):
        return [_signature(item) for item in value]
    if not is_tensor(value):
        return repr(value)
    operation, node_index, tensor_index = value._keras_history
    node = operation._inbound_nodes[node_index]
    if is_layer(operation):
        return [id(operation), node_index, tensor_index]
    settings = sorted((k, repr(v)) for k, v in vars(operation).items() if k != "name" and not k.startswith("_"))
    return [type(operation).__name__, settings, tensor_index, _signature([*node.arguments.args])]
