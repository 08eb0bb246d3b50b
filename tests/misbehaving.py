"""A child process that does what it is told, good or bad: see `test_process.py`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import IO, Any

from pipeline._children.channel import open_line, send, send_error

Request = dict[str, Any]
LONG_S = 600


def answer(line: IO[bytes], request: Request) -> None:
    os.write(1, b"people may print: it is no frame")
    send(line, {"heard": request}, b"\x00\x01", memoryview(b"\x02"))


def count(line: IO[bytes], _: Request) -> None:
    for number in range(3):
        send(line, {"number": number})


def tell(line: IO[bytes], _: Request) -> None:
    send_error(line, "is wrong", "something right", "do it", details={"place": 3})


def die(_: IO[bytes], request: Request) -> None:
    os.kill(os.getpid(), signal.Signals[request["signal"]])


def hang(_: IO[bytes], __: Request) -> None:
    time.sleep(LONG_S)


def begin_and_hang(line: IO[bytes], _: Request) -> None:
    line.write(b"\x10")
    line.flush()
    time.sleep(LONG_S)


def tell_its_number_and_hang(line: IO[bytes], _: Request) -> None:
    send(line, {"pid": os.getpid()})
    time.sleep(LONG_S)


def fill_the_memory(_: IO[bytes], __: Request) -> None:
    blocks = []
    while True:
        blocks.append(bytearray(2**24))


def fail(_: IO[bytes], __: Request) -> None:
    sys.exit("there is no such thing")


def write(line: IO[bytes], request: Request) -> None:
    line.write(bytes.fromhex(request["garbage"]))
    line.flush()


if __name__ == "__main__":
    asked, to_parent = open_line()
    globals()[asked["do"]](to_parent, asked)
