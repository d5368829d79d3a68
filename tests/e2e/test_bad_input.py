"""Whatever is wrong with the input: one clear sentence, exit code 1, nothing half-written."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from .conftest import Run, one_sentence, only_json

VERBS = ("run", "compare", "verify")


def test_wrong_flag(mquans: Run, small_model: Path) -> None:
    done = mquans("inspect", small_model, "--fast")
    assert done.returncode == 1
    assert "--fast" in one_sentence(done)


def test_missing_model(mquans: Run) -> None:
    done = mquans("inspect", "none.onnx")
    assert done.returncode == 1
    assert "none.onnx" in one_sentence(done)


def test_truncated_model(mquans: Run, small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(small_model.read_bytes()[:-700])
    done = mquans("inspect", "cut.onnx")
    assert done.returncode == 1
    one_sentence(done)


def test_model_that_is_a_picture(mquans: Run, tmp_path: Path) -> None:
    (tmp_path / "cat.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" * 99)
    done = mquans("inspect", "cat.onnx")
    assert done.returncode == 1
    assert "not an ONNX model" in one_sentence(done)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--guard", 10), "--max-loss"),
        (("--max-loss", 0.1), "--guard"),
        (("--metric", "rmse"), "--guard"),
        (("--guard", 10, "--max-loss", 0), "greater than 0"),
        (("--guard", 10, "--max-loss", 0.1, "--metric", "none_such:f"), "none_such"),
        (("--guard", 10, "--max-loss", 0.1, "--metric", "rsme"), "rmse"),
    ],
)
def test_half_a_guard(
    mquans: Run, small_model: Path, plan: Path, clip: Path, flags: tuple[object, ...], said: str
) -> None:
    done = mquans("run", small_model, "--plan", plan, "--source", clip, *flags)
    assert done.returncode == 1
    assert said in one_sentence(done)


def test_missing_source(mquans: Run, small_model: Path, plan: Path) -> None:
    done = mquans("run", small_model, "--plan", plan, "--source", "none.mp4")
    assert done.returncode == 1
    assert "A source is" in one_sentence(done)


def test_source_that_is_no_video(mquans: Run, small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video" * 100)
    done = mquans("calibrate", small_model, "--source", "clip.mp4", "-o", "p")
    assert done.returncode == 1
    assert "clip.mp4" in one_sentence(done)


def test_truncated_video_gives_what_it_holds(
    mquans: Run, small_model: Path, tmp_path: Path
) -> None:
    """With a warning that it broke off."""
    av = pytest.importorskip("av")
    whole = tmp_path / "whole.mkv"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(30):
            pixels = np.random.default_rng(index).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    done = mquans("calibrate", small_model, "--source", "cut.mkv", "-o", "plan.json", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr
    ran = mquans("run", small_model, "--plan", "plan.json", "--source", "cut.mkv", "--json")
    assert 4 < only_json(ran)["frames"] < 30


def test_model_changed_under_its_plan(
    mquans: Run, small_model: Path, plan: Path, clip: Path, tmp_path: Path
) -> None:
    model = onnx.load(small_model)
    model.doc_string = "changed"
    onnx.save(model, tmp_path / "changed.onnx")
    done = mquans("run", "changed.onnx", "--plan", plan, "--source", clip)
    assert done.returncode == 1
    assert "another model" in one_sentence(done)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"version": 99}, "newer mquans"),
        ({"shell": "rm -rf ~"}, "shell"),
        ({"tensors": []}, "lacks layers"),
        ({"grid_bits": 64}, "grid_bits"),
        ({"input_shapes": {"x": [1, 3, 2**40, 2**40]}}, "elements"),
    ],
)
def test_hostile_plan(
    mquans: Run,
    small_model: Path,
    plan: Path,
    clip: Path,
    tmp_path: Path,
    edit: dict[str, object],
    said: str,
) -> None:
    """Edited by hand, by a newer version or by an enemy."""
    (tmp_path / "plan.json").write_text(json.dumps(json.loads(plan.read_text()) | edit))
    done = mquans("run", small_model, "--plan", "plan.json", "--source", clip)
    assert done.returncode == 1
    assert said in one_sentence(done)


def test_frame_with_nan_is_refused_and_the_run_goes_on(
    mquans: Run, small_model: Path, plan: Path, clip: Path, tmp_path: Path
) -> None:
    frames = np.load(clip)
    frames[5, 0, 3, 3] = np.nan
    np.save(tmp_path / "bad.npy", frames)
    args = ("run", small_model, "--plan", plan, "--source", "bad.npy")
    found = only_json(mquans(*args, "--json"))
    assert (found["frames"], found["refused"]) == (19, [5])
    assert "frame 5: refused" in mquans(*args).stdout


def test_pictures_that_cannot_be_read_end_every_command_unless_told_otherwise(
    mquans: Run, small_model: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), np.uint8)
    (tmp_path / "day").mkdir()
    for number, picture in enumerate(noise):
        Image.fromarray(picture).save(tmp_path / "day" / f"{number}.png")
    (tmp_path / "day" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    calibrating = ("calibrate", small_model, "--source", "day", "--preset", "unit", "-o", "p.json")
    verbs = [(verb, small_model, "--plan", "p.json", "--source", "day") for verb in VERBS]
    for command in (calibrating, *verbs):
        done = mquans(*command, "--on-error", "skip", "--json")
        assert done.returncode == 0
        assert "1 of 8 files could not be read and were left out" in done.stderr
        done = mquans(*command, "--json")
        assert done.returncode == 1
        assert "7.png: is a damaged picture." in one_sentence(done)
    assert only_json(mquans(*verbs[0], "--on-error", "skip", "--json"))["skipped"] == 1


def test_frames_of_another_shape(
    mquans: Run, small_model: Path, plan: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "small.npy", np.zeros((5, 3, 8, 8), np.float32))
    done = mquans("run", small_model, "--plan", plan, "--source", "small.npy", "-q")
    assert done.returncode == 1
    assert "[1, 3, 16, 16]" in one_sentence(done)


def test_pictures_without_preparation(
    mquans: Run, small_model: Path, plan: Path, tmp_path: Path
) -> None:
    """The plan was made from ready tensors."""
    np.save(tmp_path / "pictures.npy", np.zeros((5, 16, 16, 3), np.uint8))
    done = mquans("run", small_model, "--plan", plan, "--source", "pictures.npy", "-q")
    assert done.returncode == 1
    one_sentence(done)


@pytest.mark.parametrize("limit", [0, 20_000])
def test_full_disk(
    mquans: Run, small_model: Path, plan: Path, clip: Path, tmp_path: Path, limit: int
) -> None:
    """A limit on the size of files stops writing just as a full disk does."""

    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = mquans(
        "run", small_model, "--plan", plan, "--source", clip, "-q", "--output", "out.npz",
        preexec_fn=shrink,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written" in one_sentence(done)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_full_disk_while_saving_the_plan(
    mquans: Run, small_model: Path, clip: Path, tmp_path: Path
) -> None:
    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = mquans("calibrate", small_model, "--source", clip, "-o", "plan.json", preexec_fn=shrink)
    assert done.returncode == 1
    assert "cannot be written" in one_sentence(done)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_said_before_the_work(mquans: Run, small_model: Path) -> None:
    """The source, which is missing too, would be looked at first thing in the work."""
    done = mquans("calibrate", small_model, "--source", "none.npy", "-o", "none/plan.json")
    assert done.returncode == 1
    assert "none/plan.json: cannot be written" in one_sentence(done)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("~nobody9/clip.npy", "no such file"),
        ("http://[::1", "is no address"),
        ("rtsp://[::1", "is no address"),
        ("words.npy", "not numbers"),
    ],
)
def test_sources_that_are_none(
    mquans: Run, small_model: Path, plan: Path, tmp_path: Path, source: str, said: str
) -> None:
    np.save(tmp_path / "words.npy", np.array(["a", "b", "c"]))
    done = mquans("run", small_model, "--plan", plan, "--source", source)
    assert done.returncode == 1
    assert said in one_sentence(done)


def test_more_threads_than_any_machine_has(mquans: Run, small_model: Path, plan: Path) -> None:
    for verb in VERBS:
        done = mquans(verb, small_model, "--plan", plan, "--source", "x", "--threads", 10**14)
        assert done.returncode == 1
        assert "--threads" in one_sentence(done)
