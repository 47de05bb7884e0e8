"""Encoders that features are extracted with: the network with its weights, and what they were trained to see.

Owns where weights come from and how pixels are prepared unless the user says otherwise: as timm's and torchvision's own
evaluation, the run file of a training, a folder of transformers, or the Lite models' paper does. Nothing is downloaded;
the price is that a network without a file of weights is refused, since features of random weights look like features.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shardtools.documents import read_json
from shardtools.errors import OptionError
from shardtools.features import FEATURE_PROTOCOLS, EncoderFacts, FeatureOptions
from shardtools.pipelines.encoders.lite import LITE, LITE_DIM, LiteFeatures, lite_preprocessing, lite_weights, load_lite
from shardtools.pipelines.encoders.local_models import (
    Preprocessing,
    load_image_tower,
    local_folder,
    weights_digest,
)
from shardtools.pipelines.encoders.networks import MICRO, make_encoder
from shardtools.training import Recipe
from shardtools.training.run_file import MODEL_FILE, RUN_FILE, todays_recipe

_TIMM = "timm:"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CPU_KINDS = ("bilinear", "bicubic")


class FeatureEncoder(nn.Module):
    """A network in evaluation mode.

    Attributes:
        network: Float images [N, 3, H, W] to features [N, D].
        facts: What decides on a feature.
    """

    def __init__(self, network: nn.Module, facts: EncoderFacts) -> None:
        super().__init__()
        self.network, self.facts = network.eval(), facts

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [N, 3, H, W] to float32 features [N, D], of length 1 with `facts.l2`."""
        features: torch.Tensor = self.network(images).float()
        return nn.functional.normalize(features, dim=1) if self.facts.l2 else features


def load_feature_encoder(options: FeatureOptions) -> FeatureEncoder:
    """The encoder on the CPU, with its weights.

    Raises:
        OptionError: There is no such encoder, or no weights, or they do not fit.
    """
    name, weights, preprocessing = options.encoder, options.weights, Preprocessing()
    run, folder, sha256 = Path(name), None, None
    # A folder with a run's record is a training run, whatever else lies in it.
    if not (run / RUN_FILE).is_file():
        folder = local_folder(name)
    if folder is not None:
        name, network, sha256, dim, preprocessing = _load_folder(options, folder)
    elif name in LITE:
        network, dim, preprocessing = LiteFeatures(load_lite(name, weights)), LITE_DIM, lite_preprocessing(name)
    # Also a folder without a record: the error then says what was expected in it.
    elif (run / RUN_FILE).is_file() or run.is_dir():
        name, network, dim, preprocessing = _load_run(run, weights)
    else:
        _check_weights(name, weights)
        encoder = make_encoder(name, weights=weights)
        network, dim = encoder.network, encoder.feature_dim
        preprocessing = _published(name, network)
    network.requires_grad_(False)
    if options.protocol is not None:
        preprocessing = _as_published(options.protocol, name, preprocessing, is_fixed=folder is not None)
    chosen = _chosen(options, preprocessing)
    facts = EncoderFacts(
        name=name,
        weights_sha256=sha256 or weights_digest(network),
        feature_dim=dim,
        crop=chosen.crop,
        precision=options.precision,
        l2=options.l2,
        dtype=options.dtype,
        image_size=chosen.image_size,
        resize=chosen.resize if chosen.crop == "center" else chosen.image_size,
        interpolation=chosen.interpolation,
        mean=chosen.mean,
        std=chosen.std,
    )
    return FeatureEncoder(network, facts)


def _as_published(protocol: str, network: str, own: Preprocessing, *, is_fixed: bool) -> Preprocessing:
    """The preprocessing of a protocol, but for the scale of pixels; networks of transformers see one size alone."""
    said = FEATURE_PROTOCOLS[protocol]
    size = own.image_size if is_fixed else said.size_of(network)
    return replace(own, crop="center", image_size=size, resize=size, interpolation=said.interpolation)


def _chosen(options: FeatureOptions, own: Preprocessing) -> Preprocessing:
    """The encoder's own preprocessing with what the user gave in its place."""
    given = {
        name: getattr(options, name)
        for name in ("crop", "image_size", "resize", "interpolation", "mean", "std")
        if getattr(options, name) is not None
    }
    if "image_size" in given and "resize" not in given:
        # The same share of the image is cut out as the encoder was trained to see.
        given["resize"] = round(given["image_size"] * own.resize / own.image_size)
    return replace(own, **given)


