"""What the study of natural variation renders, measures and trains: sizes, worlds, measurements, trainings.

Owns these lists, as data. A world is one rendered dataset; the one called "roll" varies all five factors, those called
"pitch" and "yaw" the pose alone about another axis, since the seed does not say about which, and "all" draws
combinations. The price of a dataset an axis: the canonical pictures are rendered once for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shardtools.errors import OptionError
from shardtools.evaluation.variation import VariationOptions
from shardtools.rendering import RenderOptions, SceneOptions

MAIN, ALL = "roll", "all"
"""Worlds: all five factors one at a time; random combinations of them."""

POSE = "pose"
CANONICAL_SETTING, SAMPLES, INSTANCES, EVERYTHING, CLASSES = "canonical", "samples", "instances", "all", "classes"

FINE_TUNED, SCRATCH = "fine-tuned", "from nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """A study; the defaults are its full form, `SHORT` changes them.

    Attributes:
        out: Folder for everything.
        meshes: Source of objects, as `shardtools meshes` takes it.
        backgrounds: Source of photographs, as `shardtools backgrounds` takes it; `None` for the default set.
        classes: Classes, those with the most objects.
        objects: Objects of each.
        folds: Folds that hold every object out once.
        image_size: Side of the pictures in pixels.
        values: Values of a factor that varies alone.
        photos: Photographs of each type; `None` for all there are.
        axes: Axes of pose besides roll.
        draws: Random combinations an object; 0 leaves that world out.
        encoders: Names as `shardtools features` takes them; "NAME=FILE" brings weights.
        images: Pictures an object that a linear classifier is trained on.
        shares: Percent that varies in training.
        halves: Draws of half of the classes.
        fine_tuned: Network that is fine-tuned; "" for none.
        scratch_seeds: Seeds of the small network that is trained from nothing; 0 leaves it out.
        epochs: Of the trainings on canonical pictures; (fine-tuned, from nothing).
        processes: Processes of each job; changes no result.
    """

    out: str
    meshes: str = "sweethome3d"
    backgrounds: str | None = None
    classes: int = 25
    objects: int = 10
    folds: int = 5
    image_size: int = 224
    values: int = 6
    photos: int | None = None
    axes: tuple[str, ...] = ("pitch", "yaw")
    draws: int = 12
    encoders: tuple[str, ...] = ("lite0", "lite1", "lite2")
    images: int = 20
    shares: tuple[int, ...] = (5, 25, 50, 75, 95)
    halves: int = 6
    fine_tuned: str = "lite0"
    scratch_seeds: int = 3
    epochs: tuple[int, int] = (40, 120)
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuses sizes that are none.

        Raises:
            OptionError: A number is too small.
        """
        for name, least in (("classes", 2), ("objects", 2), ("folds", 2), ("values", 2), ("processes", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} is at least {least}, found {getattr(self, name)}")
        if self.folds > self.objects:
            raise OptionError(f"folds is at most objects ({self.objects}), found {self.folds}")

    def settings(self) -> dict[str, Any]:
        """What a folder is held to: all but where, and by how many processes."""
        return {name: value for name, value in asdict(self).items() if name not in ("out", "processes")}

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return Path(self.out).absolute()

    @property
    def meshes_folder(self) -> str:
        """Catalogue of objects, with the near-duplicates among them."""
        return str(self.folder / "meshes")

    @property
    def backgrounds_folder(self) -> str:
        """Catalogue of photographs."""
        return str(self.folder / "backgrounds")

    def dataset(self, world: str) -> str:
        """Folder of a world."""
        return str(self.folder / "datasets" / world)

    @property
    def features(self) -> dict[str, str]:
        """Encoder as it was given -> name of its features."""
        return {one: feature_name(one) for one in self.encoders}


SHORT: dict[str, Any] = {
    "classes": 12,
    "objects": 9,
    "folds": 3,
    "values": 4,
    "photos": 2,
    "axes": ("pitch",),
    "draws": 0,
    "encoders": ("lite0",),
    "halves": 4,
    "fine_tuned": "",
    "scratch_seeds": 0,
}
"""What `--short` changes: some 3,500 pictures, minutes of one core."""


def feature_name(encoder: str) -> str:
    """Name of features of an encoder, "NAME" or "NAME=FILE", in letters that a name may have."""
    plain = encoder.partition("=")[0].lower()
    return "".join(letter if letter.isalnum() else "-" for letter in plain).strip("-")[:64]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A rendered dataset.

    Attributes:
        name: Of its folder.
        render: Which pictures.
        scene: What they share.
    """

    name: str
    render: RenderOptions
    scene: SceneOptions


def list_worlds(options: StudyOptions, wnids: tuple[str, ...]) -> list[World]:
    """All worlds, the main one first.

    Args:
        options: The study's.
        wnids: Classes.
    """
    shared: dict[str, Any] = {
        "classes": ",".join(wnids),
        "objects": options.objects,
        "values": options.values,
        "photos": options.photos,
    }
    size: dict[str, Any] = {"image_size": options.image_size}
    worlds = [World(name=MAIN, render=RenderOptions(**shared), scene=SceneOptions(**size))]
    worlds += [
        World(name=axis, render=RenderOptions(**shared, factors=(POSE,)), scene=SceneOptions(**size, pose_axis=axis))
        for axis in options.axes
    ]
    if options.draws:
        combined = RenderOptions(**{**shared, "grids": (ALL,), "draws": options.draws})
        worlds.append(World(name=ALL, render=combined, scene=SceneOptions(**size)))
    return worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One call of `shardtools eval variation`.

    Attributes:
        world: Its name; poses of it are called by it.
        options: What is asked.
    """

    world: str
    options: VariationOptions

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.world}-{self.options.setting}" if self.options.features else f"{self.world}-trained"


