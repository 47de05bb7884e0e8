"""What the folders of a path say: split, class, corruption and severity.

Owns the shapes of trees: class folders, splits of class folders, ImageNet-C's CORRUPTION/SEVERITY/WNID/file and
ImageNet-P's PERTURBATION/WNID/file.mp4, each below any wrapper folders. Pure functions of names; which folders are
splits is decided in `splits.py`, on the whole tree. The price is that a class called "train" or "snow" is taken for
what the name says where all of its neighbours are named so too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of

_SPLITS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set", "training_set"), "train"),
    **dict.fromkeys(("val", "val_set", "valset"), "val"),
    **dict.fromkeys(("valid", "valid_set", "validset"), "valid"),
    **dict.fromkeys(("validation", "validation_set"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "test_set", "testing_set"), "test"),
}


def split_of(folder: str) -> str | None:
    """The split that a folder is named for, in any case ("Train", "Testing", "validation-set"); `None` for others."""
    return _SPLITS.get(folder.lower().replace("-", "_").replace(" ", "_"))


VAL_FOLDERS = frozenset({"val", "valid", "validation"})

CORRUPTIONS = frozenset(
    {
        *("gaussian_noise", "shot_noise", "impulse_noise"),
        *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness"),
        *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
        *("speckle_noise", "gaussian_blur", "spatter", "saturate"),
    }
)
"""ImageNet-C's fifteen, and its four for validation (Hendrycks and Dietterich 2019, section 4.1)."""

PERTURBATIONS = frozenset(
    {
        *("gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness"),
        *("translate", "rotate", "tilt", "scale"),
        *("speckle_noise", "gaussian_blur", "spatter", "shear"),
    }
)
"""ImageNet-P's ten, and its four for validation (section 4.2 of the same)."""

VIDEO_EXTENSION = "mp4"
_WNID = re.compile(r"n[0-9]{8}")
_SEVERITY = re.compile(r"[1-5]")
_DIFFICULTY = re.compile(r"(.+)_([23])")


