"""`plan.json`: what a dataset is to become, written before the first shard.

Owns the comparison of a run's options with those that began the dataset. The price of refusing a changed plan: another
guidance scale needs another folder, even where mixing would have been harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from shardtools.dataset.commit_file import KINDS
from shardtools.documents import Document, Format, wrong_field
from shardtools.errors import AlreadyExistsError, DatasetError, NotFoundError, PlanMismatchError, printable
from shardtools.manifest import FORMAT_VERSION
from shardtools.storage import Storage

PLAN_FILE = "plan.json"
_MAX_COUNT = 2**31 - 1
_SHOWN_CHARACTERS = 60
_NO_CONTENT = ("lease/", "events/")
"""Folders of what a run notes of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile(Document):
    """The content of `plan.json`.

    Attributes:
        kind: One of `KINDS`.
        plan_id: Fingerprint over `settings`.
        settings: Option name -> JSON value: all that changes the result, and nothing else.
        notes: Facts that do not change the result and are taken from the first run (the model's name, say).
        scale: Clones asked for so far; may grow.
        num_shards: Shards that make the dataset whole; `None` where only the end of the source will tell.
        num_rows: Rows that make it whole; `None` likewise.
    """

    format: ClassVar[Format] = Format(
        name=None,
        version=FORMAT_VERSION,
        what="the plan of a dataset",
        remedy="restore it, or take another folder",
    )

    kind: str
    plan_id: str
    settings: Mapping[str, Any]
    notes: Mapping[str, Any]
    scale: int
    num_shards: int | None
    num_rows: int | None


def fingerprint(settings: Mapping[str, Any]) -> str:
    """First 16 hexadecimal digits of the sha256 over the settings as canonical JSON."""
    canonical = json.dumps(settings, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_plan_file(storage: Storage, path: str = PLAN_FILE) -> PlanFile | None:
    """The plan of the dataset, or `None` where there is none; `path` is another one for an append.

    Raises:
        DatasetError: The file is damaged.
        FormatVersionError: Written by another format version.
    """
    try:
        content = storage.read(path)
    except NotFoundError:
        return None
    where = storage.object_url(path)
    plan = PlanFile.from_json(content, where=where)
    if plan.kind not in KINDS:
        raise plan.format.damaged(where, wrong_field("kind", f"one of {', '.join(KINDS)}", plan.kind))
    counts = {"scale": plan.scale, "num_shards": plan.num_shards, "num_rows": plan.num_rows}
    for name, count in counts.items():
        if count is not None and not 0 <= count <= _MAX_COUNT:
            raise plan.format.damaged(where, wrong_field(name, f"0 to {_MAX_COUNT}", count))
    return plan


def store_plan_file(storage: Storage, wanted: PlanFile) -> PlanFile:
    """Begins a dataset, or checks that the one there has the same plan.

    Returns:
        The plan to follow: the stored one, its scale grown where `wanted` asks for more clones; `wanted` where the
        stored one has made nothing yet.

    Raises:
        PlanMismatchError: The target holds another plan, or files that are no dataset.
    """
    stored = read_plan_file(storage)
    if stored is None:
        # Only where no plan is: a run's own lease and log are there before its plan.
        foreign = [
            stored_object.path for stored_object in storage.list() if not stored_object.path.startswith(_NO_CONTENT)
        ]
        if foreign:
            raise PlanMismatchError(
                f"{storage.url} holds other files ({foreign[0]}, ...): choose an empty folder for the dataset"
            )
        try:
            storage.write(PLAN_FILE, wanted.to_json(), if_absent=True)
            return wanted
        # Another run was faster. Whoever it was, its plan is compared like any other.
        except AlreadyExistsError:
            stored = read_plan_file(storage)
            if stored is None:
                raise DatasetError(
                    f"{storage.url}: {PLAN_FILE} came and went: is another program writing there?"
                ) from None
    if stored.plan_id != wanted.plan_id and _has_made_nothing(storage):
        # A run that failed before its first shard leaves a plan that binds nobody: the corrected command begins anew.
        storage.write(PLAN_FILE, wanted.to_json())
        return wanted
    if stored.plan_id != wanted.plan_id:
        raise PlanMismatchError(
            f"{storage.url} holds another plan: {differences(stored.settings, wanted.settings)}: use the same options, "
            "or another --out"
        )
    # More clones are a longer prefix of the same plan, so a larger scale is no other one; a smaller one changes
    # nothing.
    if wanted.scale > stored.scale:
        grown = PlanFile(**{**asdict(wanted), "notes": stored.notes})
        storage.write(PLAN_FILE, grown.to_json())
        return grown
    return stored


def _has_made_nothing(storage: Storage) -> bool:
    """Whether a dataset is its plan and nothing else; the caller holds the lease, so nobody is making it either."""
    return all(stored.path.startswith((PLAN_FILE, *_NO_CONTENT)) for stored in storage.list())


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The options that differ, by name, for a message; three of them at the most."""
    names = [name for name in sorted({*stored, *wanted}) if stored.get(name) != wanted.get(name)]
    return "; ".join(
        f"{name} is {_shown(stored.get(name))} there, {_shown(wanted.get(name))} here" for name in names[:3]
    ) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _shown(value: Any) -> str:
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
