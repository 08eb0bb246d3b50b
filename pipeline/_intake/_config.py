"""A model's config, looked through before Keras builds anything from it.

A config names classes and functions, and Keras goes and finds them: in old versions in any Python module, in all of
them in files that the config names. So only names of Keras' own layers and of the user's own classes may stand in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline._intake._archive import MOST_JSON_BYTES
from pipeline._intake._formats import not_whole
from pipeline.errors import ModelError

MOST_DEPTH = 400

# Plain values in a dress: tensors, arrays, tuples. Their contents are looked through as everything else.
_VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__complex__"}
    | {"__tuple__", "__dict__", "TensorShape", "Functional", "Sequential", "Model", "DTypePolicy", "Policy"}
)
_LAMBDAS = frozenset({"Lambda", "__lambda__"})
# Layers of Keras that run code or read files when they are made.
_BY_FILE = frozenset({"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
_VOCABULARIES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})
_TF_FUNCTIONS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_SAFE_TF = ("math.", "nn.", "linalg.", "__operators__.", "image.resize", "image.rgb_to_grayscale")
_SAFE_TF_NAMES = frozenset(
    {"reshape", "transpose", "concat", "stack", "unstack", "squeeze", "expand_dims", "split", "tile", "pad", "reverse"}
    | {"slice", "strided_slice", "gather", "repeat", "roll", "broadcast_to", "shape", "identity", "cast", "where"}
    | {"one_hot", "ones_like", "zeros_like", "convert_to_tensor", "matmul", "einsum", "tensordot", "clip_by_value"}
    | {"abs", "add", "subtract", "multiply", "divide", "pow", "sqrt", "square", "sign", "round", "exp", "tanh", "cos"}
    | {"sin", "maximum", "minimum", "reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "sigmoid"}
)


@dataclass(frozen=True)
class Names:
    """What a config may name.

    Attributes:
        classes: of Keras: layers, initializers, regularizers, constraints, operations.
        functions: of Keras: activations.
        custom: of the user's file.
        custom_file: that file's name, or ''.
    """

    classes: frozenset[str]
    functions: frozenset[str]
    custom: frozenset[str] = frozenset()
    custom_file: str = ""


@dataclass
class _Walk:
    """One pass over a config."""

    name: str
    names: Names
    trust_code: bool
    layer: str = ""
    waiting: list[tuple[Any, str, int]] = field(default_factory=list)


def parse_config(text: str, name: str) -> Any:
    """The value that a JSON text stands for.

    Raises:
        ModelError: it is no JSON, too large, or too deep.
    """
    if len(text) > MOST_JSON_BYTES:
        raise not_whole(name, f"its config has {len(text):,} characters")
    try:
        return json.loads(text)
    except ValueError as error:
        raise not_whole(name, f"its config is no JSON ({error})") from error
    except RecursionError:
        raise not_whole(name, "its config is nested without end") from None


def without_training(config: Any) -> Any:
    """A config without what it says of training: losses and optimizers are nobody's business here, and name code."""
    if isinstance(config, dict):
        return {key: without_training(value) for key, value in config.items() if key != "compile_config"}
    return [without_training(value) for value in config] if isinstance(config, list) else config


def keras_names(keras: Any, custom: Mapping[str, Any], custom_file: str) -> Names:
    """What a config may name, by what one Keras has.

    Args:
        keras: Keras 3 or tf_keras.
        custom: the user's own classes and functions.
        custom_file: the file that they stand in.
    """
    places = [keras.layers, keras.initializers, keras.regularizers, keras.constraints]
    # Operations such as `keras.ops.add` are layers of a Keras 3 graph; flattening tells which of them it can replay.
    places += [sys.modules[name] for name in sorted(sys.modules) if name.startswith(f"{keras.__name__}.src.ops.")]
    places += [getattr(keras, "dtype_policies", keras.mixed_precision)]
    classes = {name for place in places for name, thing in vars(place).items() if isinstance(thing, type)}
    functions = {name for name, thing in vars(keras.activations).items() if callable(thing)}
    return Names(frozenset(classes), frozenset(functions), frozenset(custom), custom_file)


