"""A model read once before it is run, to know that it can be and what it needs; in a process of its
own, so that the supervisor stays small."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from mquans.errors import MquansError
from mquans.serve.config import ModelOptions
from mquans.serve.wire import EngineName, ModelJob

if TYPE_CHECKING:
    from mquans.runtime.session import Session


class TensorSpec(msgspec.Struct, frozen=True):
    """An input or output: name, type as numpy calls it, sizes (-1 where they may vary)."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Measured(msgspec.Struct, frozen=True, tag=True):
    """A model that was read, in numbers.

    Attributes:
        preparation: of its input, as JSON.
        macs: of a dense frame.
        weights_bytes: shared by the cameras of a worker.
        stream_bytes: of each camera.
    """

    job: ModelJob
    preparation: bytes
    macs: int
    weights_bytes: int
    stream_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Why a model cannot be used."""

    problem: str


class Request(msgspec.Struct, frozen=True):
    """What is to be measured."""

    model: ModelOptions
    engine: EngineName


encode_request = msgspec.msgpack.Encoder().encode
decode_answer = msgspec.msgpack.Decoder(Measured | Failure).decode


def measure(model: ModelOptions, engine: EngineName) -> Measured:
    """Reads a model under its plan as a worker would, and measures it.

    Raises:
        MquansError: it cannot be used.
    """
    # Loaded by need: the supervisor, which imports this module, does without.
    from mquans.onnx import read_model
    from mquans.plan import plan_fingerprint, read_plan
    from mquans.runtime.session import Session
    from mquans.serve.engines import Network

    plan, file = read_plan(model.plan), read_model(model.onnx)
    key = (file.sha256, plan_fingerprint(plan), f"{engine} {model.decode} {model.threshold}")
    job = ModelJob(key, model.onnx, model.plan, model.decode, model.threshold, engine)
    network = Network(job)
    # The dense engine is told of by what our engine knows of the same network.
    session = network.session or Session(file, plan)
    network.try_decoder(session.graph)
    with session.stream() as stream:
        return Measured(
            job,
            msgspec.json.encode(plan.preparation),
            sum(session.graph.macs(node) for node in session.graph.nodes),
            session.weights_bytes,
            stream.state_bytes,
            tuple(_spec(session, name) for name in session.frame_inputs),
            tuple(_spec(session, name) for name in session.graph.listed_outputs()),
        )


def _spec(session: Session, name: str) -> TensorSpec:
    return TensorSpec(name, session.graph.dtype(name), tuple(session.graph.shape(name)))


def main() -> None:
    """Reads a request from the standard input, and writes the answer to the standard output."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    try:
        answer: Measured | Failure = measure(request.model, request.engine)
    except MquansError as error:
        answer = Failure(str(error))
    sys.stdout.buffer.write(encode_request(answer))


if __name__ == "__main__":
    main()
