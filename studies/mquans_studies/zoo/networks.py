"""The four networks that computation reuse was evaluated on (Riera et al., ISCA 2018), and a
streaming GRU of the size that delta networks use.

That paper names its networks but its layer tables were not available to us: dimensions are rebuilt
from the public recipes that each docstring names. Counts are multiplications of one evaluation
(taps on padding included) and weights without biases.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

Tensor = Any


class AutoPilot(nn.Module):
    """Steering from one picture: SullyChen/Autopilot-TensorFlow (model.py), a PilotNet variant.

    [N, 3, 66, 200] in [0, 1] -> [N, 1]. 28.2 M MACs, 1.59 M weights. Departure: that code ends in
    `2 atan(.)`; here the last layer is linear, which near 0 differs by a factor only.
    """

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        for inputs, outputs, kernel, stride in (
            (3, 24, 5, 2), (24, 36, 5, 2), (36, 48, 5, 2), (48, 64, 3, 1), (64, 64, 3, 1),
        ):  # fmt: skip
            convolutions += [nn.Conv2d(inputs, outputs, kernel, stride), nn.ReLU()]
        sizes = (1152, 1164, 100, 50, 10)
        self.convolutions = nn.Sequential(*convolutions, nn.Flatten())
        self.dense = nn.Sequential(*_dense(sizes, dropout), nn.Linear(sizes[-1], 1))

    def forward(self, picture: Tensor) -> Tensor:
        return self.dense(self.convolutions(picture))


class AcousticMlp(nn.Module):
    """Scores of phone states from a window of 11 feature frames: a Kaldi-style hybrid acoustic
    model.

    [N, 440] (11 frames of 40 log-mel energies, oldest first) -> [N, states], logits. With the
    default width and 60 states 4.56 M MACs and weights, about those of the recipe behind the
    literature's "Kaldi" (4 hidden layers, egs/librispeech/s5/local/nnet2/run_5a_clean_100.sh, whose
    4.64 M are split otherwise: p-norm layers of 2000 to 400 units and thousands of outputs, a
    number that is recalled and not confirmed). Departures: ReLU for p-norm, no LDA.
    """

    def __init__(self, states: int, *, width: int = 1152, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_dense((440, width, width, width, width), dropout), nn.Linear(width, states)
        )

    def forward(self, window: Tensor) -> Tensor:
        return self.layers(window)


class Eesen(nn.Module):
    """Symbols of a whole utterance: EESEN's bidirectional LSTM for CTC
    (srvk/eesen, asr_egs/tedlium/v1/run_ctc_phn.sh): 5 layers of 320 cells per direction.

    [T, N, 120] -> [T, N, classes], logits, class 0 the blank. 10.96 M weights, as many MACs per
    step and utterance. Departure: the 120 inputs are 3 consecutive frames of 40 log-mel energies at
    a third of the frame rate, not one frame with its first and second differences.
    """

    def __init__(
        self,
        classes: int = 11,
        *,
        inputs: int = 120,
        cells: int = 320,
        layers: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.LSTM(size, cells, bidirectional=True)
            for size in (inputs, *[2 * cells] * (layers - 1))
        )
        for layer in self.layers:
            _initialise(layer, gates=4)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * cells, classes)

    def forward(self, features: Tensor, depth: int | None = None) -> Tensor:
        """Scores from the first `depth` layers, by default all: all have the size of the last."""
        for layer in self.layers[:depth]:
            features = self.dropout(layer(features)[0])
        return self.output(features)


class StreamingGru(nn.Module):
    """Symbols of an endless recording, step by step: 2 layers of 640 units with CTC, the kind of
    network that delta networks are built for (EdgeDRNN, arXiv 1912.12193).

    ([T, N, 120], [2, N, 640]) -> ([T, N, classes] logits with class 0 the blank, [2, N, 640]). A
    step has 3.92 M MACs and weights.
    """

    def __init__(
        self,
        classes: int = 11,
        *,
        inputs: int = 120,
        units: int = 640,
        layers: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.recurrent = nn.GRU(inputs, units, layers, dropout=dropout)
        _initialise(self.recurrent, gates=3)
        self.output = nn.Linear(units, classes)

    def forward(self, features: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        outputs, h = self.recurrent(features, h)
        return self.output(outputs), h

    def start(self, batch: int = 1) -> Tensor:
        """The state before the first step: [layers, batch, units] of zeros."""
        return torch.zeros(self.recurrent.num_layers, batch, self.recurrent.hidden_size)


class C3d(nn.Module):
    """The class of a clip of 16 pictures: C3D (hx173149/C3D-tensorflow, c3d_model.py).

    [N, 3, 16, 112, 112], less the mean picture, -> [N, classes], logits. With `width` 64 and 101
    classes 38.55 G MACs and 78.4 M weights.

    Args:
        width: channels of the first convolution; all other layers scale with it.
    """

    def __init__(self, classes: int, *, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage, multiples in enumerate(((1,), (2,), (4, 4), (8, 8), (8, 8))):
            for multiple in multiples:
                layers += [nn.Conv3d(channels, width * multiple, 3, padding=1), nn.ReLU()]
                channels = width * multiple
            # The first keeps the time axis; the last rounds 7x7 up to 4x4.
            window = (2, 2, 2) if stage else (1, 2, 2)
            layers.append(nn.MaxPool3d(window, window, padding=(0, 1, 1) if stage == 4 else 0))
        sizes = (channels * 16, 64 * width, 64 * width)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), *_dense(sizes, dropout), nn.Linear(sizes[-1], classes)
        )
        for layer in self.layers:
            if isinstance(
                layer, nn.Conv3d | nn.Linear
            ):  # torch's own are too small for so many layers
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, clip: Tensor) -> Tensor:
        return self.layers(clip)


def _dense(sizes: tuple[int, ...], dropout: float) -> list[nn.Module]:
    """Hidden layers with ReLU and dropout."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return layers


def _initialise(recurrent: Any, *, gates: int) -> None:
    """Glorot weights (2010) for inputs, orthogonal ones for states, and LSTMs that remember at
    first (forget bias 1, Jozefowicz et al. 2015).

    With torch's own, five layers let through a thousandth of what goes in, and learn nothing.
    """
    for name, tensor in recurrent.named_parameters():
        parts = tensor.data.chunk(gates)
        if name.startswith("bias"):
            tensor.data.zero_()
            if gates == 4 and name.startswith("bias_ih"):
                parts[1].fill_(1)
        else:
            for part in parts:
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(part)
                else:
                    nn.init.xavier_uniform_(part, nn.init.calculate_gain("tanh"))
