"""Files made to do harm: each is refused, in words, before anything of it is built or run."""

from __future__ import annotations

import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline._intake import _archive, _hdf5
from pipeline._intake._config import Names, check_config, parse_config
from pipeline.errors import ModelError

Golden = Callable[[str, str], None]
MEMBERS = {"metadata.json": b'{"keras_version": "3.15.1"}', "config.json": b"{}", "model.weights.h5": b"precious"}


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        action()
    return str(caught.value) + "\n"


# Archives


def archive(path: Path, *more: tuple[zipfile.ZipInfo | str, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", packed) as file:
        warnings.simplefilter("ignore")  # a name that is there twice is what we want
        for name, data in [*MEMBERS.items(), *more]:
            file.writestr(name, data)
    return path


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("config.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def unpacked(path: Path) -> str:
    folder = path.parent / "into"
    folder.mkdir()
    said = refusal(lambda: _archive.unpack(path, folder))
    assert set(path.parent.iterdir()) == {path, folder}  # nothing was written elsewhere
    return said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.py", "leads out of the archive"),
        ("/etc/evil", "leads out of the archive"),
        ("a\\..\\evil", "leads out of the archive"),
        ("config.json", "is there more than once"),
        ("assets/vocabulary.txt", "is a vocabulary or another asset"),
        ("evil.py", "is nothing that Keras writes"),
        ("archive/data.pkl", "m.keras is a PyTorch model."),
    ],
)
def test_members_that_keras_does_not_write_are_refused(name: str, said: str, tmp_path: Path) -> None:
    assert said in unpacked(archive(tmp_path / "m.keras", (name, b"x")))


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link(), "/etc/passwd")
    assert "'config.json' is a link" in unpacked(path)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(data)
    assert "is encrypted" in unpacked(path)


def test_unusual_packing_is_refused(tmp_path: Path) -> None:
    assert "is packed in an unusual way" in unpacked(archive(tmp_path / "m.keras", packed=zipfile.ZIP_LZMA))


