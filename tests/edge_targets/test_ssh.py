"""Files and programs over ssh, with a real server in a process of its own on the other end."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_targets import Completed, DeviceError, Timeout, ToolMissing
from edge_targets._ssh import Ssh
from tests.edge_targets.ssh_server import Server, serving
from tests.edge_targets.test_transport import TWO_GENERATIONS, heard, python

NAME = "a file; $(touch oops) 'and' \"more\" `x` & ü\\.bin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all that leave it whole."""
    with serving(tmp_path_factory.mktemp("server") / "it's here") as found:
        yield found


@pytest.fixture
def ssh(server: Server) -> Iterator[Ssh]:
    """A transport that is entered."""
    with Ssh(server.login()) as transport:
        yield transport


@contextmanager
def with_shell(folder: Path, script: str) -> Iterator[Server]:
    """A server whose login shell is a script."""
    shell = folder / "login shell"
    shell.write_text(f"#!/bin/sh\n{script}\n")
    shell.chmod(0o755)
    with serving(folder / "server", str(shell)) as found:
        yield found


def wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while any(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(folder.iterdir())


def test_a_program_gets_its_input_its_variables_and_the_work_folder(ssh: Ssh) -> None:
    code = "import os, sys; print(sys.stdin.read(), os.environ['WORD'], os.getcwd()); sys.exit(7)"
    done = ssh.run(python(code), stdin=b"hello", timeout_s=60, env={"WORD": "$(there) 'it' \"is\""})
    folder = ssh.path("x").rpartition("/")[0]
    assert done == Completed(7, f"hello $(there) 'it' \"is\" {folder}\n".encode())


def test_arguments_arrive_as_they_are(ssh: Ssh) -> None:
    words = ["", " ", "$(touch oops)", "'", '"', "`x`", "a;b", "*", "~", "\\", "ü", "new\nline", "-rf"]
    done = ssh.run([*python("import sys; print(sys.argv[1:])"), *words], timeout_s=60)
    assert done.stdout.decode() == f"{words}\n"


def test_a_program_that_does_not_read_its_input_blocks_nobody(ssh: Ssh) -> None:
    assert ssh.run(["true"], stdin=b"x" * 2**22, timeout_s=60).returncode == 0


def test_of_endless_complaints_the_last_are_kept(ssh: Ssh) -> None:
    done = ssh.run(python("import sys; sys.stderr.write('x' * 2**21 + 'the end')"), timeout_s=60)
    assert done.stderr.endswith(b"the end")
    assert len(done.stderr) == 2**16


@pytest.mark.parametrize("number", [6, 7, 9, 11])
def test_a_signal_is_told_by_its_number(ssh: Ssh, number: int) -> None:
    assert ssh.run(["sh", "-c", f"kill -{number} $$"], timeout_s=60).returncode == -number


def test_a_missing_program_is_named(ssh: Ssh, tmp_path: Path) -> None:
    tmp_path.joinpath("tool").write_text("#!/bin/sh\n")
    with pytest.raises(ToolMissing, match="'no such program' could not be started on pi@127"):
        ssh.run(["no such program"], timeout_s=5)
    with pytest.raises(ToolMissing, match="Permission denied"):
        ssh.run([str(tmp_path / "tool")], timeout_s=5)


def test_a_variable_that_would_be_code_is_refused(ssh: Ssh) -> None:
    with pytest.raises(DeviceError, match="cannot be a variable"):
        ssh.run(["true"], timeout_s=5, env={"A=1; touch oops; B": ""})


def test_a_timeout_ends_every_generation(ssh: Ssh, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(Timeout, match=f"'{sys.executable}' had not finished on pi@127.* after 2 s"):
        ssh.run([*python(TWO_GENERATIONS), str(fifo)], timeout_s=2)
    assert heard(pipe) in (b"x", b"xx")
    assert heard(pipe) in (b"x", b"")
    assert heard(pipe) == b""
    os.close(pipe)
    assert ssh.run(["echo", "still here"], timeout_s=5).stdout == b"still here\n"


def test_who_interrupts_us_ends_what_runs_there(server: Server, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def interrupt() -> None:
        heard(pipe)
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=interrupt)
    finger.start()
    with pytest.raises(KeyboardInterrupt), Ssh(server.login()) as ssh:
        ssh.run([*python(TWO_GENERATIONS), str(fifo)], timeout_s=60)
    finger.join()
    assert heard(pipe) in (b"x", b"")
    assert heard(pipe) == b""
    os.close(pipe)


def test_a_flood_of_output_is_ended(server: Server) -> None:
    with Ssh(server.login(), most_output_bytes=100_000) as ssh:
        with pytest.raises(DeviceError, match="more than 100000 bytes"):
            ssh.run(["yes"], timeout_s=60)
        assert ssh.run(["true"], timeout_s=5).returncode == 0


def test_files_come_back_as_they_went_under_any_name(ssh: Ssh, tmp_path: Path) -> None:
    sent, back = tmp_path / NAME, tmp_path / "back"
    sent.write_bytes(secrets.token_bytes(300_000) + bytes(range(256)))
    there = Path(ssh.push(sent, NAME))
    assert there.read_bytes() == sent.read_bytes()
    assert list(there.parent.iterdir()) == [there]
    ssh.pull(NAME, back)
    assert back.read_bytes() == sent.read_bytes()


def test_a_push_that_fails_leaves_what_was_there(ssh: Ssh, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"first")
    there = Path(ssh.push(first, "model.tflite"))
    there.parent.joinpath(".model.tflite.part").mkdir()
    with pytest.raises(DeviceError, match=r"could not take the file model\.tflite.* It last said: .*directory"):
        ssh.push(first, "model.tflite")
    with pytest.raises(DeviceError, match=r"Could not read .*nothing"):
        ssh.push(tmp_path / "nothing", "model.tflite")
    assert there.read_bytes() == b"first"


def test_a_file_that_arrives_damaged_is_refused(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"first")
    # A disk that forgets: what `cat` writes is not what came.
    tmp_path.joinpath("cat").write_text("#!/bin/sh\n/bin/cat; echo worn\n")
    tmp_path.joinpath("cat").chmod(0o755)
    with with_shell(tmp_path, f'PATH="{tmp_path}:$PATH" exec /bin/sh "$@"') as server, Ssh(server.login()) as ssh:
        with pytest.raises(DeviceError, match="arrived damaged"):
            ssh.push(first, "model.tflite")
        assert not list(Path(ssh.path("x")).parent.iterdir())


def test_a_pull_ends_at_its_limit_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with Ssh(server.login(), most_file_bytes=1000) as ssh:
        ssh.run(["sh", "-c", "head -c 1001 /dev/zero > huge"], timeout_s=5)
        with pytest.raises(DeviceError, match="more than 1000 bytes"):
            ssh.pull("huge", tmp_path / "huge")
        with pytest.raises(DeviceError, match="could not give the file nothing"):
            ssh.pull("nothing", tmp_path / "nothing")
        with pytest.raises(DeviceError, match="cannot be a file"):
            ssh.pull("../../etc/passwd", tmp_path / "passwd")
    assert not list(tmp_path.iterdir())


def test_the_work_folder_is_private_and_goes_with_the_work(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "it's $(the) root"
    with Ssh(server.login(), folder=str(root)) as ssh:
        folder = Path(ssh.path("x")).parent
        assert folder.parent == root
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(root.iterdir())
    with Ssh(server.login(), folder="~/work here") as ssh:
        assert Path(ssh.path("x")).parent.parent == server.home / "work here"


def test_a_folder_that_cannot_be_made_is_told(server: Server) -> None:
    with (
        pytest.raises(DeviceError, match=r"could not make a work folder.*It last said: .*/dev/null"),
        Ssh(server.login(), folder="/dev/null/x"),
    ):
        pass


def test_what_a_login_shell_says_is_not_taken_for_output(tmp_path: Path) -> None:
    noise = 'printf "Welcome\\033[2J to pi\\n"; echo motd >&2; exec /bin/sh "$@"'
    with with_shell(tmp_path, noise) as server, Ssh(server.login()) as ssh:
        assert ssh.run(["echo", "out"], timeout_s=5).stdout == b"out\n"


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("echo This account is closed.; echo why >&2; exit 1", "could not make a work folder. It last said: why"),
        ("exec yes", "could not make a work folder"),
        ("printf '\\033[2Jgone' >&2; exit 3", r"It last said: \[2Jgone"),
    ],
)
def test_a_login_shell_that_runs_nothing_is_told(tmp_path: Path, script: str, match: str) -> None:
    with with_shell(tmp_path, script) as server, pytest.raises(DeviceError, match=match), Ssh(server.login()):
        pass


def test_a_device_that_is_lost_ends_what_ran_there_and_cleans_up(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with serving(tmp_path / "server") as server:

        def pull_the_plug() -> None:
            heard(pipe)
            server.kill()

        plug = threading.Thread(target=pull_the_plug)
        with Ssh(server.login()) as ssh:
            plug.start()
            with pytest.raises(DeviceError, match=f"broke while it was to run '{sys.executable}'"):
                ssh.run([*python(TWO_GENERATIONS), str(fifo)], timeout_s=60)
            with pytest.raises(DeviceError, match="broke while"):
                ssh.push(Path(__file__), "x")
        plug.join()
        assert heard(pipe) in (b"x", b"")
        assert heard(pipe) == b""
        wait_until_empty(server.home)
    os.close(pipe)


def test_a_device_that_is_lost_amid_a_push_keeps_nothing(tmp_path: Path) -> None:
    endless = tmp_path / "big"
    with endless.open("wb") as file:
        file.truncate(2**27)
    with serving(tmp_path / "server") as server, Ssh(server.login()) as ssh:
        half = Path(ssh.path("big")).with_name(".big.part")

        def pull_the_plug() -> None:
            while not half.exists():
                time.sleep(0.01)
            server.kill()

        plug = threading.Thread(target=pull_the_plug)
        plug.start()
        with pytest.raises(DeviceError, match="broke while it was to take the file big"):
            ssh.push(endless, "big")
        plug.join()
        wait_until_empty(server.home)
