"""EuroSAT, RGB, with the two splits that studies draw of it.

Owns the draws. The set has no split of its own. The thesis takes the first 810 of each class in a random order for the
test and the next 540 for validation (13,500, 5,400 and 8,100 images, as Feng et al. 2022), but its script seeds no
generator, so each model met another test set. Here the order comes from `THESIS_SEED`; figures agree with the thesis'
as two draws do. The real-world study of Fang, Kornblith and Schmidt (2023) draws 20 % of each class by seed 42.
"""

from __future__ import annotations

from functools import partial

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.draws import draw_a_class, shuffled_classes
from shardtools.sources.published.folder import SetFolder

THESIS_SEED = 22
"""The first of the five seeds of the thesis' probes; ours, as the script has none."""

STUDY_SEED = 42
_NUM_TEST, _NUM_VAL = 810, 540
_TEST_SHARE, _VAL_SHARE = 0.3, 0.2
_NUM_ALL, _LEAST = 27000, 2000
"""Images of the set, and of its smallest class; of a part with fewer, 810 may be all there are."""


def _of_class(folder: SetFolder) -> dict[str, list[str]]:
    """Class -> its images, both sorted as text, as `ImageFolder` and the thesis sort them."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.sizes):
        name, slash, file = path.partition("/")
        if slash and "/" not in file and file.lower().endswith(".jpg"):
            found.setdefault(name, []).append(path)
    return dict(sorted(found.items()))


def _read_thesis(folder: SetFolder) -> SetLists:
    classes = _of_class(folder)
    orders = shuffled_classes([len(paths) for paths in classes.values()], seed=THESIS_SEED)
    rows: dict[str, list[Listed]] = {"train": [], "val": [], "test": []}
    for label, (paths, order) in enumerate(zip(classes.values(), orders, strict=True)):
        is_whole = len(paths) >= _LEAST
        num_test = _NUM_TEST if is_whole else int(_TEST_SHARE * len(paths))
        num_val = _NUM_VAL if is_whole else int(_VAL_SHARE * len(paths))
        for place, position in enumerate(order):
            split = "test" if place < num_test else "val" if place < num_test + num_val else "train"
            rows[split].append(Listed(split, paths[position], label))
    seeded = (
        f"EuroSAT has no split of its own: this one is drawn by seed {THESIS_SEED} (the thesis' script seeds nothing, "
        "so its test sets differ from model to model)"
    )
    images = [one for split in rows.values() for one in split]
    return SetLists(classes=tuple(classes), images=images, notes=(seeded, *_of_a_part(len(images))))


def _of_a_part(num_images: int) -> tuple[str, ...]:
    """The lists of other sets stay as they are where pictures are missing; a draw does not."""
    return ("the split of a part is drawn over its own pictures: it is not the set's",) if num_images < _NUM_ALL else ()


def _read_study(folder: SetFolder) -> SetLists:
    classes = _of_class(folder)
    paths = [path for of_class in classes.values() for path in of_class]
    labels = [label for label, of_class in enumerate(classes.values()) for _ in of_class]
    held_out = draw_a_class(labels, len(classes), seed=STUDY_SEED)
    return SetLists(
        classes=tuple(classes),
        images=(
            Listed(split, paths[position], labels[position])
            for split in ("train", "val")
            for position in range(len(paths))
            if (position in held_out) == (split == "val")
        ),
        notes=_of_a_part(len(paths)),
    )


_set = partial(
    PublishedSet,
    folders=("eurosat/2750", "EuroSAT/2750", "2750", "eurosat", ""),
    marker="AnnualCrop/AnnualCrop_1.jpg",
    num_classes=10,
    download="fetch EuroSAT.zip (RGB) from zenodo.org/records/7711810 or github.com/phelber/EuroSAT and unpack it in "
    "--root/eurosat, which then holds 2750/AnnualCrop",
    license="MIT; the pictures are of Copernicus Sentinel-2, free for any use",
    citation="Helber, Bischke, Dengel, Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark, 2019",
)

EUROSAT = _set(
    name="eurosat",
    title="EuroSAT, the thesis' split with a fixed seed",
    read=_read_thesis,
    splits={"train": 13500, "val": 5400, "test": 8100},
    traps=("the thesis' split is not seeded: ours is one draw of it",),
)

EUROSAT_STUDY = _set(
    name="eurosat-study",
    title="EuroSAT, the split of the real-world study (seed 42)",
    read=_read_study,
    splits={"train": 21600, "val": 5400},
    fit_splits=("train",),
    test_split="val",
    traps=("the split that chooses is the one that is reported; pictures are of 64 pixels, enlarged to 224",),
)
