"""The live page in a browser, as people see and operate it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from ..spots import pictures, write_model, write_plan
from .serving import Server, spots_config

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

# A pixel of the canvas; pictures are drawn as they come.
PIXELS = """canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4)
        colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
    return [canvas.width, canvas.height, colours.size, colours.has("255,210,63")];
}"""

NAMELESS = """() => [...document.querySelectorAll("a, button, input, canvas, [role=region]")]
    .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label")
                       || one.closest("label"))).length"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    model = write_model(folder / "spots.onnx")
    plan = write_plan(model, folder / "spots.plan.json")
    (folder / "clip").mkdir()
    for number, picture in enumerate(pictures(40)):
        Image.fromarray(picture).save(folder / "clip" / f"{number:02}.png")
    config = spots_config(folder, model, plan)
    config["defaults"]["fps"] = 5
    config["cameras"] = {
        "street": {"source": str(folder / "clip"), "loop": True},
        "door": {"source": "rtsp://me:s3cret@127.0.0.1:9/sub", "retry_s": [20, 30]},
    }
    server = Server(folder, config)
    server.until_ready()
    server.until_frames("street")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """Fails a test in which the page reported an error or asked somebody else for anything."""
    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    own = f"http://127.0.0.1:{server.port}/"
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((own, "data:", "blob:"))
            else problems.append(request.url)
        ),
    )
    page.goto(own)
    yield page
    context.close()
    assert not problems


def test_a_tile_shows_pictures_boxes_and_numbers(page: Any, server: Server) -> None:
    tile = page.get_by_role("article", name="street")
    sync_api.expect(tile.get_by_role("status")).to_have_text("live")
    sync_api.expect(tile.locator(".reuse")).to_have_text(re.compile(r"\d+ %"))
    sync_api.expect(tile.locator(".latency")).to_have_text(re.compile(r"\d+ ms"))
    page.wait_for_function(f"([canvas]) => ({PIXELS})(canvas)[3]", arg=[canvas_of(tile)])
    width, height, colours, _ = canvas_of(tile).evaluate(PIXELS)
    assert (width, height) == (640, 427)
    assert colours > 20
    expect_chart = tile.locator(".reuse-chart polyline")
    sync_api.expect(expect_chart).to_have_count(1)


def canvas_of(where: Any) -> Any:
    return where.locator("canvas").element_handle()


def test_a_camera_that_is_away_says_when_it_is_tried_again(page: Any) -> None:
    tile = page.get_by_role("article", name="door")
    sync_api.expect(tile.get_by_role("status")).to_have_text(re.compile(r"retry in \d+ s: "))
    assert "s3cret" not in page.content()


def test_keys_alone_lead_to_a_camera_and_operate_it(page: Any, server: Server) -> None:
    sync_api.expect(page.get_by_role("link", name="street")).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "street":
            break
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_role("heading", name="street")).to_be_visible()
    # Its three heads read one value: they are one layer.
    sync_api.expect(page.locator("#layers tr")).to_have_count(1)
    before = server.camera("street")["counters"]["keyframes"]
    page.get_by_role("button", name="Keyframe").focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#said")).to_have_text("The next frame is a keyframe.")
    server.until(lambda: server.camera("street")["counters"]["keyframes"] > before)
    page.get_by_role("button", name="Disable").press("Enter")
    sync_api.expect(page.locator("#state")).to_have_text("disabled")
    page.get_by_role("button", name="Enable").press("Enter")
    sync_api.expect(page.locator("#state")).to_have_text("live", timeout=20000)


def test_everything_has_a_name_for_screen_readers(page: Any, server: Server) -> None:
    picture = page.get_by_role("img", name=re.compile("Picture of street: live"))
    sync_api.expect(picture).to_be_visible()
    for path in ("/", "/camera/street"):
        page.goto(f"http://127.0.0.1:{server.port}{path}")
        nameless = page.evaluate(NAMELESS)
        assert nameless == 0
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("document.querySelectorAll('h1').length") == 1


def contrast(page: Any, selector: str) -> float:
    """Of a text with the paper, as WCAG counts it."""
    colours = page.evaluate(
        """selector => [getComputedStyle(document.querySelector(selector)).color,
                        getComputedStyle(document.body).backgroundColor]""",
        selector,
    )

    def luminance(colour: str) -> float:
        shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_both_schemes_can_be_read(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for selector in ("h1", "h2 a", ".state.retry", "dt", "figcaption"):
        page.wait_for_selector(selector)
        assert contrast(page, selector) >= 4.5, selector


def test_tiles_out_of_sight_are_not_sent(page: Any, server: Server) -> None:
    """Hundreds of cameras on one page."""
    page.set_viewport_size({"width": 400, "height": 300})
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.reload()
    page.wait_for_selector("article")
    page.wait_for_timeout(500)
    assert [socket.url.rsplit("/", 1)[1] for socket in sockets] == ["street"]
