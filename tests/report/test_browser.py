"""The page in a real browser: Debian's chromium, headless, driven by Playwright."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from pipeline.report import _format as fmt
from pipeline.report._html import html_page, html_page_of_several
from pipeline.report._runs import named_apart
from tests.report.documents import EVIL, full, in_two_stages, many, with_text

# One browser is enough for all of them.
pytestmark = pytest.mark.xdist_group("browser")

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1120, "height": 900}
# A4 without the page's margins of 14 mm, in CSS px.
PAPER = {"width": 688, "height": 1016}

MOST_BYTES = 2_000_000
MOST_MS = 1_000


def several() -> str:
    documents = [full(), {**full(), "recipe": "another_recipe_with_a_long_name"}, full()]
    return html_page_of_several(named_apart(documents, [Path("a"), Path("b"), Path("c")]))


PAGES: dict[str, Callable[[], str]] = {
    "one run": lambda: html_page(full()),
    "two stages": lambda: html_page(in_two_stages()),
    "several runs": several,
    "many devices": lambda: html_page(many(50, 200)),
}


@dataclass
class Visit:
    """A page that was opened, with all that it complained of and asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> Page:
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("There is no chromium here: apt-get install -y chromium lets these tests run.")
    with sync_playwright() as playwright:
        # A container's root may not have a sandbox; the pages are our own.
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    written = {name: folder / f"{place}.html" for place, name in enumerate(PAGES)}
    for name, path in written.items():
        path.write_text(PAGES[name](), encoding="utf-8")
    return written


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport=DESKTOP) as opened:  # type: ignore[arg-type]
        yield opened


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")


def blank(picture: Image.Image) -> list[int]:
    """The bands of a picture, each a screen high, in which there is nothing to read."""
    tops = range(0, picture.height - 400, 400)
    return [top for top in tops if inked(picture.crop((0, top, picture.width, top + 400))) < 0.01]


def inked(picture: Image.Image) -> float:
    """The share of pixels that are not of the commonest colour."""
    colours = np.asarray(picture).reshape(-1, 3) @ np.array([1, 256, 65_536])
    return 1 - float(np.unique(colours, return_counts=True)[1].max()) / len(colours)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_opens_without_a_complaint_and_asks_for_nothing(
    name: str, context: BrowserContext, pages: dict[str, Path]
) -> None:
    visit = Visit(context.new_page())
    page = visit.open(pages[name])
    page.wait_for_load_state("networkidle")
    assert visit.complaints == []
    assert visit.requests == [pages[name].as_uri()]
    charts = page.get_by_role("img").and_(page.locator("figure svg")).all()
    assert len(charts) >= 2
    for chart in charts[:20]:
        box = chart.bounding_box()
        assert box and box["width"] > 100 and box["height"] > 40
        assert len(str(chart.get_attribute("aria-label"))) > 20


def column(page: Page, place: int) -> list[str]:
    cells = page.locator(f"#layers ~ .scroll tbody td:nth-child({place})")
    return [str(cell.get_attribute("data-value")) for cell in cells.all()]


def test_the_layer_table_sorts_by_mouse_and_by_keyboard(context: BrowserContext, pages: dict[str, Path]) -> None:
    page = Visit(context.new_page()).open(pages["one run"])
    heading = page.locator("#layers ~ .scroll thead th").nth(4)
    button = heading.get_by_role("button")
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, 5) == ["500", "5000", "25000", "400000"]
    button.focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 5) == ["400000", "25000", "5000", "500"]
    noise = page.locator("#layers ~ .scroll thead th").nth(8)
    for direction in ("ascending", "descending"):
        noise.get_by_role("button").press("Space")
        assert noise.get_attribute("aria-sort") == direction
        # What was not measured is no smallest and no largest figure.
        assert column(page, 9)[-1] == ""
    assert heading.get_attribute("aria-sort") is None


def test_every_control_is_reached_by_the_tab_key_and_shows_it(context: BrowserContext, pages: dict[str, Path]) -> None:
    page = Visit(context.new_page()).open(pages["one run"])
    wanted = page.locator("button, summary, [tabindex='0']").count()
    reached = 0
    for _ in range(wanted):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        reached += page.evaluate("document.activeElement !== document.body")
        assert outline == "solid"
    assert reached == wanted > 40


def beyond(page: Page, width: int) -> list[str]:
    """What stands out of the page at its right, and not within a region that scrolls."""
    return list(
        page.evaluate(
            """width => [...document.querySelectorAll("body *")]
                .filter(one => one.getBoundingClientRect().right > width + 1)
                .filter(one => !one.closest("svg, .unseen"))
                .filter(one => !(one.closest(".scroll, pre") && matchMedia("screen").matches))
                .map(one => `${one.tagName} ${one.className} ${one.textContent.slice(0, 40)}`)""",
            width,
        )
    )


