"""If these break, a mistake in the file of cameras is met at night instead of at the start, or a
password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mquans.serve.config import ConfigError, is_loopback, redacted
from mquans.serve.config_file import parse_config, read_config

WHOLE = """\
server: {bind: "127.0.0.1:8600", token: "${TOKEN}", state_dir: state, workers: auto, drain_s: 10}
models:
  face: {onnx: face.onnx, plan: face.plan.json, decode: centerface, labels: [face]}
defaults: {model: face, fps: 5, stall_s: 5, retry_s: [1, 30]}
cameras:
  door: "rtsp://${USER1}:${PASS1}@10.0.0.4/sub"
  yard:
    source: "rtsp://10.0.0.5/sub"
    fps: 10
    zones: {gate: [[0, 0], [0.5, 0], [0.5, 1]]}
    lines: {kerb: [[0, 0.5], [1, 0.5]]}
  webcam: 0
mqtt: {host: 127.0.0.1, prefix: mquans, discovery: homeassistant}
"""
ENVIRONMENT = {"TOKEN": "a-long-token", "USER1": "me", "PASS1": "s3cret"}


def test_the_whole_file_is_read() -> None:
    config = parse_config(WHOLE, ENVIRONMENT)
    assert config.server.token == "a-long-token"
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8600)
    assert config.cameras["door"].source == "rtsp://me:s3cret@10.0.0.4/sub"
    assert config.cameras["door"].fps == 5
    assert config.cameras["yard"].fps == 10
    assert config.cameras["yard"].model == "face"
    assert config.cameras["webcam"].source == "0"
    assert config.mqtt is not None


def test_values_of_the_environment_are_secrets() -> None:
    """Also where they are no part of a user's name and password, as in a path."""
    config = parse_config(WHOLE, ENVIRONMENT)
    assert config.redact("http://h/login/s3cret/a-long-token") == "http://h/login/***/***"


def test_numbers_may_come_from_the_environment() -> None:
    text = WHOLE.replace("fps: 10", 'fps: "${FPS}"')
    assert parse_config(text, ENVIRONMENT | {"FPS": "2.5"}).cameras["yard"].fps == 2.5


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("fps: 10", "fsp: 10"), 9, "there is no such key"),
        (("decode: centerface", "decod: x"), 3, "there is no such key"),
        (("decode: centerface", "decode: x"), 3, "centerface, fastestdet"),
        (("fps: 10", "fps: fast"), 9, "fps"),
        (("fps: 10", "fps: -1"), 9, "fps"),
        (("retry_s: [1, 30]", "retry_s: [1, soon]"), 4, "retry_s"),
        (("retry_s: [1, 30]", "retry_s: [40, 30]"), 6, "longer than the longest"),
        (("${PASS1}", "${PASS2}"), 6, "the environment has no PASS2"),
        (("fps: 10", "model: cat"), 9, "Models are: face"),
        (("  webcam: 0", "  door: 0"), 12, "given twice"),
        (("  webcam: 0", "  web cam: 0"), 12, "letters, digits"),
        (("  webcam: 0", "  webcam: [0]"), 12, "is no camera"),
        (("[0.5, 1]]}", "[0.5, 2]]}"), 10, "zones"),
        (("gate: [[0, 0],", "gate: [[0, 0]"), 10, "is not YAML"),
        (("bind: \"127.0.0.1:8600\"", "bind: here"), 1, "an address and a port"),
        (("mqtt: {host", "mqtt: {hots"), 13, "there is no such key"),
        (("  webcam: 0", "  yes: 0"), 12, "Put it in quotes"),
        (("  webcam: 0", "  0x10: 0"), 12, "Put it in quotes"),
        (("  webcam: 0", "  1.5: 0"), 12, "Put it in quotes"),
        (("server: {", "server: {scale: 1, "), 1, "there is no such key"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(change: tuple[str, str], line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(WHOLE.replace(*change), ENVIRONMENT, where="c.yaml")
    assert str(caught.value).startswith(f"c.yaml, line {line}"), caught.value
    assert words in str(caught.value)


def test_what_others_can_reach_needs_a_token() -> None:
    text = WHOLE.replace("127.0.0.1:8600", "0.0.0.0:8600")
    assert parse_config(text, ENVIRONMENT).server.host == "0.0.0.0"
    with pytest.raises(ConfigError, match="there is no token"):
        parse_config(text.replace('token: "${TOKEN}", ', ""), ENVIRONMENT)


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="fewer than 8 characters"):
        parse_config(WHOLE, ENVIRONMENT | {"TOKEN": "1234567"})
    with pytest.raises(ConfigError, match="there is no token"):
        parse_config(WHOLE.replace("127.0.0.1:8600", "10.0.0.1:1"), ENVIRONMENT | {"TOKEN": ""})


def test_a_token_that_is_meant_is_not_left_out() -> None:
    """An empty variable would open the page to every program of the machine."""
    with pytest.raises(ConfigError, match="TOKEN is empty in the environment"):
        parse_config(WHOLE, ENVIRONMENT | {"TOKEN": ""})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_paths_are_those_of_the_file(tmp_path: Path) -> None:
    """A service is started from anywhere."""
    file = tmp_path / "cameras.yaml"
    file.write_text(WHOLE.replace("webcam: 0", "clip: street.mp4"))
    config = read_config(file, ENVIRONMENT)
    assert config.models["face"].onnx == str(tmp_path / "face.onnx")
    assert config.cameras["clip"].source == str(tmp_path / "street.mp4")
    assert config.cameras["yard"].source == "rtsp://10.0.0.5/sub"
    assert config.server.state_dir == str(tmp_path / "state")


@pytest.mark.parametrize(
    "data",
    [b"", b"- 1\n", b"\xff\xfe", b"text", b"a: \0", b"[" * 5000, b"a: " + b"9" * 5000,
     b"defaults: &d {model: *d}"],
    ids=range(8),
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError):
        read_config(file)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://me:word@10.0.0.4/sub", "rtsp://***@10.0.0.4/sub"),
        ("rtsp://me:w@rd@10.0.0.4/sub", "rtsp://***@10.0.0.4/sub"),
        ("http://h/v?user=me&password=word", "http://h/v?user=***&password=***"),
        ("http://h/v?password=a:b:c", "http://h/v?password=***"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    assert redacted(f"{url}: gone") == f"{shown}: gone"


def test_another_address_needs_a_token_too() -> None:
    config = parse_config("models: {a: {onnx: a, plan: b}}", {})
    assert config.bound(None) is config
    assert config.bound("127.0.0.1:1").server.port == 1
    for bind in ("0.0.0.0:1", "here", "127.0.0.1:99999"):
        with pytest.raises(ConfigError, match="--bind"):
            config.bound(bind)
