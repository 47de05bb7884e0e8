"""Models of seed 002: "The Robustness Limits of SoTA Vision Models to Natural Variation" (Ibrahim et al., TMLR 2023).

Frozen, out of its section 3.2: the 11 rows of tables 1 and 3. It says neither how its pictures were prepared nor, of
most models, which file of weights was taken; what is said here is the published one that fits the text, and a note
where nothing does. So it prepares no image (`steps` is empty, and it is no choice of `--protocol`): a rendered picture
is shown as the model was trained.

Particular about it: "1k" and "21k" are what the paper calls them. Its sources of the MLP-Mixer and of the ViT of 1k
have published weights that were fine-tuned on ImageNet-1k after ImageNet-21k, so the pairs of figure 3 may differ in
the last step only.
"""

from __future__ import annotations

from shardtools.evaluation.protocols.protocol import Protocol, ProtocolModel

SUPERVISED, SELF_SUPERVISED, CAPTIONS = "supervised", "self-supervised", "captions"

SEED002_TRAINING = {
    "CLIP": CAPTIONS,
    "MAE": SELF_SUPERVISED,
    "MLPMixer1k": SUPERVISED,
    "MLPMixer21k": SUPERVISED,
    "ResNet50-1k": SUPERVISED,
    "ResNet50-21k": SUPERVISED,
    "SimCLR": SELF_SUPERVISED,
    "ViT-1k": SUPERVISED,
    "ViT-21k": SUPERVISED,
    "iBot-1k": SELF_SUPERVISED,
    "iBot-21k": SELF_SUPERVISED,
}
"""Model -> how it was trained, for figure 2; CLIP is neither of its two kinds."""

SEED002_PAIRS = {
    "MLPMixer": ("MLPMixer1k", "MLPMixer21k"),
    "ResNet50": ("ResNet50-1k", "ResNet50-21k"),
    "ViT": ("ViT-1k", "ViT-21k"),
    "iBot": ("iBot-1k", "iBot-21k"),
}
"""Network -> the same one trained on ImageNet-1k and on ImageNet-21k, for figure 3."""

_FROM_A_FILE = "which neither timm nor torchvision has: give --weights FILE"


def _ibot(images: str) -> ProtocolModel:
    return ProtocolModel(
        network="timm:vit_base_patch16_224",
        family="vit",
        is_published=False,
        note=f"a ViT-B/16 of iBOT's authors, trained on ImageNet-{images}, {_FROM_A_FILE}",
    )


SEED002 = Protocol(
    name="seed002",
    models={
        "CLIP": ProtocolModel(
            network="timm:vit_base_patch16_clip_224.openai",
            family="vit",
            note="the paper does not say which of OpenAI's image encoders; its zero-shot rows need clip:FOLDER",
        ),
        "MAE": ProtocolModel(
            network="timm:vit_base_patch16_224.mae", family="vit", note="weights under CC BY-NC; size not said"
        ),
        "MLPMixer1k": ProtocolModel(
            network="timm:mixer_b16_224.goog_in21k_ft_in1k",
            family="mixer",
            note="timm's only weights of this network for ImageNet-1k; they saw ImageNet-21k before",
        ),
        "MLPMixer21k": ProtocolModel(network="timm:mixer_b16_224.miil_in21k", family="mixer"),
        "ResNet50-1k": ProtocolModel(network="timm:resnet50.a1_in1k", family="resnet50"),
        "ResNet50-21k": ProtocolModel(
            network="timm:resnet50",
            family="resnet50",
            is_published=False,
            note=f"a ResNet-50 of Ridnik et al. (2021) on ImageNet-21k, {_FROM_A_FILE}",
        ),
        "SimCLR": ProtocolModel(
            network="timm:resnet50",
            family="resnet50",
            is_published=False,
            note=f"a ResNet-50 of SimCLR by Falcon and Cho (2020), {_FROM_A_FILE}",
        ),
        "ViT-1k": ProtocolModel(
            network="timm:vit_base_patch16_224_miil.in21k_ft_in1k",
            family="vit",
            note="the weights of Ridnik et al. for ImageNet-1k; they saw ImageNet-21k before",
        ),
        "ViT-21k": ProtocolModel(
            network="timm:vit_base_patch16_224.orig_in21k",
            family="vit",
            note="83.97 % on ImageNet, which the paper quotes, is Dosovitskiy et al.'s fine-tuned at 384 pixels",
        ),
        "iBot-1k": _ibot("1k"),
        "iBot-21k": _ibot("21k"),
    },
    steps={},
)
