"""Logging in over ssh: by keys alone, only to hosts that are known, and a sentence for each way in which it fails."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from edge_targets import DeviceError, Timeout
from edge_targets._errors import WrongAddress
from edge_targets._ssh import Ssh
from edge_targets._ssh_connect import Login
from tests.edge_targets.ssh_server import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all."""
    with serving(tmp_path_factory.mktemp("server") / "it's here") as found:
        yield found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the user on this side, without an agent."""
    tmp_path.joinpath("home", ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "home"


def answers(login: Login) -> bool:
    with Ssh(login) as ssh:
        return ssh.run(["echo", "hello"], timeout_s=10).stdout == b"hello\n"


def refusal(login: Login) -> DeviceError:
    with pytest.raises(DeviceError) as caught, Ssh(login):
        pass
    assert str(caught.value).replace("\n", "").isprintable()
    return caught.value


def another_key(path: Path, algorithm: str = "ssh-ed25519", **options: Any) -> Path:
    key = asyncssh.generate_private_key(algorithm)
    key.write_private_key(path, **options)
    key.write_public_key(path.with_name(path.name + ".pub"))
    return path


def known(folder: Path, server: Server, key: Path, *, before: str = "", name: str = "") -> Path:
    """A file of known hosts in which the server has another key, on the third line."""
    path = folder / "known elsewhere"
    host = name or f"[127.0.0.1]:{server.port}"
    path.write_text(f"# comment\n\n{before}{host} {key.with_name(key.name + '.pub').read_text()}")
    return path


# ---- host keys ----


def test_an_unknown_host_is_refused_and_nothing_is_written(server: Server, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    refused = refusal(server.login(known_hosts=empty))
    shown = asyncssh.read_public_key(server.folder / "host key.pub").get_fingerprint()
    assert f"127.0.0.1 port {server.port} is not known: it shows {shown}" in refused.what
    assert refused.mend.startswith(f"connect once with ssh -o UserKnownHostsFile={empty} -p {server.port} pi@127.0.0.1")
    assert empty.read_bytes() == b""
    assert "is not known" in refusal(server.login(known_hosts=None)).what
    assert not list((tmp_path / "home" / ".ssh").iterdir())


def test_a_changed_host_key_is_refused_and_the_way_out_works(server: Server, tmp_path: Path) -> None:
    file = known(tmp_path, server, another_key(tmp_path / "other"))
    refused = refusal(server.login(known_hosts=file))
    assert re.search(f"has changed: it shows SHA256:.* known from {re.escape(str(file))} line 3", refused.what)
    command = re.search(r"ssh-keygen -R .*?(?= and then)", refused.mend)
    assert command is not None
    subprocess.run(shlex.split(command[0]), check=True, capture_output=True)
    assert "is not known" in refusal(server.login(known_hosts=file)).what


def test_a_host_that_only_has_another_kind_of_key_has_changed(server: Server, tmp_path: Path) -> None:
    file = known(tmp_path, server, another_key(tmp_path / "other", "ecdsa-sha2-nistp256"))
    refused = refusal(server.login(known_hosts=file))
    assert "no host key of the kind that is known from" in refused.what
    assert "line 3" in refused.what


def test_a_revoked_key_is_refused(server: Server, tmp_path: Path) -> None:
    file = known(tmp_path, server, server.folder / "host key", before="@revoked ")
    file.write_text(file.read_text() + "\n" + server.folder.joinpath("known hosts").read_text())
    assert "marked as revoked" in refusal(server.login(known_hosts=file)).what


def test_hashed_hosts_and_ports_of_their_own_are_known(server: Server, tmp_path: Path) -> None:
    file = known(tmp_path, server, server.folder / "host key")
    assert answers(server.login(known_hosts=file))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert "|1|" in file.read_text()
    assert answers(server.login(known_hosts=file))
    # As with ssh, a key that is known without a port is good for any.
    assert answers(server.login(known_hosts=known(tmp_path, server, server.folder / "host key", name="127.0.0.1")))
    assert (
        "is not known"
        in refusal(
            server.login(known_hosts=known(tmp_path, server, server.folder / "host key", name="[127.0.0.1]:1"))
        ).what
    )


def test_a_name_is_not_trusted_for_the_address_that_it_leads_to(server: Server) -> None:
    assert "localhost port" in refusal(server.login(host="localhost")).what


@pytest.mark.parametrize("trusting", ["UserKnownHostsFile none", "UserKnownHostsFile /dev/null"])
def test_settings_that_trust_everybody_are_not_followed(server: Server, home: Path, trusting: str) -> None:
    home.joinpath(".ssh/known_hosts").write_bytes(server.folder.joinpath("known hosts").read_bytes())
    assert answers(server.login(known_hosts=None))
    home.joinpath(".ssh/config").write_text(f"Host *\n  StrictHostKeyChecking no\n  {trusting}\n")
    assert "is not known" in refusal(server.login(known_hosts=None)).what


def test_a_line_without_sense_is_no_line(server: Server, tmp_path: Path) -> None:
    file = known(
        tmp_path, server, server.folder / "host key", before="no sense\n@what is this\n|1|x|y ssh-rsa AAAA\n\0\n"
    )
    assert answers(server.login(known_hosts=file))


def test_a_host_with_a_certificate_is_known_by_its_authority(tmp_path: Path) -> None:
    authority, other = another_key(tmp_path / "authority"), another_key(tmp_path / "other")
    with serving(tmp_path / "server", authority=authority) as server:
        assert answers(server.login(known_hosts=known(tmp_path, server, authority, before="@cert-authority ")))
        refused = refusal(server.login(known_hosts=known(tmp_path, server, other, before="@cert-authority ")))
        assert f"it shows {asyncssh.read_public_key(tmp_path / 'authority.pub').get_fingerprint()}" in refused.what


# ---- keys ----


def test_a_wrong_key_is_told_with_the_way_to_mend_it(server: Server, tmp_path: Path) -> None:
    refused = refusal(server.login(key_file=another_key(tmp_path / "wrong key")))
    assert f"does not accept any of the keys that were tried: {tmp_path}/wrong key" in refused.what
    assert f"ssh-copy-id -p {server.port} pi@127.0.0.1" in refused.mend


def test_a_key_with_a_passphrase_is_for_the_agent(server: Server, tmp_path: Path) -> None:
    locked = tmp_path / "locked key"
    locked.write_bytes(server.folder.joinpath("client key").read_bytes())
    locked.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", locked], check=True, capture_output=True)
    refused = refusal(server.login(key_file=locked))
    assert f"passphrase cannot be used by itself: {locked}" in refused.what
    assert refused.mend == f"let the ssh agent unlock it: ssh-add '{locked}'"


def test_the_agent_is_asked_and_never_forwarded(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = server.folder / "client key"
    key.chmod(0o600)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", home / "agent"], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
        while subprocess.run(["ssh-add", "-q", key], capture_output=True).returncode == 2:
            assert agent.poll() is None
        home.joinpath(".ssh/config").write_text("Host *\n  ForwardAgent yes\n")
        with Ssh(server.login(key_file=None)) as ssh:
            assert ssh.run(["sh", "-c", 'echo "<$SSH_AUTH_SOCK>"'], timeout_s=10).stdout == b"<>\n"
    finally:
        agent.terminate()
        agent.wait()


# ---- settings ----


def test_settings_of_ssh_are_followed_by_alias(server: Server, home: Path) -> None:
    names = {name: str(server.folder / name) for name in ("client key", "known hosts")}
    home.joinpath(".ssh/config").write_text(
        f'Host kitchen\n  HostName 127.0.0.1\n  Port {server.port}\n  User pi\n  IdentityFile "{names["client key"]}"\n'
        f'  UserKnownHostsFile "{names["known hosts"]}" "{home}/missing"\n  SendEnv *\n  RequestTTY force\n'
    )
    assert answers(Login("kitchen"))
    elsewhere = home.joinpath(".ssh/config").rename(home / "ssh config")
    assert answers(Login("kitchen", ssh_config=elsewhere))
    assert "no address for the name 'kitchen'" in refusal(Login("kitchen")).what


def test_a_jump_host_is_verified_too(server: Server, home: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "gate") as gate:
        both = tmp_path / "both"
        lines = [each.folder.joinpath("known hosts").read_text() for each in (gate, server)]
        keys = f'  IdentityFile "{gate.folder}/client key"\n'
        home.joinpath(".ssh/config").write_text(
            f"Host kitchen\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyJump pi@gate\n"
            f"Host gate\n  HostName 127.0.0.1\n  Port {gate.port}\n{keys}"
        )
        login = server.login(host="kitchen", port=None, known_hosts=both)
        both.write_text("\n".join(lines))
        assert answers(login)
        both.write_text(lines[1])
        assert f"127.0.0.1 port {gate.port} is not known" in refusal(login).what
        both.write_text(lines[0])
        assert f"127.0.0.1 port {server.port} is not known" in refusal(login).what
        server_gone = Login("kitchen", port=1, user="pi", known_hosts=both)
        both.write_text("\n".join(lines))
        assert "does not reach 127.0.0.1 port 1" in refusal(server_gone).what


def test_what_cannot_be_read_is_named(server: Server, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(range(256)))
    settings = tmp_path / "settings"
    settings.write_text("Host *\n  Port many\n")
    assert f"{tmp_path}/nothing: No such file" in refusal(server.login(key_file=tmp_path / "nothing")).what
    assert f"The key file {garbage}" in refusal(server.login(key_file=garbage)).what
    assert "settings line 2" in refusal(server.login(ssh_config=settings)).what
    assert "cannot be read" in refusal(server.login(ssh_config=tmp_path / "nothing")).what
    assert "no file of known host keys" in refusal(server.login(known_hosts=tmp_path / "nothing")).what


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=x", "a b", "a;touch oops", "$(x)", "a\nb", "\x1b[2J", "a/b", "x" * 300]
)
def test_what_is_no_host_is_a_mistake_of_usage(host: str) -> None:
    with pytest.raises(WrongAddress, match="no name of a host") as caught:
        Login(host)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("changes", [{"user": "a;b"}, {"user": "-l"}, {"user": ""}, {"port": 0}, {"port": 65536}])
def test_what_is_no_user_or_port_is_a_mistake_of_usage(changes: dict[str, Any]) -> None:
    with pytest.raises(WrongAddress):
        Login("host", **changes)


# ---- the network ----


@contextmanager
def listening(greeting: bytes | None) -> Iterator[int]:
    """A port that is no ssh server's: it says something and hangs up, or says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def greet() -> None:
            visitor, _ = door.accept()
            with visitor:
                if greeting is not None:
                    visitor.sendall(greeting)
                    visitor.shutdown(socket.SHUT_WR)
                while visitor.recv(4096):
                    pass

        thread = threading.Thread(target=greet)
        thread.start()
        yield door.getsockname()[1]
        thread.join()


