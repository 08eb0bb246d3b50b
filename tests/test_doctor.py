"""doctor: over environments that are written as pip writes them, and over this machine through the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from pipeline.doctor import Finding, folders, installed_packages, packages, together
from tests.small import Command

SCHEMA = Path(__file__).parents[1] / "docs" / "schemas" / "doctor.schema.json"
GOOD = {"edgesmith": "1", "numpy": "1.26.4", "tensorflow": "2.21.0", "tf_keras": "2.21.0", "tflite_runtime": "2.14.0"}
ASKS = [
    "numpy<2,>=1.26",
    "tensorflow<2.22,>=2.21",
    "tf-keras<2.22",
    'x; python_version < "3"',
    'Extra-One>=2; extra == "tfds"',
]


def environment(folder: Path, versions: dict[str, str], asks: dict[str, list[str]] | None = None) -> list[str]:
    """A folder of packages' metadata."""
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [
            "Metadata-Version: 2.1",
            f"Name: {name.replace('_', '-')}",
            f"Version: {version}",
            "Provides-Extra: tfds",
        ]
        wanted = {"edgesmith": ASKS, **(asks or {})}.get(name, [])
        info.joinpath("METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in wanted)]) + "\n")
    return [str(folder)]


def found(folder: Path, versions: dict[str, str], asks: dict[str, list[str]] | None = None) -> dict[str, Finding]:
    installed = installed_packages(environment(folder, versions, asks))
    return {one.name: one for one in (*packages(installed), *together(installed))}


def test_what_is_asked_for_is_held_against_what_is_there(tmp_path: Path) -> None:
    findings = found(tmp_path, {**GOOD, "tensorflow": "2.20.0", "tf_keras": "2.20.0"})
    assert findings["numpy"].status == "ok"
    assert (findings["tensorflow"].status, findings["tensorflow"].essential) == ("wrong", True)
    assert findings["tensorflow"].mend == "pip install 'tensorflow<2.22,>=2.21'"
    extra = findings["Extra-One"]
    assert (extra.status, extra.essential, extra.enables) == ("missing", False, "the data source tfds")
    assert "x" not in findings, "another Python's requirement is not ours"


def test_a_good_environment_works_together(tmp_path: Path) -> None:
    assert found(tmp_path, GOOD)["versions"].status == "ok"


@pytest.mark.parametrize(
    ("changed", "pair", "mend"),
    [
        ({"numpy": "2.1.0"}, "tflite-runtime 2.14.0 with numpy 2.1.0", "numpy<2"),
        ({"tf_keras": "2.20.1"}, "tf-keras 2.20.1 with tensorflow 2.21.0", "tf-keras~=2.21.0"),
        ({"ml_dtypes": "0.6.0"}, "ml-dtypes 0.6.0 with numpy 1.26.4", "ml-dtypes<0.6"),
    ],
)
def test_versions_that_do_not_work_together_are_named(
    changed: dict[str, str], pair: str, mend: str, tmp_path: Path
) -> None:
    finding = found(tmp_path, {**GOOD, **changed})[pair]
    assert (finding.status, finding.essential, finding.mend) == ("wrong", True, f"pip install '{mend}'")
    assert finding.found


def test_what_a_package_says_itself_of_others_counts(tmp_path: Path) -> None:
    findings = found(tmp_path, GOOD, {"tensorflow": ["numpy>=1.99", 'nobody; extra == "gpu"']})
    assert findings["tensorflow 2.21.0 with numpy 1.26.4"].expected == "numpy>=1.99"


def test_without_edgesmith_that_is_the_finding(tmp_path: Path) -> None:
    assert found(tmp_path, {"numpy": "1.26.4"})["edgesmith"].status == "missing"


def test_a_cache_that_is_a_file_is_wrong_and_one_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    cache = {place: next(folders(tmp_path / place)) for place in ("file", "file/below", "not/yet")}
    assert [one.status for one in cache.values()] == ["wrong", "wrong", "ok"]
    assert not tmp_path.joinpath("not").exists()


@pytest.mark.e2e
def test_the_command_tells_and_follows_its_schema(edgesmith: Command) -> None:
    done = edgesmith("doctor", "--json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text("utf-8")), cls=jsonschema.Draft202012Validator)
    assert done.returncode == (0 if document["ok"] else 1)
    assert all(one["mend"] for one in document["findings"] if one["status"] != "ok")
    assert [path.name for path in edgesmith.home.iterdir()] == [], "looking leaves nothing behind"
    shown = edgesmith("doctor").stdout
    assert re.search(r"✓ +tensorflow +2\.", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_looking_imports_nothing_heavy_and_takes_less_than_a_second_of_the_processor(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pipeline.doctor import examine; examine(Path('cache'));"
        "assert not {'tensorflow', 'tf_keras', 'keras', 'numpy', 'sklearn'} & set(sys.modules), sys.modules.keys();"
        "assert time.process_time() < 1, time.process_time()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