@pytest.mark.parametrize("name", ["one run", "several runs"])
def test_on_a_phone_nothing_stands_out_of_the_screen(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:  # type: ignore[arg-type]
        page = Visit(context.new_page()).open(pages[name])
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert beyond(page, PHONE["width"]) == []
        smallest = page.evaluate(
            """Math.min(...[...document.querySelectorAll("p, td, dd, h2")]
                .map(one => parseFloat(getComputedStyle(one).fontSize)))"""
        )
        assert smallest >= 11
        picture = shot(page)
        assert picture.width == PHONE["width"]
        assert blank(picture) == []


@pytest.mark.parametrize("name", ["one run", "several runs"])
def test_in_print_nothing_is_cut(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    with browser.new_context(viewport=PAPER) as context:  # type: ignore[arg-type]
        page = Visit(context.new_page()).open(pages[name])
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
        assert beyond(page, PAPER["width"]) == []
        cut = page.evaluate(
            """() => [...document.querySelectorAll("main *")]
                .filter(one => !one.closest("svg, .unseen") && getComputedStyle(one).overflow !== "visible")
                .filter(one => one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1)
                .map(one => `${one.tagName} ${one.className}`)"""
        )
        assert cut == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert blank(shot(page)) == []
        assert page.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"


CONTRAST = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = one => {
    for (let at = one; at; at = at.parentElement) {
      const found = getComputedStyle(at).backgroundColor;
      if (found.startsWith("rgb(")) return channels(found);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("p, td, th, dd, dt, h1, h2, h3, pre, small, .badge, strong, svg text")]
    .filter(one => one.textContent.trim() && !one.closest(".unseen, .confusion"))
    .map(one => {
      const ink = getComputedStyle(one)[one.closest("svg") ? "fill" : "color"];
      const [a, b] = [luminance(channels(ink)), luminance(ground(one))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.tagName, one.textContent.slice(0, 30)];
    })
    .sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast_in_the_light_and_in_the_dark(
    scheme: Any, context: BrowserContext, pages: dict[str, Path]
) -> None:
    page = Visit(context.new_page()).open(pages["one run"])
    page.emulate_media(color_scheme=scheme)
    # WCAG 2.2, 1.4.3.
    ratio, *where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    picture = shot(page)
    corner = picture.getpixel((2, 2))
    assert isinstance(corner, tuple)
    assert (sum(corner) > 600) is (scheme == "light")


def test_the_longest_name_of_a_target_stays_one_word(browser: Browser, tmp_path: Path) -> None:
    document = full()
    document["measurements"] = [row | {"target": "microcontroller"} for row in document["measurements"]]
    path = tmp_path / "report.html"
    path.write_text(html_page(document), encoding="utf-8")
    with browser.new_context(viewport={"width": 1000, "height": 900}) as context:
        page = Visit(context.new_page()).open(path)
        lines = page.evaluate(
            """[...document.querySelectorAll(".devices td.name")].map(cell => {
                const range = document.createRange();
                range.selectNodeContents(cell.firstChild);
                return range.getClientRects().length;
            })"""
        )
    assert lines
    assert set(lines) == {1}


def test_fifty_devices_with_two_hundred_layers_open_within_a_second(browser: Browser, pages: dict[str, Path]) -> None:
    path = pages["many devices"]
    assert path.stat().st_size <= MOST_BYTES
    # The machine may be busy with others: the page is as quick as its quickest opening.
    assert any(opening_ms(browser, path) <= MOST_MS for _ in range(5))


def opening_ms(browser: Browser, path: Path) -> float:
    with browser.new_context(viewport=DESKTOP) as context:  # type: ignore[arg-type]
        page = Visit(context.new_page()).open(path)
        loaded: float = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        painted: float = page.evaluate(
            """new Promise(done => new PerformanceObserver(list => done(list.getEntries()[0].startTime))
                .observe({type: "paint", buffered: true}))"""
        )
        return max(loaded, painted)


SHAPE = """[...document.querySelectorAll("*")].filter(one => !one.closest("svg") && one.tagName !== "WBR")
    .map(one => `${one.tagName}#${one.id} ${[...one.attributes].map(each => each.name).join(" ")}`)"""


@pytest.mark.parametrize("pages_of", [1, 2])
def test_no_text_anywhere_becomes_a_part_of_the_page(pages_of: int, context: BrowserContext, tmp_path: Path) -> None:
    shapes: list[list[str]] = []
    visit = Visit(context.new_page())
    # As long as the other: long facts are laid out as lists.
    for text in ("p" * len(EVIL), EVIL):
        document = with_text(text, patterns=False)
        documents = named_apart([document] * pages_of, [Path("a"), Path("b")][:pages_of])
        html = html_page(document) if pages_of == 1 else html_page_of_several(documents)
        path = tmp_path / f"{len(shapes)}.html"
        path.write_text(html, encoding="utf-8")
        visit = Visit(context.new_page())
        shapes.append(visit.open(path).evaluate(SHAPE))
    assert shapes[1] == shapes[0]
    assert visit.complaints == []
    assert len(visit.requests) == 1
    assert visit.page.evaluate("window.owned") is None
    text = visit.page.evaluate("document.body.textContent")
    # All of it is there to be read, and nothing of it steers a terminal that it is copied to.
    assert text.count(fmt.printable(EVIL)[:60]) > 20
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    # What stands in the page sorts and prints as ever.
    visit.page.locator("button[data-sort]").first.click()
    assert visit.page.locator("th[aria-sort]").count() == 1
