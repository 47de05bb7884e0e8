"""Class folders of image files, as torchvision's ImageFolder reads them, with or without split folders around them.

Owns the listing of a folder or a bucket as a tree. Every file that is not hidden gives one sample, readable or not.
Folders around the splits (Kaggle's ILSVRC/Data/CLS-LOC) are left out; around classes they are not, as torchvision takes
the topmost folder for the class. Folders that can be read in two ways are an error, unless the kind was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shardtools.errors import SourceError
from shardtools.sources.options import SourceOptions
from shardtools.sources.top_level import DANGLING, DEVICE, EMPTY, FILE, Found, list_top_level, walk
from shardtools.sources.tree import table as table_forms
from shardtools.sources.tree.archive_members import is_video
from shardtools.sources.tree.keys import make_key
from shardtools.sources.tree.listing import list_tree
from shardtools.sources.tree.shape import ShapeSurvey, TreeShape
from shardtools.sources.tree.source import TreeSource
from shardtools.sources.tree.table import ROOT, TreeFile, TreeTable
from shardtools.sources.tree.video import count_frames, require_opencv
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

__all__ = ["make_key", "open_imagefolder", "stored_files"]


def open_imagefolder(
    storage: Storage,
    options: SourceOptions,
    classes: Sequence[ImageClass] | None,
    folder: Path,
    *,
    strict: bool = False,
) -> TreeSource:
    """Lists the folder and makes its keys and labels.

    Args:
        storage: The root.
        options: How to read it.
        classes: The class set given by the user, if any.
        folder: For the listing.
        strict: Whether folders that can be read in two ways are an error; else they are read as torchvision reads them.

    Raises:
        SourceError: There are no files, no such split, names that cannot be used, or a doubt with `strict`.
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
            strict=strict,
        )


_FORMS = {DANGLING: table_forms.DANGLING, DEVICE: table_forms.LINK}


def stored_files(storage: Storage, found: Iterator[Found]) -> Iterator[TreeFile]:
    """Rows of what lies in a folder: files of the tree themselves, folders that hold nothing, links to nowhere."""
    for one in found:
        if one.what == EMPTY:
            yield TreeFile(ROOT, f"{one.path}/", table_forms.FOLDER, 0, 0, 0)
        elif one.what != FILE:
            yield TreeFile(ROOT, one.path, _FORMS[one.what], 0, 0, 0)
        else:
            num_frames = 0
            if is_video(one.path):
                require_opencv(storage.object_url(one.path))
                num_frames = max(1, count_frames(storage.read(one.path)))
            yield TreeFile(ROOT, one.path, table_forms.FILE, 0, one.num_bytes, one.num_bytes, num_frames=num_frames)
