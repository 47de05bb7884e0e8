"""What the folders of a tree are: splits, classes, wrappers around them, a folder of images that is no class.

Owns the look at the whole tree before anything is listed: names of all files, those of folders without files among
them. The price is a few passes over the table of files, which lies on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from shardtools.errors import SourceError
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.tree.annotations import Annotations, is_annotations, read_annotations
from shardtools.sources.tree.shape import TreeShape
from shardtools.sources.tree.source import read_file
from shardtools.sources.tree.splits import Folders, find_flat, find_splits, refuse_lone_folder, refuse_shifted
from shardtools.sources.tree.table import FOLDER, TreeFile, TreeTable
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

PartsOf = Callable[[TreeFile], Sequence[str]]
"""Folders and file name of a file in the tree."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that is to be listed.

    Attributes:
        table: Its files; finished.
        parts_of: Where in the tree a file lies.
        storage: Where the archives, or the files, lie.
        archives: The archives' paths, by number.
        kind: The source's kind.
        classes: The class set given by the user, if any.
        strict: Whether folders that can be read in two ways are an error.
    """

    table: TreeTable
    parts_of: PartsOf
    storage: Storage
    archives: Sequence[str]
    kind: str
    classes: Sequence[ImageClass] | None
    strict: bool

    @property
    def url(self) -> str:
        """The source."""
        return self.storage.url

    def read(self, file: TreeFile) -> bytes:
        """The content of a small file."""
        return read_file(self.storage, self.archives, file)

    def where(self, file: TreeFile) -> str:
        """The file, for messages."""
        path = file.path if file.archive < 0 else f"{self.archives[file.archive]}/{file.path}"
        return self.storage.object_url(path)


@dataclass(frozen=True, slots=True)
class Names:
    """What the folders of a tree are.

    Attributes:
        shape: Of the tree.
        splits: Its splits.
        classes: Class folders of all splits.
        without_images: Those of them that hold none.
        corruptions: Names of corruptions.
        annotations: Split -> labels of its images, which lie in no class folder.
    """

    shape: TreeShape
    splits: tuple[str, ...]
    classes: frozenset[str]
    without_images: frozenset[str]
    corruptions: tuple[str, ...]
    annotations: Mapping[str, Annotations]


def survey_tree(tree: Tree, shape: TreeShape) -> Names:
    """Says what the folders of a tree are.

    Raises:
        SourceError: They can be read in two ways and the tree is strict, or a list of labels is none.
    """
    wnids = None if tree.classes is None else {one.wnid for one in tree.classes}
    folders = _folders(tree, shape)

    def splits() -> dict[str, str]:
        return find_splits(folders, kind=tree.kind, url=tree.url, classes=wnids, strict=tree.strict)

    found = splits()
    below, wrappers = folders, shape.wrappers
    is_folder = shape.wraps_splits_only
    # A folder that all images share is left out only around splits; else it is the one class, as torchvision counts.
    if is_folder and not found and wrappers:
        shape = replace(shape, wrappers=())
        folders = _folders(tree, shape)
        found = splits()
    shape = replace(shape, splits=found)
    shape = replace(shape, flat=find_flat(folders, found))
    annotations = _annotations(tree, shape)
    if not found:
        # "images" is no class where a list gives the classes; without one it is what torchvision takes it for.
        shape = replace(shape, flat=frozenset(annotations))
    is_doubtful = tree.strict and not found and not annotations and not shape.is_corrupted
    if is_doubtful:
        # Archives leave out what all images share, and so have no wrappers to doubt.
        refuse_lone_folder(below, wrappers if is_folder else (), kind=tree.kind, url=tree.url)
    seen: dict[str, bool] = {}
    corruptions: set[str] = set()
    for file in tree.table.files():
        place = shape.place(tree.parts_of(file))
        if place.class_folder is not None:
            seen[place.class_folder] = seen.get(place.class_folder, False) or _is_image(file)
        if place.corruption is not None:
            corruptions.add(place.corruption)
    classes = frozenset(seen)
    if not classes and annotations:
        classes = frozenset(wnid for one in annotations.values() for wnid in one.classes.values())
    elif is_doubtful and tree.classes is None:
        without_files = _only_empty(tree, shape)
        with_files = {top for top, _ in folders if top not in without_files}
        refuse_shifted(with_files, [name for name, images in seen.items() if images], kind=tree.kind, url=tree.url)
    return Names(
        shape,
        tuple(sorted(set(found.values()))),
        classes,
        frozenset(name for name, images in seen.items() if not images),
        tuple(sorted(corruptions)),
        annotations,
    )


def _is_image(file: TreeFile) -> bool:
    return file.num_frames > 0 or extension_of(file.path) in IMAGE_EXTENSIONS


def _folders(tree: Tree, shape: TreeShape) -> Folders:
    """The two topmost folders of each file below the wrappers, and whether they hold images."""
    depth = len(shape.wrappers)
    found: dict[tuple[str, str], bool] = {}
    for file in tree.table.files():
        parts = tree.parts_of(file)
        if len(parts) > depth + 1 and shape.holds(parts):
            both = parts[depth], parts[depth + 1] if len(parts) > depth + 2 else ""
            found[both] = found.get(both, False) or _is_image(file)
    return found


def _only_empty(tree: Tree, shape: TreeShape) -> set[str]:
    """Topmost folders without any file."""
    depth = len(shape.wrappers)
    all_folders: set[str] = set()
    with_files: set[str] = set()
    for file in tree.table.files():
        parts = tree.parts_of(file)
        if len(parts) > depth + 1:
            (all_folders if file.form == FOLDER else with_files).add(parts[depth])
    return all_folders - with_files


def _annotations(tree: Tree, shape: TreeShape) -> dict[str, Annotations]:
    """The lists of labels that lie beside the folders "images", by split.

    Raises:
        SourceError: There are two for one split, or a line of one is none.
    """
    found: dict[str, Annotations] = {}
    if not shape.flat:
        return found
    for file in tree.table.files():
        parts = tree.parts_of(file)
        place = shape.place(parts)
        inside = len(parts) - len(shape.wrappers) - bool(shape.splits)
        split = place.split or ""
        if file.form == FOLDER or inside != 1 or split not in shape.flat or not is_annotations(parts[-1]):
            continue
        if split in found:
            raise SourceError(f"{tree.where(file)} and {found[split].where} give labels of one split: keep one of them")
        found[split] = read_annotations(tree.read(file), tree.where(file))
    return found