def bomb(name: str, size: int, path: Path) -> Path:
    """An archive whose member says that it is larger than it is packed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, data in MEMBERS.items():
            file.writestr(member, data)
        info = file.getinfo(name)
        info.file_size = size
    return path


@pytest.mark.parametrize(("name", "size"), [("config.json", 2**27), ("model.weights.h5", 2**31)])
def test_bombs_are_refused_before_they_go_off(name: str, size: int, tmp_path: Path, golden: Golden) -> None:
    golden(f"messages/intake_bomb_{name}.txt", unpacked(bomb(name, size, tmp_path / "m.keras")))


def test_a_member_that_is_longer_than_it_says_is_damaged(tmp_path: Path) -> None:
    assert "m.keras is damaged" in unpacked(bomb("model.weights.h5", 2, tmp_path / "m.keras"))


def test_a_damaged_member_is_found_by_its_checksum(tmp_path: Path, golden: Golden) -> None:
    path = archive(tmp_path / "m.keras")
    path.write_bytes(path.read_bytes().replace(b"precious", b"precise!"))
    golden("messages/intake_checksum.txt", unpacked(path))


@pytest.mark.parametrize("missing", MEMBERS)
def test_what_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        for name in MEMBERS.keys() - {missing}:
            file.writestr(name, MEMBERS[name])
    assert f"it has no {missing}" in unpacked(path)


def test_a_numpy_archive_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", x=np.zeros(2))
    assert "m.npz is a numpy archive." in unpacked(tmp_path / "m.npz")


# HDF5


def _cycle(file: h5py.File) -> None:
    file["a"]["again"] = file["a"]


def _deep(file: h5py.File) -> None:
    group = file["a"]
    for _ in range(_hdf5.MOST_DEPTH + 1):
        group = group.create_group("a")


def _external_numbers(file: h5py.File) -> None:
    file.create_dataset("x", (4,), "f4", external=[("elsewhere.raw", 0, 16)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


HOSTILE_HDF5: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "external_link": (lambda f: f.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")), "a link that leads"),
    "soft_link": (lambda f: f.__setitem__("x", h5py.SoftLink("/a")), "a link that leads"),
    "two_names": (lambda f: f.__setitem__("b", f["a"]), "leads back to where it came from"),
    "cycle": (_cycle, "leads back to where it came from"),
    "deep": (_deep, "lies too deep"),
    "external_numbers": (_external_numbers, "takes its numbers from another file"),
    "virtual": (_virtual, "takes its numbers from another file"),
    "filter": (lambda f: f.create_dataset("x", (4,), "i4", chunks=(4,), scaleoffset=0), "is packed in an unusual way"),
    "gzip_bomb": (
        lambda f: f.create_dataset("x", (2**14, 2**15), "f4", chunks=(2**7, 2**15), compression="gzip"),
        "would unpack to 2,147,483,648",
    ),
    "hollow": (lambda f: f.create_dataset("x", (2**50,), "f8", chunks=(2**10,)), "would unpack to 9,007,199"),
    "objects": (lambda f: f.create_dataset("x", (4,), h5py.vlen_dtype(np.float32)), "no plain numbers"),
    "references": (lambda f: f.create_dataset("x", (2,), h5py.ref_dtype), "no plain numbers"),
    "texts": (lambda f: f.create_dataset("x", (2,), h5py.string_dtype()), "no plain numbers"),
    "compound": (lambda f: f.create_dataset("x", (2,), np.dtype([("a", "f4")])), "no plain numbers"),
    "named_type": (lambda f: f.__setitem__("x", np.dtype("f4")), "nothing that Keras writes"),
    "attribute": (lambda f: f["a"].attrs.__setitem__("x", f["a"].ref), "is no text and no number"),
}


@pytest.mark.parametrize("name", HOSTILE_HDF5)
def test_hdf5_that_keras_does_not_write_is_refused(name: str, tmp_path: Path, golden: Golden) -> None:
    make, said = HOSTILE_HDF5[name]
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_group("a")
        make(file)
    message = refusal(lambda: _hdf5.check_hdf5(path, "m.h5"))
    assert said in message
    if name in ("external_link", "gzip_bomb"):
        golden(f"messages/intake_hdf5_{name}.txt", message.replace(f"{path.stat().st_size:,}", "SIZE"))


def test_what_keras_writes_passes(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a", "b"]
        file.attrs["fixed"] = np.asarray([b"a", b"bc"])
        file.create_dataset("a/kernel:0", data=np.zeros((3, 3)), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("a/name", data="text")
        file.create_dataset("a/empty", data=np.zeros((0, 3), "f4"))
    _hdf5.check_hdf5(path, "m.h5")


# Configs

KNOWN = Names(frozenset({"Dense", "StringLookup", "TFSMLayer", "Add"}), frozenset({"relu"}))
OWN = Names(KNOWN.classes, KNOWN.functions, frozenset({"Attention2", "mine>Attention2", "gelu2"}), "own.py")


def layer(class_name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any) -> Any:
    node = {"class_name": class_name, "module": module, "config": {"name": "the_layer", **config}}
    return {**node, "registered_name": registered}


def model_of(node: Any) -> Any:
    return {"class_name": "Functional", "module": "keras.src.models.functional", "config": {"layers": [node]}}


def function(name: str, module: str = "builtins") -> dict[str, Any]:
    return {"class_name": "function", "module": module, "config": name, "registered_name": name}


HOSTILE_CONFIGS: dict[str, Any] = {
    "lambda": layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}),
    "nested_lambda": layer("Dense", activation={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}),
    "registered_lambda": layer("keras>Lambda", function_type="lambda"),
    "os_system": layer("system", "os"),
    "builtin_eval": layer("Dense", activation=function("eval")),
    "get_file": layer("Dense", activation=function("get_file", "keras.utils")),
    "module_of_a_known_name": layer("Dense", "os.path"),
    "module_that_is_no_text": layer("Dense", None) | {"module": ["os"]},
    "type_spec": layer("Dense", kernel_initializer={"class_name": "__typespec__", "module": "os", "config": []}),
    "old_type_spec": layer("Dense", x={"class_name": "TypeSpec", "type_spec": "x", "serialized": []}),
    "vocabulary": layer("StringLookup", vocabulary="/etc/passwd"),
    "saved_model_inside": layer("TFSMLayer", filepath="/somewhere"),
    "library": layer("TFOpLambda", "tf_keras.src.layers.core.tf_op_layer", function="load_op_library"),
    "file_writer": layer("TFOpLambda", "tf_keras.src.layers.core.tf_op_layer", function="io.write_file"),
    "unknown_class": layer("Attention2", "own", "Attention2"),
    "registered_under_another_name": layer("Attention2", "os", "something"),
    "class_without_a_name": layer("Dense", x={"class_name": ["os"], "config": {}}),
}


@pytest.mark.parametrize("name", HOSTILE_CONFIGS)
def test_configs_that_name_more_than_layers_are_refused(name: str, golden: Golden) -> None:
    config = model_of(HOSTILE_CONFIGS[name])
    golden(
        f"messages/intake_config_{name}.txt",
        refusal(lambda: check_config(config, "m.keras", KNOWN, trust_code=False)),
    )


def test_layers_and_the_users_own_pass() -> None:
    nodes = [
        layer("Dense", activation=function("relu"), shape={"class_name": "__tuple__", "items": [1, 2]}),
        layer("Add", "keras.src.ops.numpy", "Add"),
        layer("TFOpLambda", "tf_keras.src.layers.core.tf_op_layer", "TFOpLambda", function="math.sin"),
        layer("StringLookup", vocabulary=["a", "b"]),
        layer("Attention2", "own", "mine>Attention2", activation=function("gelu2", "own")),
        layer("Attention2", None),
    ]
    for node in nodes:
        check_config(model_of(node), "m.keras", OWN, trust_code=False)


def test_trust_lets_lambdas_through_and_nothing_else() -> None:
    check_config(model_of(HOSTILE_CONFIGS["lambda"]), "m.keras", KNOWN, trust_code=True)
    said = refusal(lambda: check_config(model_of(layer("system", "os")), "m.keras", KNOWN, trust_code=True))
    assert "names the class 'os.system' in the layer 'the_layer'" in said


def test_the_users_file_is_named_with_what_it_has(golden: Golden) -> None:
    config = model_of(layer("Attention3", "own", "mine>Attention3"))
    said = refusal(lambda: check_config(config, "m.keras", OWN, trust_code=False))
    golden("messages/intake_custom_missing.txt", said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "its config is no JSON"),
        ("[" * 10**5 + "]" * 10**5, "its config is nested without end"),
        ("1" * (_archive.MOST_JSON_BYTES + 1), "characters"),
    ],
)
def test_configs_that_are_none_are_damaged(text: str, said: str) -> None:
    assert said in refusal(lambda: parse_config(text, "m.keras"))


def test_a_config_that_python_reads_may_still_be_too_deep() -> None:
    config: Any = "bottom"
    for _ in range(500):
        config = {"class_name": "Dense", "config": config}
    assert "nested without end" in refusal(lambda: check_config(config, "m.keras", KNOWN, trust_code=False))
