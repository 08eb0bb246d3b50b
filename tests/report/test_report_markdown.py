"""The report as Markdown: what a pull request and the Hub show. No name becomes a part of it."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from pipeline.report import _format as fmt
from pipeline.report._markdown import escaped, model_card, pull_request
from pipeline.report._runs import named_apart
from tests.report.documents import EVIL, full, many, with_text

GITHUB_LONGEST = 65_536
INT8 = Path(__file__).resolve().parents[1] / "edge_targets" / "data" / "tiny_int8.tflite"


class Shown(HTMLParser):
    """What a reader of Markdown makes of a text: its tags and its words."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(MarkdownIt("commonmark").enable("table").render(markdown))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def body_of(card: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)


def several(document: dict[str, Any]) -> list[dict[str, Any]]:
    return named_apart([document, document], [Path("a"), Path("b")])


FORMS = {
    "pull request": lambda document: pull_request([document]),
    "several": lambda document: pull_request(several(document)),
    "card": lambda document: body_of(model_card(document)),
}


def test_a_pull_request_shows_what_changed(golden: Any) -> None:
    golden("pull_request.md", pull_request([full()]))


def test_a_model_card_is_what_it_was(golden: Any) -> None:
    golden("model_card.md", model_card(full()))


def test_several_runs_stand_in_one_table_each() -> None:
    shown = Shown(pull_request(named_apart([full(), {**full(), "recipe": "another"}], [Path("a"), Path("b")])))
    assert "2 runs side by side" in shown.text
    assert shown.tags.count("table") == 3
    assert "another" in shown.text


@pytest.mark.parametrize("form", FORMS)
def test_no_text_becomes_markup(form: str) -> None:
    plain, evil = (Shown(FORMS[form](with_text(text, patterns=False))) for text in ("plain", EVIL))
    # The same tables, headings and code: nothing more, nothing less. A code span in a table becomes text.
    assert [tag for tag in evil.tags if tag != "code"] == [tag for tag in plain.tags if tag != "code"]
    assert not {"script", "img", "a", "em"} & set(evil.tags)
    assert evil.text.count("<script>window.owned = 1</script>") >= plain.text.count("plain") > 10
    assert "6391" not in evil.text


@pytest.mark.parametrize("form", FORMS)
def test_no_control_character_gets_through(form: str) -> None:
    text = FORMS[form](with_text(EVIL, patterns=False))
    assert {char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")} <= {"\n"}
    assert "\u202e" not in text


def test_github_sees_no_mention_no_issue_and_no_address() -> None:
    shown = Shown(f"x {escaped(EVIL)}").text
    assert not re.search(r"@\w|#\d|https?://\w|www\.", shown)


def test_a_card_has_the_metadata_of_the_hub() -> None:
    text = model_card(full())
    block = re.search(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))", text)
    assert block
    metadata = yaml.safe_load(block[2])
    assert {"license", "library_name", "tags", "pipeline_tag", "metrics", "model-index"} == metadata.keys()
    assert metadata["pipeline_tag"] == "image-classification"
    [entry] = metadata["model-index"]
    [result] = entry["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["metrics"] == [{"type": "accuracy", "value": 0.984, "name": "Accuracy, int8"}]
    assert result["dataset"].keys() >= {"name", "type"}


def test_a_card_keeps_its_metadata_whatever_a_name_is() -> None:
    text = model_card(with_text(EVIL, patterns=False))
    metadata = yaml.safe_load(text.split("\n---\n", 1)[0])
    assert metadata["model-index"][0]["name"] == fmt.printable(EVIL)


def test_the_code_of_a_card_runs(tmp_path: Path) -> None:
    document = full()
    document["artifact"]["path"] = str(INT8)
    [program] = re.findall(r"```python\n(.*?)\n```", model_card(document), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\[\[ ?-?\d", done.stdout)


def test_a_comment_never_gets_too_long_for_github() -> None:
    assert len(pull_request([many(50, 400)])) < GITHUB_LONGEST
