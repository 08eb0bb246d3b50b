"""A user's file of custom objects, run for the Keras that needs them.

The flat model is one of tf_keras, and the file may be written for Keras 3. So it is run once as it is, and once with
`keras` and `tensorflow.keras` meaning tf_keras: the same source then gives classes of both.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pipeline._children.theirs import load_file, ours_hidden, where_it_failed
from pipeline.errors import ModelError, UsageError

Flavour = Literal["keras", "tf_keras"]


class _TensorFlow(ModuleType):
    """TensorFlow with one of the two Keras as its `keras`."""

    def __init__(self, tensorflow: ModuleType, keras: ModuleType) -> None:
        super().__init__("tensorflow")
        self._tensorflow, self.keras = tensorflow, keras

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensorflow, name)


def custom_objects(path: Path, flavour: Flavour) -> dict[str, Any]:
    """The classes and functions that a file defines, by the names that configs may use for them.

    Args:
        path: the user's python file; it is run.
        flavour: which package `keras` shall mean in it.

    Raises:
        UsageError: the file is missing, or fails.
        ModelError: it works with Keras 3 only, and tf_keras was asked for.
    """
    from pipeline._tf import keras, keras3

    path = path.expanduser().absolute()
    if not path.is_file():
        raise UsageError(
            f"There is no file of custom objects at {path}.",
            expected="a python file with the classes that the model names",
            mend="check the path; in a recipe, it is relative to the recipe",
        )
    package = keras if flavour == "tf_keras" else keras3()
    try:
        with _keras_is(package), ours_hidden(path):
            own = _own(load_file(path), path.parent)
    except MemoryError:
        raise  # not the file's own fault: the limit is told by who set it
    except (Exception, SystemExit) as error:
        raise _failed(path, flavour, error) from error
    return {name: thing for thing in own for name in (thing.__name__, package.saving.get_registered_name(thing))}


def works_with_keras3_only(path: Path, cause: str) -> ModelError:
    """The refusal of layers that cannot be moved to tf_keras."""
    where = cause.partition(" (/")[0]  # Python adds the place where tf_keras is installed
    return ModelError(
        f"The custom objects of {path.name} do not work with tf_keras, which training for int8 needs: {where}",
        expected="layers made of what Keras 3 and tf_keras share: keras.layers, keras.activations, tf.*",
        mend="write tf.* in the place of keras.ops.*, and take settings in __init__ and return them in get_config",
    )


@contextlib.contextmanager
def _keras_is(package: ModuleType) -> Iterator[None]:
    """Have `import keras`, `from tensorflow import keras` and `tf.keras` mean a package, for a block."""
    from pipeline._tf import tf

    before = dict(sys.modules)
    aliases = {f"{name}{rest}": module for name in ("keras", "tensorflow.keras") for rest, module in _modules(package)}
    for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
        del sys.modules[name]
    sys.modules.update({**aliases, "tensorflow": _TensorFlow(tf, package)})
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_keras(name)]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if _is_keras(name) or name == "tensorflow"})


def _modules(package: ModuleType) -> list[tuple[str, ModuleType]]:
    """A package and all that is loaded of it, each with its name behind the package's."""
    start = package.__name__
    return [(name[len(start) :], module) for name, module in sys.modules.items() if f"{name}.".startswith(f"{start}.")]


def _is_keras(name: str) -> bool:
    return f"{name}.".startswith(("keras.", "tensorflow.keras."))


def _own(module: ModuleType, folder: Path) -> list[Any]:
    """The classes and functions in a module that stem from the user's folder."""
    found = [each for each in vars(module).values() if isinstance(each, type) or inspect.isfunction(each)]
    files = {each: getattr(sys.modules.get(each.__module__), "__file__", None) for each in found}
    return [each for each, file in files.items() if file and Path(file).is_relative_to(folder)]


def _failed(path: Path, flavour: Flavour, error: BaseException) -> UsageError | ModelError:
    where = where_it_failed(error, path.parent)
    # What Keras 3 has and tf_keras has not is missed as an import or as an attribute.
    if flavour == "tf_keras" and isinstance(error, ImportError | AttributeError) and "keras" in str(error):
        return works_with_keras3_only(path, where)
    return UsageError(
        f"The file of custom objects {path.name} cannot be run: {where}",
        expected="a python file that can be imported from its own folder",
        mend=f"try it: python -c 'import {path.stem}' in its folder",
    )
