"""The labels of ILSVRC2012's validation images, which are not in their archive.

Owns the forms in which these are passed on: the development kit's ground truth (ILSVRC2012_ID, its own order of
classes), Kaggle's LOC_val_solution.csv, and lists of wnids or of positions among the sorted wnids. Every line is
checked; the price of the kit is SciPy, which reads its meta.mat.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardtools.errors import SourceError
from shardtools.sources.tree.shape import is_wnid
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

NUM_CLASSES = 1000
_KIT = re.compile(r"ILSVRC2012_devkit_t12\.(tar\.gz|tgz|tar)")
_KIT_FOLDER = "ILSVRC2012_devkit_t12/data/"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"
SOLUTION = "LOC_val_solution.csv"
"""Kaggle's name for the list."""
_LISTS = re.compile(
    r"LOC_val_solution\.csv|(ILSVRC2012_)?(img_)?val(idation)?([-_.][^/]*)?\.(txt|csv)"
    r"|(imagenet_)?2012_validation_synset_labels\.txt|synset_labels\.txt",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"(ILSVRC2012_val_[0-9]{8})(?:\.jpe?g)?", re.IGNORECASE)
_MAX_LABEL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ValidationLabels:
    """Stem of each image ("ILSVRC2012_val_00000001") -> wnid, and where that is said."""

    wnids: Mapping[str, str]
    where: str
    label_source: str


def find_labels(storage: Storage, names: Sequence[str], classes: Sequence[ImageClass]) -> ValidationLabels:
    """The labels that lie beside the archives: those of the kit, else of the one list.

    Args:
        storage: The folder.
        names: Files directly in it.
        classes: ImageNet-1K's classes in the order that positions in a list count.

    Raises:
        SourceError: There are none or several lists, or a line that is no label.
    """
    # The kit first: its numbers come with the classes that they mean, where a list of positions does not say its order.
    kits = [name for name in names if _KIT.fullmatch(name)]
    if kits:
        where = storage.object_url(kits[0])
        files = _unpack_kit(storage, kits[0], where)
        return _read_kit(files[_GROUND_TRUTH], files[_META], f"{where}, {_GROUND_TRUTH}", where)
    if storage.exists(_KIT_FOLDER + _META) and storage.exists(_KIT_FOLDER + _GROUND_TRUTH):
        truth, meta = (_KIT_FOLDER + name for name in (_GROUND_TRUTH, _META))
        return _read_kit(storage.read(truth), storage.read(meta), storage.object_url(truth), storage.object_url(meta))
    lists = [name for name in names if _LISTS.fullmatch(name)]
    if len(lists) != 1:
        found = f"found {', '.join(lists)}: move all but one away" if lists else "found neither: fetch one of them"
        raise SourceError(
            f"{storage.url} has validation images: expected ILSVRC2012_devkit_t12.tar.gz or one list of labels such as "
            f"LOC_val_solution.csv beside them, {found}"
        )
    if storage.size(lists[0]) > _MAX_LABEL_BYTES:
        raise SourceError(f"{storage.object_url(lists[0])} is over {_MAX_LABEL_BYTES} bytes: expected 50,000 lines")
    where = storage.object_url(lists[0])
    sorted_wnids = sorted(one.wnid for one in classes)
    return ValidationLabels(read_list(storage.read(lists[0]), sorted_wnids, where), where, "list")


def _unpack_kit(storage: Storage, path: str, where: str) -> dict[str, bytes]:
    """The kit's two files by name."""
    found: dict[str, bytes] = {}
    try:
        with storage.open(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as kit:
            for info in kit:
                name = info.name.rpartition("/")[2]
                if name in (_GROUND_TRUTH, _META) and info.isreg() and info.size <= _MAX_LABEL_BYTES:
                    content = kit.extractfile(info)
                    found[name] = content.read() if content is not None else b""
                if len(found) == 2:
                    break
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SourceError(f"{where} is no intact tar.gz: {error}: fetch it again") from None
    missing = [name for name in (_GROUND_TRUTH, _META) if name not in found]
    if missing:
        raise SourceError(f"{where} holds no {missing[0]}: cut off, or not the kit of tasks 1 and 2: fetch it again")
    return found


def _read_kit(truth: bytes, meta: bytes, where: str, meta_where: str) -> ValidationLabels:
    wnids = _read_meta(meta, meta_where)

    def of_number(text: str, place: str) -> str:
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= NUM_CLASSES):
            raise SourceError(
                f"{place}: expected an ILSVRC2012_ID from 1 to {NUM_CLASSES}, found {text!r}: fetch it again"
            )
        wnid = wnids.get(int(text))
        if wnid is None:
            raise SourceError(f"{place}: meta.mat has no class with ILSVRC2012_ID {text}: fetch the kit again")
        return wnid

    found = {_stem(number): of_number(text, place) for number, text, place in _lines(truth, where)}
    return ValidationLabels(found, where, "devkit")


