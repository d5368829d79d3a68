"""Addresses of the Open Inference Protocol. A sequence of Triton is a stream: its frames share what
does not change. Frames on their own are computed whole."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mquans.errors import MquansError
from mquans.serve.access import read_body
from mquans.serve.measuring import Measured, TensorSpec
from mquans.serve.supervisor import Supervisor
from mquans.serve.tensors import (
    HEADER_LENGTH,
    NAMES,
    Parsed,
    ProtocolError,
    answer,
    packed,
    parse,
    require_outputs,
    unpacked,
)
from mquans.serve.wire import Forget, Infer, Inferred, Tensor

LARGEST_REQUEST_BYTES = 64 << 20
ANSWERED_WITHIN_S = 30.0
IDLE_S = 60.0
"""A sequence that nobody goes on with for so long is forgotten."""

SWEEP_S = 5.0


@dataclass(slots=True)
class _Sequence:
    """A stream of a client's: the worker that has it, that worker's process, and when it was used
    last."""

    worker: int
    pid: int
    used_s: float
    asked: int = 0


class Inference:
    """The protocol's addresses, and the sequences that are open."""

    def __init__(self, supervisor: Supervisor, *, idle_s: float = IDLE_S) -> None:
        self._supervisor, self._idle_s = supervisor, idle_s
        self._sequences: dict[str, _Sequence] = {}
        self._next_worker = 0

    def routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            Route("/v2", self._server),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                Route(model, self._model),
                Route(f"{model}/ready", self._model_ready),
                Route(f"{model}/config", self._config),
                Route(f"{model}/infer", self._infer, methods=["POST"]),
            ]
        return routes

    async def sweep(self) -> None:
        """Forgets sequences that are idle, for ever."""
        while True:
            await asyncio.sleep(min(SWEEP_S, self._idle_s))
            self.forget_idle(time.monotonic())

    def forget_idle(self, now_s: float) -> None:
        """Of a worker that was replaced, sequences are gone as well."""
        for name, sequence in list(self._sequences.items()):
            idle = not sequence.asked and now_s - sequence.used_s > self._idle_s
            if idle or self._supervisor.crew.pid(sequence.worker) != sequence.pid:
                del self._sequences[name]
                self._supervisor.crew.order(sequence.worker, Forget(name))

    async def _server(self, _: Request) -> Response:
        extensions = ["sequence", "binary_tensor_data"]
        return _json({"name": "mquans", "version": version("mquans"), "extensions": extensions})

    async def _live(self, _: Request) -> Response:
        return Response(status_code=200)

    async def _ready(self, _: Request) -> Response:
        return Response(status_code=200 if self._supervisor.ready() else 503)

    async def _model(self, request: Request) -> Response:
        name, model = self._named(request)
        return _json(
            {
                "name": name,
                "versions": ["1"],
                "platform": "mquans",
                "inputs": [_described(one) for one in model.inputs],
                "outputs": [_described(one) for one in model.outputs],
            }
        )

    async def _model_ready(self, request: Request) -> Response:
        self._named(request)
        return await self._ready(request)

    async def _config(self, request: Request) -> Response:
        name, model = self._named(request)
        described = {
            kind: [
                {
                    "name": one.name,
                    "data_type": f"TYPE_{NAMES.get(one.dtype, one.dtype)}",
                    "dims": one.shape,
                }
                for one in tensors
            ]
            for kind, tensors in (("input", model.inputs), ("output", model.outputs))
        }
        idle = {"max_sequence_idle_microseconds": round(self._idle_s * 1e6)}
        whole = {"name": name, "platform": "mquans", "max_batch_size": 0, **described}
        return _json(whole | {"sequence_batching": idle})

    async def _infer(self, request: Request) -> Response:
        name, model = self._named(request)
        body = await read_body(request, LARGEST_REQUEST_BYTES)
        try:
            encoding = request.headers.get("content-encoding", "")
            body = unpacked(body, encoding, LARGEST_REQUEST_BYTES)
            parsed = parse(body, request.headers.get(HEADER_LENGTH))
            require_outputs(parsed, [one.name for one in model.outputs])
            found = await self._run(name, model, parsed)
            outputs = {key: tensor.array() for key, tensor in found.outputs.items()}
            data, header_length = answer(parsed, name, outputs)
        except ProtocolError as error:
            raise HTTPException(400, str(error)) from None
        data, encoding = packed(data, request.headers.get("accept-encoding", ""))
        headers = {"Content-Encoding": encoding} if encoding else {}
        if header_length is None:
            return Response(data, media_type="application/json", headers=headers)
        headers[HEADER_LENGTH] = str(header_length)
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def _run(self, name: str, model: Measured, parsed: Parsed) -> Inferred:
        """Has a worker compute a frame.

        Raises:
            HTTPException: 404 for a sequence that is not open, 409 for one that is, 503 where there
                is no place for another, and what the worker says.
        """
        key = f"{name} {parsed.sequence}" if parsed.sequence else ""
        sequence = self._entered(key, parsed) if key else None
        worker = self._turn() if sequence is None else sequence.worker

        def order(number: int) -> Infer:
            inputs = {name: Tensor.of(array) for name, array in parsed.inputs.items()}
            return Infer(number, model.job, key, parsed.start, parsed.end, inputs)

        try:
            found = await self._supervisor.crew.ask(worker, order, ANSWERED_WITHIN_S)
        except MquansError as error:
            self._sequences.pop(key, None)
            raise HTTPException(503, str(error)) from None
        finally:
            if sequence is not None:
                sequence.asked -= 1
                sequence.used_s = time.monotonic()
        if parsed.end or (parsed.start and found.status != 200):
            self._sequences.pop(key, None)
        if found.status != 200:
            raise HTTPException(found.status, found.problem)
        return found

    def _entered(self, key: str, parsed: Parsed) -> _Sequence:
        self.forget_idle(time.monotonic())
        known = self._sequences.get(key)
        if parsed.start:
            if known is not None:
                raise HTTPException(409, "the sequence has begun already.")
            most = self._supervisor.config.server.sequences
            if len(self._sequences) >= most:
                raise HTTPException(503, f"{most} sequences are open already.")
            worker = self._turn()
            known = _Sequence(worker, self._supervisor.crew.pid(worker), time.monotonic())
            self._sequences[key] = known
        elif known is None:
            raise HTTPException(404, "there is no such sequence: it has not begun, or was idle.")
        known.asked += 1
        return known

    def _named(self, request: Request) -> tuple[str, Measured]:
        name = request.path_params["model"]
        model = self._supervisor.planned.models.get(name)
        if model is None or request.path_params.get("version", "1") != "1":
            raise HTTPException(404, "there is no such model.")
        return name, model

    def _turn(self) -> int:
        """Workers take turns."""
        takers = self._supervisor.crew.takers
        if not takers:
            raise HTTPException(503, "there is no worker.")
        self._next_worker = (self._next_worker + 1) % len(takers)
        return takers[self._next_worker]


def _described(tensor: TensorSpec) -> dict[str, Any]:
    datatype = NAMES.get(tensor.dtype, tensor.dtype)
    return {"name": tensor.name, "datatype": datatype, "shape": tensor.shape}


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
