"""Which folders of a tree are splits, and which are classes: decided on all of them, never on the first.

Owns the doubt. Where folders can be read in two ways the answer is an error that names both; the price is that some
trees need one option more. Pure functions of the folders' names and of which of them hold images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from shardtools.errors import SourceError
from shardtools.sources.tree.shape import is_images, split_of

Folders = Mapping[tuple[str, str], bool]
"""(topmost folder, the folder below it or "") -> whether images lie there; of a file directly in the topmost folder the
second name is ""."""

_CONTAINERS = frozenset(
    {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "data", "shards", "files", "dataset"}
)
"""Names that say what a folder holds; a lone one is hardly a class."""


def find_splits(
    folders: Folders, *, kind: str, url: str, classes: Collection[str] | None, strict: bool
) -> dict[str, str]:
    """Folder -> split; none where the folders are classes.

    Args:
        folders: Of the tree.
        kind: The source's kind, for the message.
        url: The source, likewise.
        classes: Names of the class set given by the user, if any: folders that are all in it are classes.
        strict: Whether a doubt is an error; else all folders are classes, as torchvision counts.

    Raises:
        SourceError: Folders named as splits stand beside others with images, or two of them name one split.
    """
    with_images = {top for (top, _), images in folders.items() if images}
    others = sorted(top for top in with_images if split_of(top) is None)
    named = sorted(with_images.difference(others))
    if not named:
        return {}
    if others:
        if not strict or (classes is not None and set(classes).issuperset(with_images)):
            return {}
        # "train" among many folders of images is a vehicle (CIFAR-100, COCO). With class folders inside, or beside one
        # other folder only, it may as well be a split.
        is_deep = any(images and second for (top, second), images in folders.items() if top in named)
        if not is_deep and len(named) == 1 and len(others) > 1:
            return {}
        raise SourceError(
            f"{url} has folders named as splits ({_some(named)}) beside others with images ({_some(others)}), which "
            f"can be read in two ways: give --source-kind {kind} to take every folder for a class; or move "
            f"{_some(others)} away to read {_some(named)} as splits, each of which can be a SOURCE of its own too"
        )
    found: dict[str, str] = {}
    for top in sorted({top for top, _ in folders}):
        split = split_of(top)
        if split is None:
            continue
        twin = next((one for one, other in found.items() if other == split), None)
        if twin is not None:
            raise SourceError(f"{url} has folders {twin!r} and {top!r} for split {split}: merge them, or rename one")
        found[top] = split
    return found


def find_flat(folders: Folders, splits: Mapping[str, str]) -> frozenset[str]:
    """Splits ("" where there are none) whose images all lie in a folder "images", as Tiny-ImageNet's val and test.

    Where "images" stands beside other folders of images, in any split, it is a class like they are.
    """
    of_split: dict[str, set[str]] = {}
    for (top, second), images in folders.items():
        if images and (not splits or top in splits):
            of_split.setdefault(splits.get(top, ""), set()).add(second if splits else top)
    flat = {split for split, found in of_split.items() if all(map(is_images, found))}
    if any(is_images(one) for split, found in of_split.items() if split not in flat for one in found):
        return frozenset()
    return frozenset(flat)


def refuse_lone_folder(folders: Folders, wrappers: Sequence[str], *, kind: str, url: str) -> None:
    """Refuses class folders that are one folder only, where that is hardly meant.

    Args:
        folders: Of the tree below the wrappers.
        wrappers: Folders that all images share, of a kind that takes the topmost of them for the class.
        kind: The source's kind, for the message.
        url: The source, likewise.

    Raises:
        SourceError: The one folder holds folders of images, or is named for what it holds.
    """
    below = sorted({top for (top, _), images in folders.items() if images})
    inner = "/".join([url.rstrip("/"), *wrappers])
    if wrappers and len(below) > 1:
        raise SourceError(
            f"{url} has all images in one folder, {wrappers[0]}, with folders {_some(below)} in it, which can be read "
            f"in two ways: give {inner} as SOURCE to take {_some(below)} for the classes, or --source-kind {kind} "
            f"to take {wrappers[0]} for the one class, as torchvision does"
        )
    if not wrappers and len(below) == 1 and below[0].lower() in _CONTAINERS:
        alone = (
            f"give {inner}/{below[0]} as SOURCE"
            if kind == "imagefolder"
            else f"unpack {below[0]} and give it as SOURCE"
        )
        raise SourceError(
            f"{url} has all images in one folder, {below[0]}, which can be read in two ways: {alone} to write them "
            f"without labels, or --source-kind {kind} to take {below[0]} for their class"
        )


def refuse_shifted(folders: Collection[str], classes: Collection[str], *, kind: str, url: str) -> None:
    """Refuses a folder that holds files but no images and would shift the numbers of the classes after it.

    Args:
        folders: Topmost folders that hold files.
        classes: Class folders that hold images.
        kind: The source's kind, for the message.
        url: The source, likewise.

    Raises:
        SourceError: There is one.
    """
    # Numbers are labels themselves, and nothing shifts them.
    if all(name.isdigit() for name in classes):
        return
    last = max(classes)
    name = min((one for one in folders if one not in classes), default=last)
    if name < last:
        raise SourceError(
            f"{url} has files but no images in the folder {name}, before {last} in the order of classes, which can be "
            f"read in two ways: give --source-kind {kind} to count {name} as a class, as torchvision's allow_empty "
            "does; or move it away, or give --classes (a .csv of the others' names) to leave it out"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
