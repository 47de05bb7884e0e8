"""The folder of a study: what it was begun with, so that one folder holds one study.

Owns `study.json`. All studies resume into their folders by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shardtools.errors import DatasetError, NotFoundError, PlanMismatchError
from shardtools.storage import Storage
from shardtools.training.run_file import changed_settings

SETTINGS_FILE, TABLE_FILE = "study.json", "table.md"


def say_nothing(_line: str) -> None:
    """What a study shows its lines to where nobody asked."""


def hold_to_settings(storage: Storage, wanted: Mapping[str, Any], *, needed: str = "", lacking: str = "") -> None:
    """Writes what the study was asked, or compares it with what its folder was begun with.

    Args:
        storage: The folder.
        wanted: Name -> JSON value, of all that decides on results.
        needed: A name that studies of earlier releases lack.
        lacking: What is said of one of those, after where it is.

    Raises:
        PlanMismatchError: The folder holds another study.
        DatasetError: The file is damaged.
    """
    try:
        found = json.loads(storage.read(SETTINGS_FILE))
    except NotFoundError:
        storage.write(SETTINGS_FILE, (json.dumps(wanted, indent=1) + "\n").encode())
        return
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DatasetError(
            f"{storage.object_url(SETTINGS_FILE)}: expected a study's settings, a JSON object, found another content: "
            "give another --out"
        )
    if needed and needed not in found:
        raise PlanMismatchError(f"{storage.url} {lacking}")
    changes = changed_settings(found, dict(wanted))
    if changes:
        raise PlanMismatchError(
            f"{storage.url} holds a study of other sizes ({'; '.join(changes[:3])}): give another --out"
        )
