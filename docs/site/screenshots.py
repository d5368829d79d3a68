"""Takes the pictures of the live page that the guide shows: `python docs/site/screenshots.py`.

Needs the extras `serve` and `demo`, the package `playwright`, and Chromium from the system.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parents[1] / "images"
ADDRESS = "http://127.0.0.1:8600"
FILLED_S = 20
"""Until the charts show something."""


def wait_until_ready() -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{ADDRESS}/readyz"):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the server does not start")


def take() -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, path, scheme, height in (
            ("serving", "/", "light", 620),
            ("serving-camera", "/camera/car", "dark", 760),
        ):
            page = browser.new_page(viewport={"width": 880, "height": height}, color_scheme=scheme)
            page.goto(ADDRESS + path)
            page.wait_for_selector(".state.live")
            page.wait_for_timeout(2000)
            page.screenshot(path=FOLDER / f"{name}.png")
        browser.close()


def main() -> None:
    server = subprocess.Popen([sys.executable, "-m", "mquans", "serve", "--demo"])
    try:
        wait_until_ready()
        time.sleep(FILLED_S)
        take()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
