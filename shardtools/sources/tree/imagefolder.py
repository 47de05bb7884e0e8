"""Class folders of image files, as torchvision's ImageFolder reads them, with or without split folders around them.

Owns the listing of a folder or a bucket as a tree. Every file that is not hidden gives one sample, readable or not.
Folders around the splits (Kaggle's ILSVRC/Data/CLS-LOC) are left out; around classes they are not, as torchvision takes
the topmost folder for the class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shardtools.errors import SourceError
from shardtools.sources.options import SourceOptions
from shardtools.sources.top_level import list_top_level, walk
from shardtools.sources.tree.archive_members import is_video
from shardtools.sources.tree.keys import make_key
from shardtools.sources.tree.listing import list_tree
from shardtools.sources.tree.shape import ShapeSurvey, TreeShape
from shardtools.sources.tree.source import TreeSource
from shardtools.sources.tree.table import FILE, ROOT, TreeFile, TreeTable
from shardtools.sources.tree.video import count_frames, require_opencv
from shardtools.storage import Storage, StoredObject
from shardtools.taxonomy import ImageClass

__all__ = ["make_key", "open_imagefolder", "stored_files"]


def open_imagefolder(
    storage: Storage, options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path
) -> TreeSource:
    """Lists the folder and makes its keys and labels.

    Args:
        storage: The root.
        options: How to read it.
        classes: The class set given by the user, if any.
        folder: For the listing.

    Raises:
        SourceError: There are no files, no such split, or names that cannot be used.
    """
    survey = ShapeSurvey()
    with TreeTable(folder) as table:
        for file in stored_files(storage, walk(storage, list_top_level(storage))):
            survey.add(file.path.split("/"))
            table.add(file)
        table.finish()
        if not len(table):
            raise SourceError(f"{storage.url} holds no files: expected a folder of images for each class")
        return list_tree(
            table,
            lambda file: file.path.split("/"),
            TreeShape(survey.wrappers(), is_corrupted=survey.is_corrupted, wraps_splits_only=True),
            kind="imagefolder",
            storage=storage,
            archives=(),
            options=options,
            seed=None if options.shuffle is False else options.shuffle_seed,
            classes=classes,
            folder=folder,
        )


def stored_files(storage: Storage, found: Iterator[StoredObject]) -> Iterator[TreeFile]:
    """Rows of objects that are files of the tree themselves."""
    for stored in found:
        num_frames = 0
        if is_video(stored.path):
            require_opencv(storage.object_url(stored.path))
            num_frames = max(1, count_frames(storage.read(stored.path)))
        yield TreeFile(ROOT, stored.path, FILE, 0, stored.num_bytes, stored.num_bytes, num_frames=num_frames)