def _check_weights(name: str, weights: str | None) -> None:
    if weights is None:
        known = f"{next(iter(LITE))}, the folder of a training run or of transformers, or a name with --weights FILE"
        raise OptionError(
            f"encoder {name!r} has no weights on this machine, and features of random weights say nothing: expected "
            f"{known}"
        )


def _load_folder(options: FeatureOptions, folder: Path) -> tuple[str, nn.Module, str, int, Preprocessing]:
    """As `load_image_tower`; refuses what its network would not take."""
    if options.weights is not None:
        raise OptionError(f"encoder {options.encoder!r} brings its weights: leave --weights out")
    found = load_image_tower(folder)
    side = found[-1].image_size
    if options.image_size not in (None, side):
        raise OptionError(
            f"{folder} sees images of {side} pixels, found --image-size {options.image_size}: leave it out"
        )
    return found


def initial_weights(encoder: str, init: str) -> str:
    """The file that a training takes its first weights from.

    Args:
        encoder: Of the training's recipe.
        init: A file, the folder of a training run, or the encoder's own name where a package brings its weights.

    Raises:
        OptionError: It is none of these, or the run is of another encoder or has no weights yet.
    """
    run = Path(init)
    if init in LITE:
        if init != encoder:
            raise OptionError(
                f"--init {init} are weights of another network than the recipe's encoder {encoder!r}: "
                f"give --set encoder={init} too"
            )
        return lite_weights(init)
    if run.is_dir():
        own = run_recipe(run).encoder
        if own != encoder:
            raise OptionError(
                f"--init {init} is a run of encoder {own}, the recipe has {encoder}: give --set encoder={own} too"
            )
        check_run_weights(run, run / MODEL_FILE)
        return str(run / MODEL_FILE)
    return init


def run_recipe(run: Path) -> Recipe:
    """The recipe that a training run's file names, in the words of this release.

    Raises:
        OptionError: The folder is none of a training run.
    """
    try:
        fields: dict[str, Any] = todays_recipe(read_json((run / RUN_FILE).read_bytes())["options"]["recipe"])
        plain: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in fields.items()}
        return Recipe(**plain)
    except (OSError, ValueError, KeyError, TypeError):
        raise OptionError(
            f"{run}: expected the folder of a training run with {RUN_FILE}, found none: give what `shardtools "
            "train` was given as --out"
        ) from None


def run_preprocessing(recipe: Recipe) -> Preprocessing:
    """What a run's own evaluations prepared images with."""
    return Preprocessing(
        image_size=recipe.image_size,
        resize=recipe.eval_resize,
        mean=recipe.mean_by_color,
        std=recipe.std_by_color,
    )


def check_run_weights(run: Path, path: str | Path) -> None:
    """Refuses a run that has no weights yet.

    Raises:
        OptionError: The file is not there.
    """
    if not Path(path).is_file():
        raise OptionError(f"{run} has no {MODEL_FILE} yet: let the training finish, run the same command again")


def _load_run(run: Path, weights: str | None) -> tuple[str, nn.Module, int, Preprocessing]:
    """Name, network, D and preprocessing of a training run's encoder."""
    recipe = run_recipe(run)
    path = weights or str(run / MODEL_FILE)
    check_run_weights(run, path)
    encoder = make_encoder(recipe.encoder, weights=path, channels=recipe.channels)
    # The order of colours is the encoder's; without one the network alone has the digest that it had before.
    network = encoder.network if encoder.channels is None else encoder
    return recipe.encoder, network, encoder.feature_dim, run_preprocessing(recipe)


def _published(name: str, network: nn.Module) -> Preprocessing:
    """What the networks of a library are evaluated with."""
    if name == MICRO:
        return Preprocessing(image_size=32, resize=32)
    if not name.startswith(_TIMM):
        return Preprocessing()
    settings: dict[str, Any] = vars(network).get("default_cfg") or {}
    size = int(settings.get("input_size", (3, 224, 224))[-1])
    kind = settings.get("interpolation", "bicubic")
    return Preprocessing(
        image_size=size,
        resize=round(size / float(settings.get("crop_pct") or 0.875)),
        interpolation=kind if kind in _CPU_KINDS else "bicubic",
        mean=tuple(settings.get("mean", _IMAGENET_MEAN)),
        std=tuple(settings.get("std", _IMAGENET_STD)),
    )
