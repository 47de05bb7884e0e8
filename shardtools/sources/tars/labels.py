"""The label of a sample in a tar: from its members `cls` and `json`, and a class set.

Owns what those members mean. The members themselves are copied as they are; the price is that a label which contradicts
the class set stops the job instead of being set right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shardtools.errors import SourceError

_MAX_CLASS_INDEX = 2**31 - 1
_SOURCES = frozenset({"real", "generated", "rendered", "corrupted"})


def label_members(members: Mapping[str, bytes], wnids: Sequence[str] | None, *, where: str) -> dict[str, Any]:
    """Fields of `Sample` that say what an image is: wnid, class_index or class_indexes, label_source, source.

    The class index is the integer in `cls`, else that of the wnid in `json`; the wnid is that of the class set, else
    the one in `json`. An image that another tool of this package made keeps the `source` that its `json` gives, and
    several labels (`class_indexes`), where there is no `cls`.

    Args:
        members: Extension -> payload.
        wnids: Class index -> wnid, if a class set was given.
        where: Tar, key and byte offset, for messages.

    Raises:
        SourceError: `cls` holds no integer or one outside of the class set, or it contradicts `json`.
    """
    facts = _json_facts(members.get("json"))
    wnid = facts.get("wnid")
    labels: dict[str, Any] = {"wnid": wnid, "class_index": None, "label_source": "json" if wnid else None}
    if facts.get("source") in _SOURCES:
        labels["source"] = facts["source"]
    if "cls" in members:
        class_index = _class_index(members["cls"], wnids, where)
        labels |= {"class_index": class_index, "label_source": "cls"}
        if wnids is not None:
            if wnid is not None and wnid != wnids[class_index]:
                raise SourceError(
                    f"{where}: .cls says {class_index}, which is {wnids[class_index]} in --classes, .json says "
                    f"{wnid}: give the "
                    "set that the tar was made with"
                )
            labels["wnid"] = wnids[class_index]
    elif wnid is not None and wnids is not None:
        if wnid not in wnids:
            raise SourceError(f"{where}: .json says {wnid}, which is not in --classes: give the set it belongs to")
        labels["class_index"] = wnids.index(wnid)
    elif wnid is None and (several := _class_indexes(facts.get("class_indexes"))) is not None:
        labels |= {"class_indexes": several, "label_source": "json"}
    return labels


def _class_indexes(found: object) -> tuple[int, ...] | None:
    """Rising labels; `None` for what is no such list: another tool may mean something else by the name."""
    if not isinstance(found, list) or not all(type(one) is int and 0 <= one <= _MAX_CLASS_INDEX for one in found):
        return None
    return tuple(found) if found == sorted(set(found)) else None


def _json_facts(payload: bytes | None) -> dict[str, Any]:
    """The texts under "wnid" and "source", and "class_indexes", if the payload is a JSON object that has them."""
    if payload is None:
        return {}
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    texts = {name: text for name in ("wnid", "source") if isinstance(text := content.get(name), str) and text}
    return {**texts, "class_indexes": content.get("class_indexes")}


def _class_index(payload: bytes, wnids: Sequence[str] | None, where: str) -> int:
    last = len(wnids) - 1 if wnids is not None else _MAX_CLASS_INDEX
    text = payload[:40].decode(errors="replace").strip()
    if not text.isascii() or not text.isdigit() or len(payload) > 40 or int(text) > last:
        raise SourceError(f"{where}: expected an integer from 0 to {last} in .cls, found {text!r}: set the label right")
    return int(text)