@dataclass(frozen=True, slots=True)
class CorruptedPlace:
    """Where a picture that was made worse on purpose lies.

    Attributes:
        depth: Number of folders above the one that names the corruption.
        corruption: Its name.
        severity: 1 to 5; `None` where no folder says it.
        class_folder: A wnid.
    """

    depth: int
    corruption: str
    severity: int | None
    class_folder: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a path says: its split, the folder of its class, the path that its key is made from, and the rest."""

    split: str | None
    class_folder: str | None
    key_path: str
    corruption: str | None = None
    severity: int | None = None


@dataclass(frozen=True, slots=True)
class TreeShape:
    """The shape of one tree.

    Attributes:
        wrappers: Folders above the level of splits or classes, which all images share.
        splits: Folder -> split, where that level is one of splits.
        flat: Splits ("" where there are none) whose images all lie in one folder, "images", which is no class.
        is_corrupted: Whether all images lie as in ImageNet-C or ImageNet-P.
        wraps_splits_only: Whether the wrappers are classes after all where no splits lie below them.
    """

    wrappers: tuple[str, ...] = ()
    splits: Mapping[str, str] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    is_corrupted: bool = False
    wraps_splits_only: bool = False

    def place(self, parts: Sequence[str]) -> Place:
        """What the parts of a path (folders and file name) say."""
        if not self.holds(parts):
            return Place(None, None, "/".join(parts))
        inside = parts[len(self.wrappers) :]
        split = self.splits.get(inside[0]) if len(inside) > 1 else None
        # What lies beside the splits is of no class, whatever folders it lies in.
        if self.splits and split is None:
            return Place(None, None, "/".join(inside))
        found = read_corrupted_place(parts) if self.is_corrupted else None
        if found is not None:
            kept = [*([inside[0]] if split else []), *parts[found.depth :]]
            return Place(split, found.class_folder, "/".join(kept), found.corruption, found.severity)
        # The topmost folder below the split is the class; deeper ones only make the key.
        folders = inside[bool(self.splits) : -1]
        is_class = bool(folders) and not ((split or "") in self.flat and is_images(folders[0]))
        return Place(split, folders[0] if is_class else None, "/".join(inside))

    def holds(self, parts: Sequence[str]) -> bool:
        """Whether a path lies below the wrappers."""
        return len(parts) > len(self.wrappers) and tuple(parts[: len(self.wrappers)]) == self.wrappers


def read_corrupted_place(parts: Sequence[str]) -> CorruptedPlace | None:
    """Corruption, severity and class of a path such as defocus_blur/3/n01440764/x.JPEG, with any folders above.

    ImageNet-P's harder noises are named by folders such as gaussian_noise_2: the number is their severity.

    Args:
        parts: Folders and file name.
    """
    *folders, name = parts
    if len(folders) < 2 or not _WNID.fullmatch(folders[-1]):
        return None
    if extension_of(name) == VIDEO_EXTENSION:
        harder = _DIFFICULTY.fullmatch(folders[-2])
        corruption = harder[1] if harder else folders[-2]
        if corruption in PERTURBATIONS:
            return CorruptedPlace(len(folders) - 2, corruption, int(harder[2]) if harder else None, folders[-1])
    elif len(folders) > 2 and folders[-3] in CORRUPTIONS and _SEVERITY.fullmatch(folders[-2]):
        return CorruptedPlace(len(folders) - 3, folders[-3], int(folders[-2]), folders[-1])
    return None


class ShapeSurvey:
    """Looks at the paths of a tree one by one; what it keeps does not grow with their number."""

    def __init__(self) -> None:
        self._shared: list[str] | None = None
        self._least_folders = 0
        self._num_images = 0
        self._num_corrupted = 0

    @property
    def has_flat_images(self) -> bool:
        """Whether an image lies in no folder."""
        return self._shared is not None and self._least_folders == 0

    @property
    def first_folder(self) -> str | None:
        """The topmost folder of all images, if they share one."""
        return self._shared[0] if self._shared else None

    def add(self, parts: Sequence[str]) -> None:
        """Takes one path; files that are named as no images leave the shape as it is."""
        extension = extension_of(parts[-1])
        if extension not in IMAGE_EXTENSIONS and extension != VIDEO_EXTENSION:
            return
        is_corrupted = read_corrupted_place(parts) is not None
        # Such a video is no sample, so it may not narrow what the images share.
        if extension == VIDEO_EXTENSION and not is_corrupted:
            return
        self._num_images += 1
        self._num_corrupted += is_corrupted
        self._narrow(parts[:-1], len(parts) - 1)

    def merge(self, other: ShapeSurvey) -> None:
        """Takes all that another survey saw."""
        if other._shared is not None:
            self._narrow(other._shared, other._least_folders)
        self._num_images += other._num_images
        self._num_corrupted += other._num_corrupted

    def _narrow(self, folders: Sequence[str], least: int) -> None:
        if self._shared is None:
            self._shared, self._least_folders = list(folders), least
            return
        self._least_folders = min(self._least_folders, least)
        # Nearly all files lie in folders like those before, so the comparison comes before the narrowing.
        if self._shared != folders[: len(self._shared)]:
            pairs = zip(self._shared, folders, strict=False)
            self._shared = [mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]

    @property
    def is_corrupted(self) -> bool:
        """Whether there are images, and all lie as in ImageNet-C or ImageNet-P."""
        return 0 < self._num_images == self._num_corrupted

    def wrappers(self) -> tuple[str, ...]:
        """Folders that all images share, above the last folder of each, no split and no wnid among them."""
        found: list[str] = []
        # The last folder of each image stays: where all share even that, it is the class of a set of one class.
        for folder in (self._shared or [])[: max(0, self._least_folders - 1)]:
            if split_of(folder) or _WNID.fullmatch(folder):
                break
            found.append(folder)
        return tuple(found)


def is_wnid(name: str) -> bool:
    """Whether a name has the form of a WordNet id."""
    return _WNID.fullmatch(name) is not None


def is_images(folder: str) -> bool:
    """Whether a folder is named for what it holds, as Tiny-ImageNet's val/images is, and not for a class."""
    return folder.lower() == "images"
