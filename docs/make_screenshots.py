"""Draws a report.html to a PNG with Debian's `chromium`, headless: the picture in README.md.

    python docs/make_screenshots.py runs/mnist_demo/report.html docs/images/report.png --height 1500

A width below 500 px is drawn inside a frame of that width, because the browser makes no window so narrow.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
NARROWEST_PX = 500
PATIENCE_S = 120


def main() -> None:
    """Read the arguments, draw, and say where the picture lies."""
    wanted = _arguments()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("There is no chromium here. To mend it: apt-get install -y chromium")
    with tempfile.TemporaryDirectory(prefix="edgesmith-screenshot-") as scratch:
        command = [browser, *FLAGS, f"--user-data-dir={scratch}/profile", *_what_to_draw(wanted, Path(scratch))]
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if outcome.returncode != 0 or not wanted.picture.is_file():
        sys.exit(f"chromium drew nothing:\n{outcome.stderr}")
    sys.stdout.write(f"{wanted.picture}\n")


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
    # Absolute, because the browser has a working folder of its own mind.
    wanted.report, wanted.picture = wanted.report.resolve(), wanted.picture.resolve()
    wanted.picture.parent.mkdir(parents=True, exist_ok=True)
    wanted.picture.unlink(missing_ok=True)
    return wanted


def _what_to_draw(wanted: argparse.Namespace, scratch: Path) -> list[str]:
    if wanted.picture.suffix == ".pdf":
        return [f"--print-to-pdf={wanted.picture}", "--no-pdf-header-footer", wanted.report.as_uri()]
    page = wanted.report if wanted.width >= NARROWEST_PX else _framed(wanted, scratch)
    return [
        f"--screenshot={wanted.picture}",
        f"--window-size={max(wanted.width, NARROWEST_PX)},{wanted.height}",
        f"--force-device-scale-factor={wanted.scale}",
        # 0 is dark, 1 is light.
        f"--blink-settings=preferredColorScheme={0 if wanted.dark else 1}",
        page.as_uri(),
    ]


def _framed(wanted: argparse.Namespace, scratch: Path) -> Path:
    frame = scratch / "frame.html"
    size = f"width:{wanted.width}px;height:{wanted.height}px;border:0;display:block"
    scheme = '<meta name="color-scheme" content="light dark">'
    inner = f'<iframe src="{wanted.report.as_uri()}" style="{size}"></iframe>'
    frame.write_text(f'{scheme}<body style="margin:0">{inner}', encoding="utf-8")
    return frame


if __name__ == "__main__":
    main()
