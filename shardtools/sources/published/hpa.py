"""Human Protein Atlas Image Classification: cells with any number of 28 places of a protein, in four colours.

Owns how four channels become a picture. Kaggle publishes a grey PNG a channel (red, green, blue, yellow), the study of
Fang, Kornblith and Schmidt (2023) has one RGBA PNG with yellow in place of alpha, and read three channels of it. Both
give the same pixels here: `hpa` has red, green and blue, as the study's networks saw them, `hpa-rgby` all four. The
price: PNGs are made anew, since a picture with yellow for alpha is laid on white by whatever encodes it again.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from functools import partial

from shardtools.errors import SourceError
from shardtools.sources.image.check import Rejection, rejection_of
from shardtools.sources.image.png import encode_rgb_png, encode_rgba_png
from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_CLASSES = (
    "nucleoplasm",
    "nuclear membrane",
    "nucleoli",
    "nucleoli fibrillar center",
    "nuclear speckles",
    "nuclear bodies",
    "endoplasmic reticulum",
    "Golgi apparatus",
    "peroxisomes",
    "endosomes",
    "lysosomes",
    "intermediate filaments",
    "actin filaments",
    "focal adhesion sites",
    "microtubules",
    "microtubule ends",
    "cytokinetic bridge",
    "mitotic spindle",
    "microtubule organizing center",
    "centrosome",
    "lipid droplets",
    "plasma membrane",
    "cell junctions",
    "mitochondria",
    "aggresome",
    "cytosol",
    "cytoplasmic bodies",
    "rods and rings",
)
_SPLITS = {"train": "train", "val": "val", "test": "test_val"}
_LIST = "split.stratified.small.0.csv"
_CHANNELS = ("red", "green", "blue", "yellow")


def _read(folder: SetFolder, *, num_channels: int) -> SetLists:
    rows: dict[str, list[Listed]] = {name: [] for name in _SPLITS.values()}
    split_of = {name: split for split, name in _SPLITS.items()}
    # One form for all: which of the two a copy has shows in any of its pictures.
    is_joined = any(path.startswith("rgby/train/") for path in folder.sizes)
    for place, (image, target, name) in folder.table(_LIST, ("Id", "Target", "Split")):
        if name not in rows:
            raise SourceError(f"{place}: expected a split {', '.join(rows)}, found {name!r}: fetch it again")
        numbers = (folder.number(one, place, least=0, last=len(_CLASSES) - 1) for one in target.split())
        paths = [f"train/{image}_{channel}.png" for channel in _CHANNELS[:num_channels]]
        first, *more = [f"rgby/train/{image}.png"] if is_joined else paths
        listed = Listed(split_of[name], first, tuple(sorted(set(numbers))), tuple(more), f"train/{image}.png")
        rows[name].append(listed)
    return SetLists(classes=_CLASSES, images=itertools.chain.from_iterable(rows.values()))


def _join(files: Sequence[bytes], *, num_channels: int) -> bytes | Rejection:
    """A PNG of three or four channels, out of a file a channel or of one that has four."""
    from PIL import Image

    channels: list[Image.Image] = []
    for content in files:
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                image.load()
                channels += image.split()[:num_channels]
        except Exception as error:
            # Pillow fails with whatever damaged bytes make it trip over, as in `check_image`.
            return rejection_of(error, content)
    sizes = {channel.size for channel in channels}
    if len(channels) < num_channels or len(sizes) != 1 or {channel.mode for channel in channels} != {"L"}:
        found = ", ".join(f"{channel.mode} {channel.width}x{channel.height}" for channel in channels)
        return Rejection("undecodable", f"expected {num_channels} 8-bit channels of one size, found {found}")
    [(width, height)] = sizes
    pixels = Image.merge("RGB" if num_channels == 3 else "RGBA", channels).tobytes()
    return (encode_rgb_png if num_channels == 3 else encode_rgba_png)(pixels, width, height)


_set = partial(
    PublishedSet,
    folders=("hpa", "human-protein-atlas-image-classification", ""),
    marker=_LIST,
    images="train/",
    num_classes=len(_CLASSES),
    splits={"train": 22582, "val": 5664, "test": 2826},
    fit_splits=("train",),
    test_split="val",
    metric="macro_f1",
    download="fetch train.zip of kaggle.com/competitions/human-protein-atlas-image-classification in --root/hpa/train "
    f"(or the RGBA pictures of github.com/pudae/kaggle-hpa into --root/hpa/rgby/train), and {_LIST} "
    "(splits/hpa of github.com/mlfoundations/imagenet-applications-transfer) into --root/hpa",
    license="the competition's rules; the Atlas itself is CC BY-SA",
    citation="Ouyang et al.: Analysis of the Human Protein Atlas Image Classification competition, 2019",
)
_TRAPS = (
    "several labels a picture: class_indexes, and a head of 28 sigmoids",
    "val is what the study reports; the smaller test split (its test_val) checks thresholds",
    "the study read channels as BGR and did not turn them: train with channels=bgr for its figures",
)

HPA = _set(
    name="hpa",
    title="Human Protein Atlas, red, green and blue",
    read=partial(_read, num_channels=3),
    join=partial(_join, num_channels=3),
    traps=("the fourth channel, yellow, is left out, as the study's reading dropped it", *_TRAPS),
)

HPA_RGBY = _set(
    name="hpa-rgby",
    title="Human Protein Atlas, four channels",
    read=partial(_read, num_channels=4),
    join=partial(_join, num_channels=4),
    traps=(
        "yellow stands in place of alpha: readers of RGB drop it, and --write-mode jpg would lay it on white",
        *_TRAPS,
    ),
)
