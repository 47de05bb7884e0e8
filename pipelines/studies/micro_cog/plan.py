"""What the study renders, trains and measures: sizes, models, sets of concepts.

Owns these lists, as data. Seen are the furnishings among the objects and the ten classes of Fashion-MNIST; every other
class is unseen. Lite0 to Lite2 have seen ImageNet, which has most of these classes or kinds of them: for them no level
is unseen, so what they lose from level to level is what the pictures of a level make hard, not its distance.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shardtools.errors import OptionError

FURNISHING = "n03405265"
"""Everything under it is seen."""

PERSON = "n00007846"
"""Left out, as everything under it is of ImageNet-CoG."""

HEADS: dict[str, dict[str, str]] = {
    "linear": {},
    "projector": {
        "head": "cosine",
        "projector_layers": "1",
        "projector_hidden": "512",
        "projector_bottleneck": "128",
    },
}
"""Own network -> what its recipe has besides "micro": chapter 3's plain classifier, chapter 4's projector."""

WORLD = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """A study; the defaults are its full form, `SHORT` changes them.

    Attributes:
        out: Folder for everything.
        meshes: Source of objects, as `shardtools meshes` takes it.
        backgrounds: Source of photographs, as `shardtools backgrounds` takes it; `None` for the default set.
        fashion: Folder of the idx files of Fashion-MNIST; "" trains on rendered objects alone.
        fashion_share: One of so many of its images is trained on, up to 256.
        objects: Most objects of a class.
        at_least: Classes with fewer are left out.
        draws: Pictures of an object, turned, moved, lit and before photographs at random, besides the canonical one.
        image_size: Side of the pictures in pixels.
        folds: Folds that hold every object out once; every figure is measured in each of them.
        levels: Levels of unseen concepts.
        size: Concepts of each.
        seen_sets: Sets of seen concepts as large as a level.
        random: Levels of concepts drawn whatever their distance.
        encoders: Networks that have seen ImageNet, names as `shardtools features` takes them.
        heads: Some of `HEADS`: own networks, each trained once a fold.
        train_size: Side of the crops that own networks are trained on.
        epochs: Of their training.
        batch_size: Images of a step of it.
        shots: Images a concept, besides all.
        trials: Settings that each probe tries.
        processes: Processes of each job; changes no result.

    Raises:
        OptionError: A number is too small.
    """

    out: str
    meshes: str = "sweethome3d"
    backgrounds: str | None = None
    fashion: str = "/usr/share/datasets/fashion-mnist"
    fashion_share: int = 64
    objects: int = 10
    at_least: int = 5
    draws: int = 12
    image_size: int = 128
    folds: int = 3
    levels: int = 4
    size: int = 6
    seen_sets: int = 3
    random: int = 6
    encoders: tuple[str, ...] = ("lite0", "lite1", "lite2")
    heads: tuple[str, ...] = tuple(HEADS)
    train_size: int = 64
    epochs: int = 20
    batch_size: int = 64
    shots: tuple[int, ...] = (1, 4, 16)
    trials: int = 10
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuses sizes that are none."""
        least = {
            "objects": 2,
            "at_least": 2,
            "folds": 2,
            "levels": 2,
            "size": 2,
            "random": 1,
            "seen_sets": 1,
            "epochs": 1,
        }
        for name, bound in {**least, "processes": 1, "batch_size": 1}.items():
            if getattr(self, name) < bound:
                raise OptionError(f"{name} is at least {bound}, found {getattr(self, name)}")
        if not 1 <= self.fashion_share <= 256:
            raise OptionError(f"fashion_share is 1 to 256, found {self.fashion_share}")

    def settings(self) -> dict[str, Any]:
        """What a folder is held to: all but where, and by how many processes."""
        kept = {name: value for name, value in asdict(self).items() if name not in ("out", "processes")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return Path(self.out).absolute()

    @property
    def catalogues(self) -> tuple[str, str]:
        """Folders of the catalogues of objects and of photographs."""
        return str(self.folder / "meshes"), str(self.folder / "backgrounds")

    def dataset(self, name: str) -> str:
        """Folder of a dataset: `WORLD`, or "fashion"."""
        return str(self.folder / "datasets" / name)


SHORT: dict[str, Any] = {
    "fashion_share": 256,
    "objects": 6,
    "at_least": 6,
    "draws": 8,
    "image_size": 96,
    "levels": 3,
    "random": 3,
    "encoders": ("lite0",),
    "heads": ("linear",),
    "train_size": 32,
    "epochs": 40,
    "shots": (4,),
    "trials": 6,
}
"""What `--short` changes: some 1,800 pictures, minutes of one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """An own network: the seen concepts of one fold, learnt by one head.

    Attributes:
        head: A name of `HEADS`.
        fold: Whose held-out objects it has not seen.
    """

    head: str
    fold: int

    @property
    def name(self) -> str:
        """Of its folder and of its features."""
        return f"own-{self.head}-fold{self.fold}"


def list_trainings(options: StudyOptions) -> list[Training]:
    """All of them, fold by fold."""
    return [Training(head=head, fold=fold) for fold in range(options.folds) for head in options.heads]


def model_names(options: StudyOptions) -> list[str]:
    """Names of the models in tables: own ones first."""
    return [*(f"own-{head}" for head in options.heads), *options.encoders]


def features_of(options: StudyOptions, model: str, fold: int) -> str:
    """Name of a model's features for a fold."""
    return model if model in options.encoders else f"{model}-fold{fold}"


def overlay_name(fold: int) -> str:
    """The overlay that says which pictures a fold's levels learn from and are tested on."""
    return f"micro_cog_fold{fold}"