def _read_meta(content: bytes, where: str) -> dict[int, str]:
    """ILSVRC2012_ID -> wnid of the classes; those above them in the hierarchy have larger numbers and are left out."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise SourceError(f"{where}: reading meta.mat needs SciPy: pip install scipy") from None
    try:
        synsets = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"].reshape(-1)
        pairs = [(int(one["ILSVRC2012_ID"]), str(one["WNID"])) for one in synsets]
    except Exception as error:
        # SciPy's reader fails with whatever the bytes make it trip over.
        raise SourceError(f"{where}: meta.mat cannot be read ({type(error).__name__}): fetch it again") from None
    found = {number: wnid for number, wnid in pairs if 1 <= number <= NUM_CLASSES}
    odd = [wnid for wnid in found.values() if not is_wnid(wnid)]
    if odd:
        raise SourceError(f"{where}: meta.mat has {odd[0]!r} for a wnid: fetch it again")
    return found


def read_list(content: bytes, sorted_wnids: Sequence[str], where: str) -> dict[str, str]:
    """Labels from a list: stem of the image -> wnid.

    A line holds the image's name and its class, or the class alone where lines stand in the order of the images. A
    class is a wnid or a position from 0 among the sorted wnids. Kaggle's lines go on with boxes of the same class.

    Args:
        content: UTF-8; a first line without an image or class is a header.
        sorted_wnids: What positions count in.
        where: The file, for messages.

    Raises:
        SourceError: A line is none of these, or one image comes twice.
    """
    found: dict[str, str] = {}
    of_class = _class_reader(sorted_wnids)
    shift = 0
    for number, text, place in _lines(content, where):
        fields = [field for field in re.split(r"[\s,;]+", text) if field] or [""]
        image = _IMAGE.fullmatch(fields[0])
        # Only the first line may be a header. From there on lines count one less.
        if number == 1 and image is None and not is_wnid(fields[0]) and not fields[0].isdigit():
            shift = 1
            continue
        stem = image[1] if image else _stem(number - shift)
        named = fields[1:] if image else fields
        if named in ([], [""]) or (image is None and len(named) > 1):
            raise SourceError(f"{place}: expected an image and its class, found {text[:80]!r}: set the line right")
        wnid = of_class(named[0], place)
        # The second condition finds the same label given twice: each line must add one image.
        if found.setdefault(stem, wnid) != wnid or len(found) != number - shift:
            raise SourceError(f"{place}: {stem} has a label in an earlier line: keep one of them")
        other = next((field for field in named[1:] if is_wnid(field) and field != wnid), None)
        if other is not None:
            raise SourceError(f"{place}: expected one class, found {wnid} and {other}: set the line right")
    return found


def _class_reader(sorted_wnids: Sequence[str]) -> Callable[[str, str], str]:
    def of_class(text: str, place: str) -> str:
        if is_wnid(text):
            return text
        if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) < len(sorted_wnids)):
            raise SourceError(
                f"{place}: expected a wnid or a position from 0 to {len(sorted_wnids) - 1}, found {text[:40]!r}: set "
                "the line right"
            )
        return sorted_wnids[int(text)]

    return of_class


def _lines(content: bytes, where: str) -> Iterator[tuple[int, str, str]]:
    """Number from 1, text, and place of each line; empty ones at the end are none."""
    try:
        lines = content.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}, byte {error.start}: expected text in UTF-8: save it so") from None
    for number, line in enumerate(lines, start=1):
        yield number, line.strip(), f"{where}, line {number}"


def _stem(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"
