"""Protocol of seed 001: A. E. Orhan's "Out-of-distribution generalization benchmarks for image recognition models".

Frozen, out of eminorhan/ood-benchmarks at 210e27d: the table of its README names the models and their sizes; its
scripts (evaluate_validation, evaluate_imageneta, evaluate_imagenetc, evaluate_imagenetp, evaluate_imagenets,
evaluate_shapebias, evaluate_whitebox) prepare the images. 26 models have a row in the table, the 27th is note 5 of the
README: the weights of `tf_efficientnet_l2_ns_475` on images of 224 pixels.

Particular about it: one model is resized with another interpolation from set to set (bilinear on ImageNet-A, bicubic on
Sketch); EfficientNets see the whole central square on ImageNet-A, and on Sketch a square of 224 that is enlarged. All
models take ImageNet's mean and deviation.

The README calls all of `tf_efficientnet_b0` to `b8` RandAugment trained. The weights that its code loads
(rwightman/gen-efficientnet-pytorch of that time) are so for b5, b7 and b8; the others are AutoAugment's, and those are
named here.
"""

from __future__ import annotations

from shardtools.evaluation.protocols.protocol import Protocol, ProtocolModel, ProtocolStep

_SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600, "b8": 672}
_RAND_AUGMENT = ("b5", "b7", "b8")
_L2 = "timm:tf_efficientnet_l2.ns_jft_in1k"


def _wsl(width: int) -> ProtocolModel:
    return ProtocolModel(network=f"timm:resnext101_32x{width}d.fb_wsl_ig1b_ft_in1k", family="resnext")


def _noisy_student(size: str) -> ProtocolModel:
    return ProtocolModel(
        network=f"timm:tf_efficientnet_{size}.ns_jft_in1k", family="tf_efficientnet", size=_SIZES[size]
    )


def _supervised(size: str) -> ProtocolModel:
    tag = "ra_in1k" if size in _RAND_AUGMENT else "aa_in1k"
    return ProtocolModel(network=f"timm:tf_efficientnet_{size}.{tag}", family="tf_efficientnet", size=_SIZES[size])


_MODELS: dict[str, ProtocolModel] = {
    "moco_v2": ProtocolModel(
        network="resnet50",
        family="resnet50",
        is_published=False,
        note="a ResNet-50 of MoCo v2 with a linear head of its own, which nobody publishes: give --weights FILE",
    ),
    "resnet50": ProtocolModel(network="resnet50.IMAGENET1K_V1", family="resnet50"),
    "resnext101_32x48d_wsl": ProtocolModel(
        network=None,
        family="resnext",
        note="a ResNeXt-101 32x48d, which only the hub of facebookresearch/WSL-Images has: take resnext101_32x32d_wsl",
    ),
    "resnext101_32x32d_wsl": _wsl(32),
    "resnext101_32x16d_wsl": _wsl(16),
    "resnext101_32x8d_wsl": _wsl(8),
    "resnext101_32x8d": ProtocolModel(network="resnext101_32x8d.IMAGENET1K_V1", family="resnext"),
    "tf_efficientnet_l2_ns": ProtocolModel(network=_L2, family="tf_efficientnet", size=800),
    "tf_efficientnet_l2_ns_475": ProtocolModel(network=f"{_L2}_475", family="tf_efficientnet", size=475),
    "tf_efficientnet_l2_ns_475_224": ProtocolModel(network=f"{_L2}_475", family="tf_efficientnet"),
    "tf_efficientnet_b7_ns": _noisy_student("b7"),
    "tf_efficientnet_b6_ns": _noisy_student("b6"),
    "tf_efficientnet_b5_ns": _noisy_student("b5"),
    "tf_efficientnet_b4_ns": _noisy_student("b4"),
    "tf_efficientnet_b3_ns": _noisy_student("b3"),
    "tf_efficientnet_b2_ns": _noisy_student("b2"),
    "tf_efficientnet_b1_ns": _noisy_student("b1"),
    "tf_efficientnet_b0_ns": _noisy_student("b0"),
    "tf_efficientnet_b8": _supervised("b8"),
    "tf_efficientnet_b7": _supervised("b7"),
    "tf_efficientnet_b6": _supervised("b6"),
    "tf_efficientnet_b5": _supervised("b5"),
    "tf_efficientnet_b4": _supervised("b4"),
    "tf_efficientnet_b3": _supervised("b3"),
    "tf_efficientnet_b2": _supervised("b2"),
    "tf_efficientnet_b1": _supervised("b1"),
    "tf_efficientnet_b0": _supervised("b0"),
}

_SQUARE = ProtocolStep(crop="center", image_size=0, resize=0, interpolation="bicubic")
"""The central square of the whole shorter side, resized to the model's size."""

_BILINEAR = ProtocolStep(crop="center", image_size=224, resize=256, interpolation="bilinear")
_BICUBIC = ProtocolStep(crop="center", image_size=224, resize=256, interpolation="bicubic")
_AS_IS = ProtocolStep(crop="resize", image_size=224, resize=224, interpolation="bicubic", files=224)
"""Files of 224 pixels, which no resize touches."""

_WHOLE = ProtocolStep(crop="resize", image_size=0, resize=0, interpolation="bicubic", files=224)
_RESNEXT_ONLY = "its script takes the ResNeXt models alone, and no result was ever filled in"

SEED001 = Protocol(
    name="seed001",
    models=_MODELS,
    steps={
        "imagenet": {"resnext": _BILINEAR, "tf_efficientnet": _SQUARE},
        "a": {"resnext": _BILINEAR, "resnet50": _BILINEAR, "tf_efficientnet": _SQUARE},
        "c": {"resnext": _AS_IS},
        "p": {"resnext": _AS_IS},
        "sketch": {
            "resnext": _BICUBIC,
            "resnet50": _BICUBIC,
            "tf_efficientnet": ProtocolStep(
                crop="center", image_size=224, resize=256, interpolation="bicubic", enlarge=0
            ),
        },
        "cue-conflict": {"resnext": _AS_IS, "resnet50": _AS_IS, "tf_efficientnet": _WHOLE},
        "adversarial": {"resnext": _SQUARE, "resnet50": _SQUARE, "tf_efficientnet": _SQUARE},
    },
    gaps={
        ("imagenet", "resnet50"): "its validation script refuses this model, so the table's figure is from elsewhere",
        ("c", "tf_efficientnet"): _RESNEXT_ONLY,
        ("c", "resnet50"): _RESNEXT_ONLY,
        ("p", "tf_efficientnet"): _RESNEXT_ONLY,
        ("p", "resnet50"): _RESNEXT_ONLY,
    },
)
