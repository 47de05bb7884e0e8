"""What verify found: problems, one line each, and how much was looked at.

Owns the kinds of problems. The price of one flat list: a damaged shard shows as several problems, the shard's own and
those of the images in it; `part` ties them together.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS: dict[str, str] = {
    "commit": "dataset.json is missing, unreadable or contradicts the parts",
    "plan": "plan.json is missing, unreadable or belongs to another dataset",
    "unfinished": "the dataset is not whole yet",
    "orphan": "a file that the dataset does not list",
    "compact": "a merged manifest file is missing, altered or holds other rows than the parts",
    "part-missing": "a manifest part is missing",
    "part-altered": "a manifest part differs from its digest or cannot be read",
    "part-content": "a manifest part and dataset.json contradict each other",
    "shard-missing": "a shard is missing",
    "shard-swapped": "a shard holds the content of another one",
    "shard-altered": "a shard's length or digest differs",
    "shard-structure": "a shard is no intact tar, or its members are not adjacent",
    "shard-members": "a shard and its rows list different samples",
    "image-altered": "an image's bytes differ from their digest, or are cut off",
    "image-undecodable": "an image cannot be decoded",
    "image-size": "an image has another width, height or mode than recorded",
    "label": "a sample's cls member differs from its row's class_index",
    "status": "a row's status and its bytes contradict each other",
    "duplicate-key": "a key stands in two rows",
}
"""Kind of problem -> what it means."""

PART_LOST = frozenset({"part-missing", "part-altered"})
"""Kinds that make the rows of a part unusable."""

SHARD_LOST = frozenset(
    {
        "shard-missing",
        "shard-swapped",
        "shard-altered",
        "shard-structure",
        "shard-members",
        "image-altered",
        "label",
    }
)
"""Kinds that a shard made again from its rows does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: One of `KINDS`.
        message: What was expected, what was found, where, and the next step, on one line.
        path: File in the dataset.
        part: Manifest part that the file belongs to, if any.
        key: Sample, if it is about one.
        byte_offset: Position in the file, if it is about one.
    """

    kind: str
    message: str
    path: str
    part: str | None = None
    key: str | None = None
    byte_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The result of `verify`.

    Attributes:
        url: The dataset.
        kind: "generated", "real", "rendered" or "derived".
        finished: Whether a commit lists everything that the plan asks for.
        num_parts: Manifest parts that were read.
        num_shards: Shards whose every byte was read (0 with `sample`).
        num_rows: Rows that were looked at.
        num_images: Images whose bytes were compared with their digest and decoded.
        num_bytes: Bytes of shards that were read.
        sample: As asked for; `None`: everything was read.
        seed: Seed of the sample.
        problems: In the order of the dataset's files.
    """

    url: str
    kind: str
    finished: bool
    num_parts: int
    num_shards: int
    num_rows: int
    num_images: int
    num_bytes: int
    sample: int | None
    seed: int
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Whether no problem was found."""
        return not self.problems