def test_a_refused_connection_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    refused = refusal(Login("127.0.0.1", port=port))
    assert refused.what == f"127.0.0.1 port {port} refuses connections."
    assert "systemctl enable --now ssh" in refused.mend


def test_a_name_that_nobody_knows_is_told() -> None:
    assert "no address for the name 'no-such-host.invalid'" in refusal(Login("no-such-host.invalid")).what


def test_a_server_that_says_nothing_is_given_up() -> None:
    with listening(None) as port, pytest.raises(Timeout, match=r"did not answer within 0\.5 s"):
        Ssh(Login("127.0.0.1", port=port, connect_timeout_s=0.5)).__enter__()


@pytest.mark.parametrize(
    "greeting",
    [b"HTTP/1.1 400 \x1b[2JBad\r\n\r\n", b"SSH-1.0-old\r\n", b"", b"\0" * 10_000, b"SSH-2.0-x\r\n" + b"\xff" * 500],
)
def test_what_is_no_ssh_server_is_told(greeting: bytes) -> None:
    with listening(greeting) as port:
        refused = refusal(Login("127.0.0.1", port=port))
    assert f"127.0.0.1 port {port} was reached, but speaking ssh with it failed" in refused.what


def test_nothing_of_it_is_left_behind(server: Server) -> None:
    before = threading.active_count()
    files = len(list(Path("/proc/self/fd").iterdir()))
    for login in (server.login(), server.login(known_hosts=Path("/dev/null"))):
        try:
            answers(login)
        except DeviceError:
            continue
    assert threading.active_count() == before
    assert len(list(Path("/proc/self/fd").iterdir())) == files
