"""What is known of a published set before any of its files is read, and what its reader gives.

Owns the contract of a set: data that says where its files lie and what they should come to, and one function that
reads its lists. A new set is one such file and a line in `registry.py`. The price of reading the published lists here,
and not through torchvision: its layouts are written down once more; a test holds them against torchvision's readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shardtools.sources.image.check import Rejection
from shardtools.sources.published.folder import SetFolder

Label = int | tuple[int, ...]
"""A class, or the rising classes of an image that may have several."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of a set's lists.

    Attributes:
        split: One of the set's.
        path: Below the set's folder; of an image in several files the first of them.
        label: 0-based.
        more: The other files of an image in several, in the order that `PublishedSet.join` takes.
        key_path: What the key is made of; "" for `path`.
    """

    split: str
    path: str
    label: Label
    more: tuple[str, ...] = ()
    key_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLists:
    """What the lists of a set say.

    Attributes:
        classes: Class names in the order of the labels.
        images: In the order of the lists.
        notes: What was found in them that a reader of figures should know, one line each.
        num_all: Images that the lists name before any is left out, where that number is published; else `None`.
    """

    classes: Sequence[str]
    images: Iterable[Listed]
    notes: tuple[str, ...] = ()
    num_all: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """A published set.

    Attributes:
        name: In `registry.SETS`.
        title: As its authors call it.
        folders: Where its files may lie below the root that a user gives, the first that has `marker` counts; the first
            one is where torchvision or the archive itself puts them.
        marker: A file of the set, by which its folder is told.
        read: Its lists. It may count on `SetFolder`'s own messages for what is missing or damaged.
        images: Folder of the images, which keys leave out; "" where they have none in common.
        join: Makes one image of the files of one, or of bytes that are to be read otherwise than they are; `None` keeps
            the bytes.
        num_classes: Classes.
        splits: Split -> images, as published; empty where no count of the splits is.
        num_all: Images that its lists name in all, where that is published and splits are drawn here; else `None`.
        fit_splits: Splits that the study which this description follows fits on.
        test_split: The split that it reports.
        metric: The metric that it reports: "top1", "kappa" (quadratic weighted), "macro_f1" or "roc_auc".
        download: What to fetch, from where.
        traps: What makes figures of this set differ from each other.
        license: What its authors say on use; the files are the user's.
        citation: Authors, title, year.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    marker: str
    read: Callable[[SetFolder], SetLists]
    images: str = ""
    join: Callable[[Sequence[bytes]], bytes | Rejection] | None = None
    num_classes: int
    splits: Mapping[str, int]
    num_all: int | None = None
    fit_splits: tuple[str, ...] = ("train", "val")
    test_split: str = "test"
    metric: str = "top1"
    download: str
    traps: tuple[str, ...] = field(default=())
    license: str
    citation: str