def check_config(config: Any, name: str, names: Names, *, trust_code: bool) -> None:
    """Refuse a config that names anything but layers.

    Args:
        config: parsed JSON.
        name: what messages call the model.
        names: what may be named.
        trust_code: whether Lambda layers may pass.

    Raises:
        ModelError: it names code, a file, or a class that nobody knows.
    """
    walk = _Walk(name, names, trust_code, waiting=[(config, "", 0)])
    while walk.waiting:
        value, layer, depth = walk.waiting.pop()
        if depth > MOST_DEPTH:
            raise not_whole(name, "its config is nested without end")
        if isinstance(value, dict):
            walk.layer = _layer_name(value) or layer
            value = list(_inner(value, walk))
        else:
            walk.layer = layer
        if isinstance(value, list):
            walk.waiting.extend((item, walk.layer, depth + 1) for item in value)


def _inner(node: dict[str, Any], walk: _Walk) -> Iterator[Any]:
    """The values of a node that are to be looked at next, once the node itself has passed."""
    kind = node.get("class_name")
    if kind is None:
        return iter(node.values())
    if not isinstance(kind, str):
        raise not_whole(walk.name, "its config has a class without a name")
    bare = kind.rpartition(">")[2]
    if bare in _LAMBDAS:
        _check_lambda(walk)
        return iter(())
    if kind == "function":
        _check_function(node, walk)
    elif not _is_custom(node, walk.names):
        _check_class(bare, node, walk)
    return iter(node.values())


def _check_lambda(walk: _Walk) -> None:
    if not walk.trust_code:
        raise ModelError(
            f"{walk.name} holds Python code that would be run: the Lambda {walk.layer!r}.",
            expected="layers without code of their own",
            mend="say --trust-code if you trust whoever made the file; better, put a layer of Keras in its place",
        )


def _check_function(node: dict[str, Any], walk: _Walk) -> None:
    function = str(node.get("config"))
    if function in walk.names.custom:
        return
    if function not in walk.names.functions or not _of_keras(node.get("module"), also="builtins"):
        raise _unknown(walk, f"the function {_dotted(node.get('module'), function)}")


def _check_class(kind: str, node: dict[str, Any], walk: _Walk) -> None:
    config = node.get("config")
    settings = config if isinstance(config, dict) else {}
    if kind in _BY_FILE:
        raise _refused(walk, f"the layer {walk.layer!r} of class {kind} brings code of its own")
    if kind in _VOCABULARIES and any(isinstance(settings.get(key), str) for key in ("vocabulary", "idf_weights")):
        raise _refused(walk, f"the layer {walk.layer!r} of class {kind} reads a file when it is made")
    if kind in _TF_FUNCTIONS:
        function = str(settings.get("function"))
        if function not in _SAFE_TF_NAMES and not function.startswith(_SAFE_TF):
            raise _refused(walk, f"the layer {walk.layer!r} calls tf.{function[:80]}")
    elif kind not in walk.names.classes | _VALUES:
        raise _unknown(walk, f"the class {_dotted(node.get('module'), kind)}")
    if not _of_keras(node.get("module")):
        raise _unknown(walk, f"the class {_dotted(node.get('module'), kind)}")


def _is_custom(node: dict[str, Any], names: Names) -> bool:
    """Whether Keras would find the class among the user's, by the name that it looks for."""
    return str(node.get("registered_name") or node.get("class_name")) in names.custom


def _of_keras(module: Any, also: str = "keras") -> bool:
    return module is None or (isinstance(module, str) and module.partition(".")[0] in ("keras", "tf_keras", also))


def _layer_name(node: dict[str, Any]) -> str:
    config = node.get("config")
    name = node.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return str(name)[:80] if "class_name" in node and isinstance(name, str) else ""


def _dotted(module: Any, name: Any) -> str:
    return repr(f"{module}.{name}"[:120] if isinstance(module, str) else str(name)[:120])


def _unknown(walk: _Walk, what: str) -> ModelError:
    where = f" in the layer {walk.layer!r}" if walk.layer else ""
    if walk.names.custom_file:
        has = ", ".join(sorted(name for name in walk.names.custom if ">" not in name)) or "none"
        mend = f"{walk.names.custom_file} has: {has}; add the missing one there"
    else:
        mend = "if it is a layer of your own, give its file with --custom-objects"
    return ModelError(
        f"{walk.name} names {what}{where}, which is none of Keras'.",
        expected="layers of Keras, and classes of the file of custom objects",
        mend=mend,
    )


def _refused(walk: _Walk, why: str) -> ModelError:
    return ModelError(
        f"{walk.name} is not safe to read: {why}.",
        expected="layers that are made from their settings alone",
        mend="build the model without this layer, and do its work where the data is read",
    )
