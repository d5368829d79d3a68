"""The demo's picture: detections, where work was done, computation reuse over time."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = npt.NDArray[np.uint8]

MARGIN = 40
PANEL_WIDTH = 600
CHART_HEIGHT = 190
CAPTION = 56
PAPER, INK, FAINT, RULE = "#ffffff", "#1d2430", "#69727f", "#dfe3e8"
ACCENT, FILL = "#0b7a75", "#d5ebe9"

# Dark to bright, as in thermal pictures: nothing done, some, most.
HEAT = np.array(
    [[8, 12, 32], [62, 18, 98], [150, 38, 108], [220, 72, 66], [250, 150, 30], [252, 240, 150]],
    dtype=np.float64,
)


def draw(
    picture: Picture,
    size: tuple[int, int],
    faces: npt.NDArray[np.float32] | None,
    work: npt.NDArray[np.float64],
    reuse: Sequence[float],
) -> bytes:
    """The picture as PNG bytes.

    Args:
        picture: a frame, uint8 [H, W, 3] in RGB.
        size: (width, height) of the network's input, which boxes refer to.
        faces: [boxes, 5], see `evaluate.detections`; None when there are none.
        work: MACs per pixel of the network's input, [height, width].
        reuse: computation reuse per frame, 0 to 1.
    """
    panel_height = round(PANEL_WIDTH * size[1] / size[0])
    width = 3 * MARGIN + 2 * PANEL_WIDTH
    chart_top = MARGIN + panel_height + 2 * CAPTION
    height = chart_top + CHART_HEIGHT + MARGIN + CAPTION
    page = Image.new("RGB", (width, height), PAPER)
    frame = Image.fromarray(picture).resize((PANEL_WIDTH, panel_height), Image.Resampling.LANCZOS)
    right = 2 * MARGIN + PANEL_WIDTH

    page.paste(_heat(frame, work), (right, MARGIN))
    _outline(frame, faces, PANEL_WIDTH / size[0])
    page.paste(frame, (MARGIN, MARGIN))
    pen = ImageDraw.Draw(page)
    below = MARGIN + panel_height + 12
    _caption(pen, (MARGIN, below), "What the network finds", "a frame of the stream")
    _caption(pen, (right, below), "Where work was done", "all frames but the first, dark is idle")
    _chart(pen, (MARGIN, chart_top, width - MARGIN, chart_top + CHART_HEIGHT), reuse)
    file = io.BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()


def _outline(frame: Image.Image, faces: npt.NDArray[np.float32] | None, scale: float) -> None:
    pen = ImageDraw.Draw(frame)
    for left, top, right, bottom, score in faces if faces is not None else ():
        box = [float(edge * scale) for edge in (left, top, right, bottom)]
        pen.rectangle(box, outline="#ffffff", width=5)
        pen.rectangle(box, outline=ACCENT, width=3)
        label = f"face {score:.2f}"
        font = _font(18)
        text = pen.textbbox((box[0] + 8, box[1] - 28), label, font=font)
        pen.rectangle((box[0], text[1] - 6, text[2] + 8, box[1]), fill=ACCENT)
        pen.text((box[0] + 8, box[1] - 28), label, fill="#ffffff", font=font)


def _heat(frame: Image.Image, work: npt.NDArray[np.float64]) -> Image.Image:
    """The frame in gray under the colours of the work done."""
    brightest = np.percentile(work, 99.5) or 1.0
    level = np.clip(work / brightest, 0, 1)
    small = Image.fromarray(np.rint(level * 255).astype(np.uint8))
    large = small.resize(frame.size, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(2))
    smooth = np.asarray(large, dtype=np.float64) / 255
    position = smooth * (len(HEAT) - 1)
    colours = np.stack(
        [np.interp(position, np.arange(len(HEAT)), HEAT[:, c]) for c in range(3)], axis=2
    )
    gray = np.asarray(frame.convert("L"), dtype=np.float64)[..., None]
    shade = 0.45 + 0.55 * gray / 255  # enough of the frame to see what moved
    return Image.fromarray(np.rint(colours * shade).astype(np.uint8))


def _chart(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], reuse: Sequence[float]
) -> None:
    left, top, right, bottom = box
    left += 56
    font = _font(16)
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - top)
        pen.line((left, y, right, y), fill=RULE, width=1)
        pen.text((left - 12, y), f"{share:.0%}", fill=FAINT, font=font, anchor="rm")
    step = (right - left) / max(len(reuse) - 1, 1)
    points = [(left + i * step, bottom - r * (bottom - top)) for i, r in enumerate(reuse)]
    if len(points) > 1:
        pen.polygon([(left, bottom), *points, (right, bottom)], fill=FILL)
        pen.line(points, fill=ACCENT, width=3, joint="curve")
    for index in range(0, len(reuse), max(len(reuse) // 8, 1)):
        x = left + index * step
        pen.text((x, bottom + 8), str(index), fill=FAINT, font=font, anchor="ma")
    mean = float(np.mean(reuse[1:] or reuse))
    _caption(
        pen,
        (box[0], bottom + 34),
        "Computation reuse per frame",
        f"multiplications that were not done again; {mean:.0%} on average after the first frame",
    )


def _caption(pen: ImageDraw.ImageDraw, at: tuple[float, float], title: str, detail: str) -> None:
    font = _font(20)
    pen.text(at, title, fill=INK, font=font)
    width = pen.textlength(title, font=font)
    pen.text((at[0] + width + 14, at[1] + 3), detail, fill=FAINT, font=_font(16))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
