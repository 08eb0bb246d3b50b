"""Draws a report.html to a PNG with Debian's `chromium`, driven by Playwright: README's pictures, of `make demo`.

    python docs/make_screenshots.py runs/mnist-demo/report.html docs/images/report.png --height 1650
    python docs/make_screenshots.py runs/mnist-demo/report.html docs/images/report-phone.png \\
        --width 390 --height 1650 --dark
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


def main() -> None:
    """Read the arguments, draw, and say where the picture lies."""
    wanted = _arguments()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("There is no chromium here. To mend it: apt-get install -y chromium")
    with sync_playwright() as playwright:
        # A container's root has no sandbox; the page is our own.
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--hide-scrollbars"])
        page = started.new_page(
            viewport={"width": wanted.width, "height": wanted.height},
            device_scale_factor=wanted.scale,
            color_scheme="dark" if wanted.dark else "light",
        )
        page.goto(wanted.report.resolve().as_uri())
        _draw(page, wanted.picture)
        started.close()
    sys.stdout.write(f"{wanted.picture}\n")


def _draw(page: Page, picture: Path) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    if picture.suffix == ".pdf":
        page.pdf(path=picture, prefer_css_page_size=True)
    else:
        page.screenshot(path=picture)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="a report.html")
    parser.add_argument("picture", type=Path, help="the .png to write, or a .pdf to print the page instead")
    parser.add_argument("--width", type=int, default=1120, help="of the window, in CSS px")
    parser.add_argument("--height", type=int, default=1400, help="of the window, in CSS px")
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels per CSS px")
    parser.add_argument("--dark", action="store_true", help="as on a machine in dark mode")
    wanted = parser.parse_args()
    if not wanted.report.is_file():
        parser.error(f"there is no {wanted.report}: run a recipe first")
    return wanted


if __name__ == "__main__":
    main()
