"""torch modules with random weights as ONNX files.

Weights come from a fixed seed. What a library initialises to nothing, such as the last layer of a
classifier or the scale of a residual branch, is drawn too, and batch normalization takes its
statistics from real pictures: values then have the sizes that they have in trained networks.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from network_frames import batch_of_pictures

from mquans.files import atomic_write
from mquans.onnx.torch_module import export

SEED = 0
BATCH = 24
"""Pictures that statistics are taken from, of several clips: those of one clip hardly differ behind
a global pool, and a normalization that has seen nothing else makes as much of every rounding."""

FAINT, BRANCH = 1e-4, 0.25
"""Parameters that are nowhere larger would leave nothing of what they scale; scales of residual
branches become a quarter: with whole ones, random layers make more of every rounding, layer after
layer, than trained ones do."""

Build = Callable[[], Any]
Keep = Callable[[Any], Any]


def same(value: Any) -> Any:
    """What is kept where nothing is left out."""
    return value


def exported(
    name: str, build: Build, shape: tuple[int, ...], cache: Path, kind: str = "float32"
) -> Path:
    """The ONNX file of a module, made once per version of torch.

    Args:
        shape, kind: of the one input.

    Raises:
        ImportError: a package is not installed.
    """
    torch = import_module("torch")
    of = f"torch{torch.__version__}-seed{SEED}-batch{BATCH}"
    file = cache / f"{name.replace(' ', '-')}-{of}.onnx"
    if not file.exists():
        torch.manual_seed(SEED)
        module = awake(build()).eval()
        if len(shape) > 3 and shape[1] == 3:
            calibrate(module, shape)
        cache.mkdir(parents=True, exist_ok=True)
        atomic_write(file, export(module, torch.zeros(shape, dtype=getattr(torch, kind))))
    return file


def awake(module: Any) -> Any:
    """The module with no parameter but biases near 0."""
    torch = import_module("torch")
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.numel() == 0 or name.endswith("bias") or value.abs().max() > FAINT:
                continue
            if value.ndim > 1:
                torch.nn.init.normal_(value, std=value[0].numel() ** -0.5)
            else:
                torch.nn.init.constant_(value, BRANCH)
    return module


def calibrate(module: Any, shape: tuple[int, ...]) -> None:
    """Batch normalization takes the statistics of real pictures, and shifts of one: with shifts of
    0 each random layer makes 1.47 times more of an error than the one before, which trained ones do
    not (Yang et al. 2019, arXiv 1902.08129); with one, most units are where a ReLU is linear."""
    torch = import_module("torch")
    kinds = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    norms = [part for part in module.modules() if isinstance(part, kinds)]
    for part in norms:
        torch.nn.init.ones_(part.bias)
        part.reset_running_stats()
        part.momentum = None
        part.train()
    with torch.no_grad():
        module(torch.from_numpy(batch_of_pictures(shape, BATCH)))
    module.eval()


def torchvision(name: str, family: str = "", keep: Keep = same, **options: Any) -> Build:
    """A builder of one of torchvision's networks.

    Args:
        family: its module, such as `.video`.
        keep: from what the network returns to its output.
    """

    def build() -> Any:
        made = getattr(vision_package(f"torchvision.models{family}"), name)
        return through(lambda module, x: keep(module(x)), made(weights=None, **options))

    return build


def vision_package(name: str) -> Any:
    """Torchvision, or a package that imports it. Its wheels on PyPI are built for CUDA: beside a
    torch for CPUs their operators are missing, and it imports only once these are declared."""
    try:
        import_module("torchvision")
    except RuntimeError:
        library = import_module("torch.library")
        for operator in ("nms", "qnms"):
            library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
    return import_module(name)


def detector_heads(name: str) -> Build:
    """A builder of one of torchvision's detectors up to scores and boxes of its anchors."""

    def run(module: Any, x: Any) -> Any:
        found = module.head(list(module.backbone(x).values()))
        return found["cls_logits"], found["bbox_regression"]

    def build() -> Any:
        made = getattr(vision_package("torchvision.models.detection"), name)
        return through(run, made(weights=None, weights_backbone=None))

    return build


def timm(name: str) -> Build:
    """A builder of one of timm's networks."""
    return lambda: vision_package("timm").create_model(name, exportable=True)


def first(value: Any) -> Any:
    """The first of several outputs."""
    return value[0]


def transformers(kind: str, part: Keep = same, keep: Keep = first, **options: Any) -> Build:
    """A builder of a network of transformers from its configuration.

    Args:
        part: of the network.
        keep: from what the network returns to its outputs.
        options: of the configuration; functions make theirs when the network is built.
    """

    def build() -> Any:
        made = getattr(vision_package("transformers"), kind)
        given = {name: value() if callable(value) else value for name, value in options.items()}
        network = made(made.config_class(**given))
        return through(lambda module, x: keep(module(x)), part(network))

    return build


def configuration(kind: str, **options: Any) -> Build:
    """A configuration of transformers, for a part of another one."""
    return lambda: getattr(vision_package("transformers"), kind)(**options)


def boxes_found(value: Any) -> Any:
    """Scores and boxes of a detector of transformers."""
    return value.logits, value.pred_boxes


def yolo(name: str) -> Build:
    """A builder of one of ultralytics' networks, as it exports them."""

    def build() -> Any:
        vision_package("torchvision")
        kind = import_module("ultralytics.nn.tasks").yaml_model_load(f"{name}.yaml")
        tasks = import_module("ultralytics.nn.tasks")
        made = {"seg": "SegmentationModel", "pose": "PoseModel"}.get(name[-3:].strip("-"))
        network = getattr(tasks, made or "DetectionModel")(kind, verbose=False)
        network.model[-1].export = True
        return network

    return build


def segmentation_models(kind: str, encoder: str) -> Build:
    """A builder of one of segmentation_models_pytorch's networks."""

    def build() -> Any:
        vision_package("torchvision")
        package = import_module("segmentation_models_pytorch")
        return getattr(package, kind)(encoder, encoder_weights=None, classes=8)

    return build


def through(run: Callable[[Any, Any], Any], module: Any) -> Any:
    """A module of one input that runs another one in this way."""
    torch = import_module("torch")

    class Through(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, value: Any) -> Any:
            return run(self.module, value)

    return Through()
