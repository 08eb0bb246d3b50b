"""The report as Markdown: for a pull request, and as a model card.

Markdown knows no safe text: whatever stands in a name could be a heading, a link, an image, HTML or a mention. So the
templates escape every value, as those of the page do, and what is put in a code span or a fence is fenced by its own
content (CommonMark 0.31, sections 4.5 and 6.1).
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from pipeline.report import _advised, _card, _runs
from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject, json_text
from pipeline.report._templates import environment, facts_of

MOST_LAYERS = 150
"""A comment on GitHub ends at 65,536 letters."""

MOST_DEVICES = 60

_PLAIN = frozenset(" ,;:.()/+-%'=?!")
"""Of what is neither letter nor digit, what means nothing to Markdown unless a line begins with it: no value does."""

_CALLS = re.compile(r"[@#]|(?<=://)|(?i:\bwww(?=\.))")
"""What GitHub makes a mention or an address of, even where it is written as a character reference."""

_JOINER = "\N{WORD JOINER}"


def pull_request(documents: list[JsonObject]) -> str:
    """One report, or several side by side, as a comment on a pull request."""
    if len(documents) > 1:
        return _rendered("runs.md", sides=_runs.side_by_side(documents), documents=documents, most_devices=MOST_DEVICES)
    [document] = documents
    return _rendered(
        "pull_request.md",
        **facts_of(document),
        kept=_advised.sentences(document["mixed_precision"]) if document["mixed_precision"] else [],
        most_devices=MOST_DEVICES,
        most_layers=MOST_LAYERS,
    )


def model_card(document: JsonObject) -> str:
    """A report as a model card: the fields and headings of Hugging Face's, filled with what the run knows."""
    return _rendered(
        "model_card.md",
        **facts_of(document),
        card=_card.card(document),
        most_devices=MOST_DEVICES,
    )


def escaped(value: object) -> str:
    """Text that any reader of Markdown or HTML shows as it is.

    Letters and numbers stay; other ASCII becomes a character reference, which no reader takes for markup.
    """
    line = _CALLS.sub(rf"\g<0>{_JOINER}", _one_line(value))
    plain = (char.isalnum() or char in _PLAIN or not char.isascii() for char in line)
    return "".join(char if as_is else f"&#{ord(char)};" for char, as_is in zip(line, plain, strict=True))


def code(value: object) -> Markup:
    """A code span outside of tables."""
    text = _one_line(value).strip() or fmt.DASH
    fence = "`" * (_longest_run(text) + 1)
    inner = f" {text} " if text.startswith("`") or text.endswith("`") else text
    return Markup(fence + inner + fence)  # noqa: S704 - fenced by its own content


def cell(value: object) -> Markup:
    """A code span in a table, whose cells are cut before any code is read: readers differ on what a bar in it means."""
    return Markup(escaped(value)) if set("|\\`") & set(str(value)) else code(value)  # noqa: S704 - escaped


def fenced(text: object, language: str) -> Markup:
    """A block of code that nothing in it can end."""
    lines = "\n".join(map(fmt.printable, str(text).rstrip("\n").split("\n")))
    fence = "`" * max(3, _longest_run(lines) + 1)
    return Markup(f"{fence}{language}\n{lines}\n{fence}")  # noqa: S704 - fenced by its own content


def _one_line(value: object) -> str:
    return fmt.printable("".join(" " if char.isspace() else char for char in str(value)))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _shown(value: object) -> Markup:
    """Every value on its way into the text."""
    if isinstance(value, Markup):
        return value
    return Markup(escaped(fmt.DASH if value is None else value))  # noqa: S704 - escaped


def _rendered(template: str, **values: Any) -> str:
    templates = environment(_shown)
    templates.filters.update(code=code, cell=cell, fenced=fenced, json=json_text, yaml=_card.yaml_text)
    text: str = templates.get_template(template).render(marks=summary.MARKS, **values)
    # Where a part was left out, more than one empty line would stay.
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"
