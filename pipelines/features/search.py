"""Image files, or texts, through the encoder that made a dataset's features, to look for what is near them.

    shardtools index search DATASET --image photo.jpg
    shardtools index search DATASET --text "a red shoe"

Owns going back from a fingerprint to a network: it is loaded from what the features say they were made with, and its
own fingerprint must be theirs. The price: the file of weights must still lie where it lay, or be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from shardtools.decode import Decoder, DecodeStatus
from shardtools.errors import OptionError, PlanMismatchError, SourceError
from shardtools.features import FeatureOptions, FeatureStore, check_same_encoder
from shardtools.features.class_texts import same_space
from shardtools.loader import Draws
from shardtools.loader.crops.requests import draw_crops
from shardtools.pipelines.batches.on_device import Normalizer
from shardtools.pipelines.encoders.trained import load_feature_encoder
from shardtools.pipelines.features.job import loader_options


def image_features(
    store: FeatureStore, files: Sequence[str], *, encoder: str | None = None, weights: str | None = None
) -> npt.NDArray[np.float32]:
    """Features of image files as those of a store were made, [M, D].

    Args:
        store: The features to compare with.
        files: Paths of encoded images.
        encoder: As `FeatureOptions.encoder`; `None` takes what the store says.
        weights: Likewise.

    Raises:
        OptionError: The encoder or its weights are not where they were.
        PlanMismatchError: It is another encoder by now.
        SourceError: A file is no image that can be decoded.
    """
    facts = store.info.encoder
    name = encoder or store.info.source.get("encoder")
    if name is None:
        raise OptionError(f"features at {store.storage.url} do not say what made them: give --encoder")
    own = {key: value for key, value in asdict(facts).items() if key in FeatureOptions.__slots__}
    options = FeatureOptions(
        **{**own, "resize": facts.resize if facts.crop == "center" else None},
        dataset=store.dataset,
        encoder=str(name),
        weights=weights or store.info.source.get("weights"),
        batch_size=store.info.plan.batch_size,
    )
    loaded = load_feature_encoder(options)
    # Before anything is decoded: distances to another encoder's features are numbers without a meaning.
    check_same_encoder(loaded.facts, facts, where=str(name), whose=store.storage.url)
    pixels = _decode(files, options, store)
    normalize = Normalizer(_three(facts.mean), _three(facts.std), torch.device("cpu"))
    with torch.inference_mode():
        found = loaded(normalize.one(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
    features: npt.NDArray[np.float32] = found.numpy()
    return features


def text_features(store: FeatureStore, texts: Sequence[str], *, encoder: str | None = None) -> npt.NDArray[np.float32]:
    """Features of texts in the space of a store's images, [M, D].

    Args:
        store: Features of a dual encoder's image tower.
        texts: What to look for.
        encoder: Its folder; `None` takes what the store says.

    Raises:
        OptionError: The features are of another kind of encoder, or its folder is not where it was.
        PlanMismatchError: The folder holds other weights.
    """
    from shardtools.pipelines.features.texts import load_text_encoder

    facts = store.info.encoder
    if not facts.name.startswith("transformers:"):
        raise OptionError(
            f"features at {store.storage.url} are of {facts.name}, which reads no texts: extract them with a dual "
            "encoder (shardtools features --encoder clip:FOLDER), then search by text"
        )
    name = encoder or store.info.source.get("encoder")
    if name is None:
        raise OptionError(f"features at {store.storage.url} do not say what made them: give --encoder FOLDER")
    loaded = load_text_encoder(str(name))
    if not same_space(loaded.facts, facts.weights_sha256):
        raise PlanMismatchError(
            f"{name} holds {loaded.facts.name} with weights {loaded.facts.weights_sha256[:8]}..., the features at "
            f"{store.storage.url} are of {facts.name} with {facts.weights_sha256[:8]}...: give the folder that made "
            "them (--encoder FOLDER)"
        )
    found = loaded.features(texts)
    # Of length 1 where the images' features are, which an index by l2 distance asks for.
    unit: npt.NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit if facts.l2 else found


def _decode(files: Sequence[str], options: FeatureOptions, store: FeatureStore) -> npt.NDArray[np.uint8]:
    """Pixels of all files, uint8 [M, H, W, 3]."""
    wanted = loader_options(options, store.info.encoder, threads=1)
    decoder = Decoder(wanted.decode_options())
    try:
        images = [Path(file).read_bytes() for file in files]
    except OSError as error:
        raise SourceError(f"{error.filename}: expected an image file, found none: {error.strerror}") from None
    sizes, statuses = decoder.sizes(images)
    wrong = np.flatnonzero(statuses != DecodeStatus.OK)
    side = store.info.encoder.image_size
    out = np.empty((len(images), side, side, 3), np.uint8)
    if not len(wrong):
        cropping = draw_crops(wanted.crop, Draws(seed=0, epoch=0, keys=np.zeros(len(images), np.uint64)), sizes)
        statuses = decoder.decode_crops(
            images, cropping.crops, cropping.flips, [out[:, None]], windows=cropping.windows
        )
        wrong = np.flatnonzero(statuses != DecodeStatus.OK)
    for place in wrong.tolist():
        status = DecodeStatus(int(statuses[place]))
        width_and_height = " x ".join(map(str, np.asarray(sizes[place]).tolist()))
        # An image that decodes is wrong where no crop of the asked size fits into it.
        kind = (
            f"one of {width_and_height} pixels, which cannot be cropped to {side}"
            if status == DecodeStatus.OK
            else status.name.lower().replace("_", " ")
        )
        raise SourceError(f"{files[place]}: expected an image that decodes, found {kind}")
    return out


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
