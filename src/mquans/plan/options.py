"""How a model file is run as the network of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What has to be said about a model file before it can be run frame by frame.

    Whoever reads a model takes these, so that calibration, our engine and the dense engines all
    run the same network; a plan keeps them (`Plan.options`).

    Attributes:
        input_shapes: fixed shape per input, for dynamic dimensions or to override declared ones.
        constants: value of every input that is the same in all frames, such as a sample rate; it
            is then no input of the network.
        feedback: state inputs by the output that feeds them in the next frame.
        carry_state: recurrent layers without state inputs go on where the last frame ended; their
            states become inputs and outputs.
        floats: convolutions over time and linear layers that are computed in floats, by node name.
    """

    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    feedback: Mapping[str, str] = field(default_factory=dict)
    carry_state: bool = False
    floats: Sequence[str] = ()
