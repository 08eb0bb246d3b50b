"""Runs a function of a user's python file: a model builder or a generator of examples.

The user's folder is the first to import from, and nothing of ours can be imported: `models` and `pipeline` are common
names. What the function gives is sent as frames: a model as the path of a saved file, examples as arrays.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from pipeline._children.channel import open_line, send, send_error
from pipeline._children.theirs import hide_ours, load_file, where_it_failed


def main() -> None:
    """Do what the request says: `path`, `function`, `options`, `offered` and, for models, `folder` to save into."""
    request, line = open_line()
    path = Path(request["path"])
    hide_ours(path)
    try:
        found = _called(path, request)
        if request["want"] == "model":
            send(line, _saved_model(found, Path(request["folder"]), path.parent))
        else:
            _send_examples(found, line)
    except _Refused as refused:
        send_error(line, *refused.args)
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises is told to the parent in words
        traceback.print_exc()
        send_error(line, f"failed: {where_it_failed(error, path.parent)}")


class _Refused(Exception):
    """What the user's function gave is not what it should: what, expected, mend."""


def _called(path: Path, request: dict[str, Any]) -> Any:
    module, name = load_file(path), request["function"]
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise _Refused(f"has no function '{name}'", f"one of: {', '.join(known) or 'it has none'}", "")
    return function(**_wanted(function, request["offered"]), **request["options"])


def _wanted(function: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    """Of what can be told, what the function has a parameter for."""
    parameters = inspect.signature(function).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in offered.items()}
    return {name: value for name, value in lists.items() if name in parameters or takes_all}


def _saved_model(found: Any, folder: Path, theirs: Path) -> dict[str, Any]:
    """Save what the builder gave in the format that its own Keras reads back; a path of a saved model is passed on."""
    if isinstance(found, str | Path):
        return {"path": str(theirs / Path(found).expanduser()), "keras": ""}
    package = next((each for each in type(found).__mro__ if each.__name__ == "Model"), None)
    if package is None:
        mend = "end the function with `return model`"
        raise _Refused(f"gave {_kind(found)}", "a Keras model, or the path of a saved one", mend)
    path = folder / "built.keras"
    found.save(path)
    return {"path": str(path), "keras": package.__module__.partition(".")[0]}


def _send_examples(examples: Any, line: IO[bytes]) -> None:
    import numpy as np

    if not isinstance(examples, Iterable) or isinstance(examples, str | bytes | dict):
        raise _Refused(f"gave {_kind(examples)}", "a generator of examples", "`yield x, y` for each example")
    for number, example in enumerate(examples, start=1):
        if not isinstance(example, tuple | list) or len(example) not in (2, 3):
            raise _Refused(f"gave {_kind(example)} as example {number}", "(x, y) or (x, y, group)", "")
        x, y = (np.asarray(each) for each in example[:2])
        for what, array in (("x", x), ("y", y)):
            if array.dtype.kind not in ("iufbU" if what == "y" else "iufb"):
                raise _Refused(f"gave {what} of type {array.dtype} in example {number}", "numbers", "")
        arrays = [{"dtype": each.dtype.str, "shape": each.shape} for each in (x, y)]
        group = str(example[2]) if len(example) == 3 else ""
        send(line, {"arrays": arrays, "group": group}, x.tobytes(), y.tobytes())
    send(line, {"is_end": True})


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


if __name__ == "__main__":
    main()
