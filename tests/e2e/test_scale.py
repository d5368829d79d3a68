"""`mquans serve` over a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from ..spots import pictures, write_model, write_plan
from .conftest import Run, one_sentence, only_json
from .ray_nodes import ray_nodes
from .serving import Server, spots_config


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    model = write_model(tmp_path / "spots.onnx")
    plan = write_plan(model, tmp_path / "spots.plan.json")
    (tmp_path / "clip").mkdir()
    for number, picture in enumerate(pictures(40)):
        Image.fromarray(picture).save(tmp_path / "clip" / f"{number:02}.png")
    config = spots_config(tmp_path, model, plan)
    clip = {"source": str(tmp_path / "clip"), "loop": True, "fps": 5}
    config["cameras"] = {"a": clip, "b": clip}
    return config


def test_a_wrong_address_is_told_with_a_way_out(mquans: Run, tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text("models: {m: {onnx: a.onnx, plan: a.json}}\n")
    said = one_sentence(mquans("serve", "cameras.yaml", "--address", "nowhere"))
    assert "--address nowhere: is no address of a cluster. Write HOST:PORT" in said


def test_cameras_run_on_the_nodes_of_a_ray_cluster(
    tmp_path: Path, config: dict[str, object]
) -> None:
    """They are read and computed there; a node that is lost gives them up to the other. A busy
    machine may lose a lease meanwhile, so nothing is asked of the camera that stays."""
    pytest.importorskip("ray", reason="the package ray is not installed")
    with ray_nodes() as nodes:
        first = nodes.add(cpus=1)
        nodes.add(cpus=1)
        server = Server(tmp_path, config, "--address", nodes.address)
        try:
            server.until_ready()
            server.until(lambda: {camera["worker"] for camera in live(server)} == {0, 1})
            picture = "/api/cameras/a/snapshot.jpg"
            server.until(lambda: server.request(picture)[1].startswith(b"\xff\xd8"))

            before = {name: server.camera(name) for name in "ab"}
            nodes.lose(first)
            server.until(lambda: len({camera["worker"] for camera in live(server)}) == 1)
            server.until_frames("a", 3)
            server.until_frames("b", 3)
            after = {name: server.camera(name) for name in "ab"}
            moved = [name for name in "ab" if after[name]["worker"] != before[name]["worker"]]
            assert moved
            assert all(after[name]["epoch"] > before[name]["epoch"] for name in moved)
            assert server.stop() == 0
        finally:
            server.process.kill()
            server.process.wait()


def live(server: Server) -> list[Any]:
    """Cameras, of which frames come from all."""
    cameras: list[Any] = server.json("/api/cameras")["cameras"]
    assert all(camera["state"] == "live" for camera in cameras)
    return cameras


def test_a_plan_says_how_many_cameras_fit(
    mquans: Run, tmp_path: Path, config: dict[str, object]
) -> None:
    """From the file that is served later."""
    (tmp_path / "cameras.yaml").write_text(yaml.safe_dump(config))
    options = ("scale", "plan", "cameras.yaml", "--cores", "2", "--seconds", "2")
    assert "cameras like these on 2 cores" in mquans(*options).stdout
    found = only_json(mquans(*options, "--json"))
    assert found["cameras"] == 2
    assert found["fit"] > 0
    assert set(found["measured"]) == {"a", "b"}
    (tmp_path / "cameras.yaml").write_text("models: {m: {onnx: a.onnx, plan: a.json}}\n")
    assert "there are no cameras to plan for." in one_sentence(mquans(*options))
