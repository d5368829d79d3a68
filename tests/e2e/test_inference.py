"""The Open Inference Protocol, spoken by Triton's own client."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans

from ..spots import pictures, write_model, write_plan
from .serving import Server, spots_config

triton = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")

Tensor = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inference")
    write_plan(write_model(folder / "spots.onnx"), folder / "spots.plan.json")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    config = spots_config(folder, folder / "spots.onnx", folder / "spots.plan.json")
    config["server"]["sequences"] = 2
    server = Server(folder, config)
    server.until_ready()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def frames() -> list[Tensor]:
    return [
        np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        for picture in pictures(6)
    ]


def asked(frame: npt.NDArray[Any], *, binary: bool = True) -> Any:
    kind = "UINT8" if frame.dtype == np.uint8 else "FP32"
    tensor = triton.InferInput("x", frame.shape, kind)
    tensor.set_data_from_numpy(frame, binary_data=binary)
    return [tensor]


def infer(client: Any, frame: npt.NDArray[Any], **more: Any) -> dict[str, Tensor]:
    found = client.infer("spots", asked(frame), **more)
    return {name: found.as_numpy(name) for name in ("heat", "size", "offset")}


def test_the_server_and_its_model_are_described(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("spots")
    assert "sequence" in client.get_server_metadata()["extensions"]
    described = client.get_model_metadata("spots")
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 3, 64, 96]}]
    assert client.get_model_config("spots")["max_batch_size"] == 0


@pytest.mark.parametrize("identity", [11, "door"])
def test_a_sequence_is_a_stream(
    client: Any, folder: Path, frames: list[Tensor], identity: int | str
) -> None:
    """Bit by bit what a stream gives that sees the same frames."""
    session = mquans.Session(folder / "spots.onnx", folder / "spots.plan.json")
    with session.stream() as stream:
        for number, frame in enumerate(frames):
            more = {
                "sequence_id": identity,
                "sequence_start": number == 0,
                "sequence_end": number == len(frames) - 1,
            }
            found, wanted = infer(client, frame, **more), stream.step(frame)
            for name, value in wanted.items():
                np.testing.assert_array_equal(found[name], value)
    with pytest.raises(triton.InferenceServerException) as caught:
        infer(client, frames[0], sequence_id=identity)
    assert caught.value.status() == "404"


def test_frames_on_their_own_are_computed_whole(
    client: Any, folder: Path, frames: list[Tensor]
) -> None:
    session = mquans.Session(folder / "spots.onnx", folder / "spots.plan.json")
    for frame in frames[:2]:
        wanted = session.stream().step(frame)
        for more in ({}, {"request_compression_algorithm": "gzip"},
                     {"response_compression_algorithm": "gzip"}):  # fmt: skip
            np.testing.assert_array_equal(infer(client, frame, **more)["heat"], wanted["heat"])
        pixels = infer(client, frame.astype(np.uint8))
        np.testing.assert_array_equal(pixels["heat"], wanted["heat"])
        found = client.infer(
            "spots",
            asked(frame, binary=False),
            outputs=[triton.InferRequestedOutput("heat", binary_data=False)],
            request_id="one",
        )
        np.testing.assert_array_equal(found.as_numpy("heat"), wanted["heat"])
        assert found.get_response()["id"] == "one"


def status(client: Any, frame: npt.NDArray[Any], model: str = "spots", **more: Any) -> str:
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer(model, asked(frame), **more)
    found: str = caught.value.status()
    return found


def test_what_cannot_be_done_has_its_status(client: Any, frames: list[Tensor]) -> None:
    frame = frames[0]
    assert status(client, frame, sequence_id=1) == "404"
    infer(client, frame, sequence_id=1, sequence_start=True)
    assert status(client, frame, sequence_id=1, sequence_start=True) == "409"
    infer(client, frame, sequence_id=2, sequence_start=True)
    assert status(client, frame, sequence_id=3, sequence_start=True) == "503"
    assert status(client, frame, "none") == "404"
    assert status(client, np.zeros((1, 3, 5, 5), np.float32)) == "400"
    assert status(client, frame * np.nan) == "400"
    for sequence in (1, 2):
        infer(client, frame, sequence_id=sequence, sequence_end=True)
    infer(client, frame, sequence_id=3, sequence_start=True, sequence_end=True)
    unknown = [triton.InferRequestedOutput("none")]
    begun = {"sequence_id": 4, "sequence_start": True, "outputs": unknown}
    assert status(client, frame, **begun) == "400"
    assert status(client, frame, sequence_id=4) == "404"  # it was refused before it began


def test_bodies_that_are_none_are_refused(server: Server) -> None:
    status, said = server.request("/v2/models/spots/infer", ["no request"])
    assert status == 400
    assert json.loads(said)["error"]


def test_sequences_end_with_their_worker(server: Server, client: Any, frames: list[Tensor]) -> None:
    infer(client, frames[0], sequence_id=5, sequence_start=True)
    os.kill(server.worker(), signal.SIGKILL)
    server.until_ready()

    def gone() -> bool:
        return status(client, frames[1], sequence_id=5) == "404"

    server.until(gone)
    server.until_ready()
    infer(client, frames[0], sequence_id=5, sequence_start=True, sequence_end=True)