def list_measurements(options: StudyOptions) -> list[Measurement]:
    """What is measured of features, in the order of the seed's sections."""
    found = []
    for world in (MAIN, *options.axes):
        for setting in (CANONICAL_SETTING, SAMPLES, INSTANCES, CLASSES):
            found.append(_measurement(options, world, (world,), setting))
    if options.draws:
        found.append(_measurement(options, MAIN, (MAIN, ALL), EVERYTHING))
    return found


def _measurement(options: StudyOptions, world: str, worlds: tuple[str, ...], setting: str) -> Measurement:
    shares = (*options.shares[:-1], 100) if setting == INSTANCES else options.shares
    return Measurement(
        world=world,
        options=VariationOptions(
            datasets=tuple(map(options.dataset, worlds)),
            features=tuple(options.features.values()),
            setting=setting,
            shares=shares,
            images=options.images,
            num_folds=options.folds,
            twins=options.meshes_folder,
            halves=options.halves,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A network whose weights are all trained, on the objects that the first fold learns from.

    Attributes:
        how: `FINE_TUNED` or `SCRATCH`.
        encoder: Of the recipe.
        varied: Whether pictures in which single factors vary are learnt from, besides the canonical ones.
        seed: Of everything.
    """

    how: str
    encoder: str
    varied: bool
    seed: int

    @property
    def group(self) -> str:
        """What repetitions share."""
        return f"{feature_name(self.encoder)}-{self.how.replace(' ', '-')}-{'varied' if self.varied else 'canonical'}"

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.group}-seed{self.seed}"


def list_trainings(options: StudyOptions) -> Iterator[Training]:
    """The trainings: the fine-tuned network, then the small one from nothing, on canonical pictures and on varied."""
    if options.fine_tuned:
        for varied in (False, True):
            yield Training(how=FINE_TUNED, encoder=options.fine_tuned, varied=varied, seed=0)
    for seed in range(options.scratch_seeds):
        for varied in (False, True):
            yield Training(how=SCRATCH, encoder="resnet-micro", varied=varied, seed=seed)
