"""What the study of transfer pretrains, on which sets it judges it, and how large all of it is.

Owns these lists, as data. The networks are checkpoints along two pretrainings of one small network, so that they differ
in accuracy and in nothing else but how images were cropped; EfficientNet-Lite with ImageNet's weights stands beside
them. The sets lie at growing distance from what was pretrained on: other clothes, digits, rendered furniture, and the
places behind it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shardtools.errors import OptionError

CLOTHES, DIGITS, OBJECTS, PLACES = "clothes", "digits", "objects", "places"
SETS = {
    CLOTHES: "four classes of Fashion-MNIST that pretraining has not seen",
    DIGITS: "the digits of scikit-learn, scanned by hand-printed forms' makers, 8 x 8 pixels enlarged",
    OBJECTS: "rendered furniture, objects held out",
    PLACES: "the same pictures by what is behind: sky, water, city, home or grass; photographs held out",
}
"""Name of a set -> what it is."""

RENDERED = (OBJECTS, PLACES)
PRETRAINING = "pretraining"

SEEN, UNSEEN = (0, 1, 2, 3, 4, 8), (5, 6, 7, 9)
"""Classes of Fashion-MNIST: T-shirt, trouser, pullover, dress, coat and bag; sandal, shirt, sneaker and ankle boot."""

LITE_ACCURACY = {"lite0": 0.751, "lite1": 0.767, "lite2": 0.776}
"""EfficientNet-Lite -> ImageNet top-1, as Google's table of its models has it for float weights
(tensorflow/tpu, models/official/efficientnet/lite/README.md)."""

RECIPES: dict[str, dict[str, str]] = {
    "crops": {"scale": "0.5", "flip": "0.5"},
    "whole": {"scale": "1.0", "flip": "0.0"},
}
"""Name of a pretraining -> what it changes of the recipe `micro`: random crops and flips, or whole images."""

ABOVE = 0.7
"""The bar of the second regression, of the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """A study; the defaults are its full form, `SHORT` changes them.

    Attributes:
        out: Folder for everything.
        data: Folder of Fashion-MNIST's idx files.
        meshes: Source of furniture, as `shardtools meshes` takes it.
        per_class: Images of each class to pretrain on.
        epochs: Of a pretraining; the network is kept after those of `kept`.
        kept: Epochs after which it is kept, rising; the last is `epochs`.
        train, val, test: Images of a class of each set, at most.
        classes: Of rendered furniture, those with the most objects.
        objects: Of each class.
        lite: Names of EfficientNet-Lite networks.
        trials: Settings that a probe tries.
        seeds: Of the probes.
        tuned: Names of own networks that are fine-tuned.
        tuned_sets: Sets that they are fine-tuned on.
        tuned_epochs: Of fine-tuning.
        rates: Peak rates of SGD in fine-tuning.
        decays: Weight decays.
        processes: Processes of each job; changes no result.
    """

    out: str
    data: str = "/usr/share/datasets/fashion-mnist"
    meshes: str = "sweethome3d"
    per_class: int = 600
    epochs: int = 32
    kept: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    train: int = 60
    val: int = 30
    test: int = 120
    classes: int = 12
    objects: int = 9
    lite: tuple[str, ...] = ("lite0", "lite1", "lite2")
    trials: int = 20
    seeds: tuple[int, ...] = (22, 37, 45)
    tuned: tuple[str, ...] = tuple(f"{recipe}-{epoch:02d}" for recipe in RECIPES for epoch in (1, 8, 32))
    tuned_sets: tuple[str, ...] = (CLOTHES, DIGITS, OBJECTS)
    tuned_epochs: int = 16
    rates: tuple[float, ...] = (0.1, 0.01)
    decays: tuple[float, ...] = (1e-4,)
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuses sizes that are none.

        Raises:
            OptionError: A number is too small, or two contradict each other.
        """
        for name in ("per_class", "train", "val", "test", "classes", "trials", "processes", "tuned_epochs"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        if self.objects < 3:
            raise OptionError(f"objects is at least 3 (to train, to choose, to test), found {self.objects}")
        if list(self.kept) != sorted(set(self.kept)) or not self.kept or self.kept[-1] != self.epochs:
            raise OptionError(f"kept is rising epochs up to epochs ({self.epochs}), found {list(self.kept)}")
        names = [one.name for one in self.networks]
        if not set(self.tuned) <= set(names):
            raise OptionError(f"tuned is some of {', '.join(names)}, found {', '.join(self.tuned)}")

    def settings(self) -> dict[str, Any]:
        """What a folder is held to: all but where, and by how many processes."""
        return {name: value for name, value in asdict(self).items() if name not in ("out", "data", "processes")}

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return Path(self.out).absolute()

    def dataset(self, name: str) -> str:
        """Folder of a set, of what is pretrained on, or of the rendered world."""
        return str(self.folder / "datasets" / name)

    def weights(self, network: Network) -> Path:
        """File of a network's weights."""
        return self.folder / "networks" / f"{network.name}.safetensors"

    @property
    def networks(self) -> tuple[Network, ...]:
        """The own networks, in the order of their epochs."""
        return tuple(Network(recipe=recipe, epoch=epoch) for recipe in RECIPES for epoch in self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A checkpoint along a pretraining.

    Attributes:
        recipe: A name of `RECIPES`.
        epoch: After which it was kept.
    """

    recipe: str
    epoch: int

    @property
    def name(self) -> str:
        """In tables, of its features and files."""
        return f"{self.recipe}-{self.epoch:02d}"


SHORT: dict[str, Any] = {
    "per_class": 90,
    "epochs": 16,
    "kept": (1, 2, 4, 8, 16),
    "train": 25,
    "val": 10,
    "test": 40,
    "classes": 8,
    "objects": 6,
    "lite": (),
    "trials": 10,
    "seeds": (22,),
    "tuned": ("whole-01", "whole-16"),
    "tuned_sets": (DIGITS,),
    "tuned_epochs": 16,
}
"""What `--short` changes: minutes of one core."""
