"""The child of the intake: reads a model and sends its draft, or says in words what is wrong with it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from pipeline._children.channel import open_line, send, send_error
from pipeline._intake._formats import first_line
from pipeline._intake._read import Request, read_and_flatten
from pipeline.errors import EdgesmithError, UsageError


def main() -> None:
    """Answer one request, the fields of a `Request`."""
    fields, line = open_line()
    try:
        reading = read_and_flatten(request_of(fields))
    except EdgesmithError as error:
        send_error(line, error.what, error.expected, error.mend, details={"usage": isinstance(error, UsageError)})
    except MemoryError:
        raise  # the parent knows which limit it was
    except Exception as error:  # noqa: BLE001 - whatever a strange file sets off is an answer about that file
        traceback.print_exc()
        send_error(line, f"{fields['name']} cannot be taken in: {type(error).__name__}: {first_line(error)}")
    else:
        header = {"difference": reading.difference, "notes": reading.notes}
        lengths = {name: len(data) for name, data in reading.files.items()}
        send(line, {**header, "files": lengths}, *reading.files.values())


def request_of(fields: dict[str, Any]) -> Request:
    """The request that came as JSON."""
    shapes = {key: tuple(fields[key]) for key in ("input_shape", "output_shape") if fields[key] is not None}
    custom = Path(fields["custom"]) if fields["custom"] else None
    return Request(**{**fields, "path": Path(fields["path"]), "custom": custom, **shapes})


if __name__ == "__main__":
    main()
