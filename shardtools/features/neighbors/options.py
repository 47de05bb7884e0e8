"""What a user may ask of an index, and what `index/KIND.json` says of one.

Owns the names and the file's form. An index names the features it was built from by their digest, so that one of other
features is refused; the price is that features which were extracted anew need a new index, even where nothing changed
but the dataset's commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shardtools.documents import Document, Format
from shardtools.errors import OptionError
from shardtools.options import option

INDEX_VERSION = 1
METRICS = ("cosine", "l2")
KINDS = {
    "flat": "every row is looked at: exact, no file beside the features",
    "ivf": "rows in float16, in lists around centres, of which a few are looked at",
    "ivf-pq": "as ivf, but rows as short codes; the best are looked up in the features and ranked anew",
    "hnsw": "a graph over rows in float16, in memory as a whole",
}
"""Name -> what it is."""

SMALL = 1000
"""Rows below which looking at all of them takes no time, and codes could not be learned."""

DEVICES = ("auto", "cpu", "cuda")

_COUNTS = ("num_lists", "code_bytes", "links", "train_rows", "rerank", "memory_bytes", "recall_queries")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """How an index is built and searched.

    Attributes:
        kind: One of `KINDS`; `None` for "ivf-pq", or "flat" where there are fewer than `SMALL` rows.
        metric: "cosine" or "l2".
        num_lists: Of "ivf" and "ivf-pq"; `None` for 4 * sqrt(N), fewer where N is small.
        code_bytes: Bytes of a code of "ivf-pq"; `None` for D / 8, at most 128.
        links: Of a row of "hnsw", upwards of which there are twice as many at the bottom.
        train_rows: Most rows that centres and codes are learned from.
        rerank: "ivf-pq": candidates for each neighbour that are ranked anew.
        recall: What searching aims at, measured with k = `recall_k`: effort is doubled until it is reached.
        recall_k: Neighbours that recall is measured with.
        recall_queries: Rows that it is measured on.
        memory_bytes: Codes beyond this are kept on the disk ("ivf", "ivf-pq") or refused ("hnsw").
        seed: Of the rows that are learned from and measured on.
        device: One of `DEVICES`: where faiss-gpu is installed and sees GPUs, the index is sharded over them.

    Raises:
        OptionError: A value is out of range.
    """

    kind: str | None = field(default=None, metadata=option(choices=KINDS, unset=f"ivf-pq; flat below {SMALL} rows"))
    metric: str = field(default="cosine", metadata=option(choices=METRICS))
    num_lists: int | None = field(default=None, metadata=option("Lists of ivf and ivf-pq.", unset="4 * sqrt(N)"))
    code_bytes: int | None = field(
        default=None, metadata=option("Bytes of a code of ivf-pq.", unset="D / 8, at most 128")
    )
    links: int = field(default=32, metadata=option("Links of a row of hnsw."))
    train_rows: int = 100_000
    rerank: int = 8
    recall: float = field(default=0.95, metadata=option("Share of neighbours to be found."))
    recall_k: int = 20
    recall_queries: int = 500
    memory_bytes: int = field(
        default=4 * 10**9, metadata=option("Codes beyond it stay on the disk.", flag="--memory-gb", unit=10**9)
    )
    seed: int = 0
    device: str = field(default="auto", metadata=option(choices=DEVICES))

    def __post_init__(self) -> None:
        for name, known in (("kind", tuple(KINDS)), ("metric", METRICS), ("device", DEVICES)):
            if getattr(self, name) not in known and (name, getattr(self, name)) != ("kind", None):
                raise OptionError(f"{name} is one of {', '.join(known)}, found {getattr(self, name)!r}")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is at least 1, found {value}")
        if not 0 < self.recall <= 1:
            raise OptionError(f"recall is above 0 and at most 1, found {self.recall}")

    def kind_for(self, num_rows: int) -> str:
        """The kind that is built for so many rows."""
        return self.kind or ("flat" if num_rows < SMALL else "ivf-pq")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo(Document):
    """The content of `index/KIND.json`.

    Attributes:
        kind: One of `KINDS`.
        metric: "cosine" or "l2".
        features_sha256: Fingerprint of the features.
        num_rows: N.
        dim: D.
        effort: Lists or candidates that a search looks at: nprobe, or efSearch.
        rerank: See `IndexOptions`.
        recall: Measured share of the exact neighbours that are found.
        recall_k: With this many neighbours.
        recall_queries: On this many rows of the dataset, each without itself.
        num_bytes: Length of the index's files.
        seconds: That building took.
        settings: Further options that it was built with.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-index",
        version=INDEX_VERSION,
        what="the file of an index",
        remedy="build the index again",
        outdated="build the index again",
    )

    kind: str
    metric: str
    features_sha256: str
    num_rows: int
    dim: int
    effort: int
    rerank: int
    recall: float
    recall_k: int
    recall_queries: int
    num_bytes: int
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)


def index_path(kind: str) -> str:
    """Path of an index's facts in the features' folder; it is written last."""
    return f"index/{kind}.json"


def data_path(kind: str) -> str:
    """Path of an index as FAISS writes it."""
    return f"index/{kind}.faiss"


def lists_path(kind: str) -> str:
    """Path of lists that are kept on the disk."""
    return f"index/{kind}.ivfdata"
