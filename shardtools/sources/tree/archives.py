"""Archives of class folders: tars, zips, compressed tars, and tars that are classes themselves.

Owns what a set of archives means as one tree. ImageNet-R is one tar of class folders, ImageNet-C a few tars whose
folders go on in each other, ImageNet-21K a folder of one tar a class. Only names are looked at; the price is that a tar
of images without folders is a class where others stand beside it, or where its name is a wnid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shardtools.errors import OptionError, ShardError, SourceError
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.options import SourceOptions
from shardtools.sources.patterns import SourceFiles, find_files, has_pattern, is_local_folder
from shardtools.sources.top_level import EMPTY, Found, check_name, find_all
from shardtools.sources.tree.archive_forward import ForwardReader
from shardtools.sources.tree.archive_members import ARCHIVE_SUFFIXES as ARCHIVE_SUFFIXES
from shardtools.sources.tree.archive_members import first_names, read_files, tree_parts
from shardtools.sources.tree.imagefolder import stored_files
from shardtools.sources.tree.listing import list_tree
from shardtools.sources.tree.shape import ShapeSurvey, TreeShape, is_wnid, split_of
from shardtools.sources.tree.source import TreeSource
from shardtools.sources.tree.table import BESIDE, ROOT, TreeFile, TreeTable
from shardtools.sources.tree.video import require_opencv
from shardtools.storage import Storage, StoredObject, read_ahead
from shardtools.taxonomy import ImageClass

_SUFFIX = re.compile("|".join(re.escape(suffix) + "$" for suffix in ARCHIVE_SUFFIXES))
_ARCHIVES_TOGETHER = 8
_READ_ALONE_BYTES = 1 << 30
"""Of archives up to this size in a bucket, several are listed at once."""
_MEMBERS_LOOKED_AT = 300


@dataclass(frozen=True, slots=True)
class Archives:
    """Archives below one root, in the order they are read, and the files that lie beside them."""

    storage: Storage
    archives: tuple[StoredObject, ...]
    loose: tuple[Found, ...]

    @property
    def paths(self) -> list[str]:
        """The archives' paths."""
        return [stored.path for stored in self.archives]


def open_archives(options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path) -> TreeSource:
    """Finds the archives and reads their headers.

    Args:
        options: How to read them; the source is an archive, a folder of archives, or a pattern.
        classes: The class set given by the user, if any.
        folder: For the listing.

    Raises:
        SourceError: No archives, a name that may not be used or that comes twice in one archive, a damaged zip.
        ShardError: A tar is cut off or damaged.
        OptionError: `shuffle` is asked for, and an archive is compressed as a whole.
    """
    found = find_archives(options.source)
    is_forward = refuse_shuffle(found.paths, options)
    with TreeTable(folder) as table:
        surveys = [ShapeSurvey() for _ in found.archives]
        for file in list_files(found):
            surveys[file.archive].add(tree_parts(file.path))
            table.add(file)
        for file in stored_files(found.storage, iter(found.loose)):
            # Whoever asks for archives does not ask for the pictures beside them, but they must not vanish either.
            is_image = extension_of(file.path) in IMAGE_EXTENSIONS
            table.add(file._replace(form=BESIDE) if is_image else file)
        finish_table(table, found)
        stems, shape = _arrange(found.paths, surveys)
        return list_tree(
            table,
            partial(_parts, stems),
            shape,
            kind="archive",
            storage=found.storage,
            archives=found.paths,
            options=options,
            seed=None if is_forward or options.shuffle is False else options.shuffle_seed,
            classes=classes,
            folder=folder,
            strict=options.kind == "auto",
        )


def refuse_shuffle(paths: Iterable[str], options: SourceOptions) -> bool:
    """Whether one of the archives can only be read forward.

    Raises:
        OptionError: There is one, and `shuffle` is asked for.
    """
    forward = next((path for path in paths if ForwardReader.reads(path)), None)
    if forward is not None and options.shuffle:
        raise OptionError(
            f"{forward} is compressed as a whole and read forward, in its own order: drop --shuffle, or unpack it to a "
            "plain .tar"
        )
    return forward is not None


def list_files(found: Archives) -> Iterator[TreeFile]:
    """Files of all archives, in order."""
    storage = found.storage
    calls = [partial(read_files, storage, stored.path, number) for number, stored in enumerate(found.archives)]
    # Listed together, each archive is a list in memory; a huge one is walked alone, a file at a time.
    together = not storage.is_local and all(stored.num_bytes <= _READ_ALONE_BYTES for stored in found.archives)
    if not together or len(calls) == 1:
        for call in calls:
            yield from call()
        return
    for files in read_ahead((partial(_listed, call) for call in calls), _ARCHIVES_TOGETHER):
        yield from files


def _listed(call: partial[Iterator[TreeFile]]) -> list[TreeFile]:
    return list(call())


