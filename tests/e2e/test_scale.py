"""`mquans serve` over a cluster."""

from __future__ import annotations

from pathlib import Path

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
    """They are read and computed there; a node that is lost gives them up to the other."""
    pytest.importorskip("ray", reason="the package ray is not installed")
    with ray_nodes() as nodes:
        first = nodes.add(cpus=1)
        nodes.add(cpus=1)
        server = Server(tmp_path, config, "--address", nodes.address)
        try:
            server.until_ready()
            server.until_live("a", "b")
            before = {name: server.camera(name) for name in "ab"}
            assert {camera["worker"] for camera in before.values()} == {0, 1}
            status, page = server.request("/api/cameras/a/snapshot.jpg")
            assert status == 200
            assert page.startswith(b"\xff\xd8")

            nodes.lose(first)
            server.until(lambda: server.camera("a")["worker"] == server.camera("b")["worker"])
            server.until_live("a", "b")
            server.until_frames("a", 3)
            server.until_frames("b", 3)
            after = {name: server.camera(name) for name in "ab"}
            higher = [after[name]["epoch"] > before[name]["epoch"] for name in "ab"]
            assert sorted(higher) == [False, True]
            assert server.stop() == 0
        finally:
            server.process.kill()
            server.process.wait()


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