def finish_table(table: TreeTable, found: Archives) -> None:
    """Ends the listing.

    Raises:
        SourceError: There are no files, or one archive has a path twice.
    """
    table.finish()
    if not len(table):
        raise SourceError(f"{found.storage.url}: {', '.join(found.paths[:3])} hold no files: expected images")
    repeated = table.repeated()
    if repeated is not None:
        first, second = repeated
        raise SourceError(
            f"{found.storage.object_url(found.paths[first.archive])} has {first.path!r} twice, at byte {first.offset} "
            f"and at byte {second.offset}: tools that unpack it keep one of them, pack it anew with one"
        )
    videos = next((file for file in table.files() if file.num_frames), None)
    if videos is not None:
        require_opencv(videos.path)


def _arrange(paths: Sequence[str], surveys: Sequence[ShapeSurvey]) -> tuple[Mapping[int, str], TreeShape]:
    """The folders that archives stand for, by their numbers, and the shape of the whole."""
    stems = {number: archive_stem(path) for number, path in enumerate(paths)}
    whole = ShapeSurvey()
    for survey in surveys:
        whole.merge(survey)
    # train.tar and val.tar are splits, unless each of them holds a split folder itself.
    are_splits = all(map(split_of, stems.values())) and not all(
        survey.first_folder is not None and split_of(survey.first_folder) for survey in surveys
    )
    # Images in no folder have no other class than their archive's name.
    are_classes = whole.has_flat_images and (len(paths) > 1 or is_wnid(stems[0]))
    if are_classes or are_splits:
        return stems, TreeShape(is_corrupted=whole.is_corrupted)
    return {}, TreeShape(whole.wrappers(), is_corrupted=whole.is_corrupted)


def archive_stem(path: str) -> str:
    """Name of an archive without folders and suffix."""
    return _SUFFIX.sub("", path.rpartition("/")[2])


def _parts(stems: Mapping[int, str], file: TreeFile) -> list[str]:
    if file.archive == ROOT:
        # Files beside the archives belong to no class, whatever folders they lie in.
        return [file.path.replace("/", "_")]
    parts = tree_parts(file.path)
    return [stems[file.archive], *parts] if stems else parts


def find_archives(source: str) -> Archives:
    """The archives that a source names, and where it is a folder the files beside them, all that are not hidden.

    Raises:
        SourceError: There are none.
        StorageError: The place cannot be read.
    """
    files = find_files(source, ARCHIVE_SUFFIXES)
    odd = [path for path in files.paths if not path.endswith(ARCHIVE_SUFFIXES)]
    if odd:
        raise SourceError(f"{source} names {odd[0]}, which is no archive: expected {', '.join(ARCHIVE_SUFFIXES)}")
    storage = files.storage
    if not is_local_folder(source) and (source.endswith(ARCHIVE_SUFFIXES) or has_pattern(source)):
        return Archives(storage, tuple(StoredObject(path, storage.size(path)) for path in files.paths), ())
    stored = find_all(storage)
    for one in stored:
        check_name(one.path, storage)
    archives = frozenset(files.paths)
    return Archives(
        storage,
        tuple(StoredObject(one.path, one.num_bytes) for one in stored if one.path in archives),
        tuple(one for one in stored if one.path not in archives and one.what != EMPTY),
    )


def looks_like_archive(files: SourceFiles) -> bool:
    """Whether archives hold class folders or class tars rather than WebDataset's samples, by the first one.

    Args:
        files: The archives.
    """
    return holds_class_folders(files.storage, files.paths[0]) or False


def holds_class_folders(storage: Storage, path: str) -> bool | None:
    """Whether an archive holds class folders or class tars rather than WebDataset's samples.

    Reads the headers of the first few hundred files. A zip always does. A tar does if it holds a tar, or if all of its
    images lie in folders and none has other files of its key beside it (1.jpg with 1.cls), or if its images lie in no
    folder but its name says a class (n01440764.tar with n01440764_10026.JPEG). `None` for a tar that says
    nothing: without images, or one that cannot be read so far.
    """
    if path.endswith(".zip"):
        return True
    try:
        names = first_names(storage, path, _MEMBERS_LOOKED_AT)
    except (ShardError, SourceError):
        return None
    # In the order of certainty: tars within a tar, then files that share a key, then folders, and only then names.
    if any(name.endswith(".tar") for name in names):
        return True
    images = [name for name in names if extension_of(name) in IMAGE_EXTENSIONS]
    if not images:
        return None
    keys = {_webdataset_key(name) for name in images}
    if any(_webdataset_key(name) in keys for name in names if name not in set(images)):
        return False
    if all("/" in name for name in images):
        return True
    stem = archive_stem(path)
    return is_wnid(stem) or all(name.startswith(f"{stem}_") for name in images)


def _webdataset_key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]
