"""Scene lists: the 365 Places names, or the user's file.

Owns the file's form: UTF-8, one scene a line, blank lines and lines that start with `#` left out. The price of taking
names as written: "forest broadleaf" goes into prompts word for word.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from shardtools.errors import PromptError
from shardtools.prompts.places365 import PLACES365_SCENES

PLACES365 = "places365"
"""The specification that names the built-in list."""


def load_scenes(spec: str | None) -> tuple[str, ...]:
    """The scenes that a specification names, in its order.

    Args:
        spec: `None` or "places365" for the 365 Places names; else the path of a text file.

    Raises:
        PromptError: The file cannot be read, is not UTF-8, has no scene, or has one twice; the message names the line.
    """
    if spec is None or spec == PLACES365:
        return PLACES365_SCENES
    try:
        raw = Path(spec).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PromptError(f"cannot read the scene list {spec!r}: {reason}; give a text file or {PLACES365}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = raw.count(b"\n", 0, error.start) + 1
        raise PromptError(
            f"{spec}, line {line_number}: expected UTF-8, found byte 0x{raw[error.start]:02x}; save it as UTF-8"
        ) from error
    scene_to_line: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        scene = " ".join(unicodedata.normalize("NFC", line).split())
        if not scene or scene.startswith("#"):
            continue
        for character in scene:
            if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
                raise PromptError(f"{spec}, line {number}: control character U+{ord(character):04X}; remove it")
        if scene in scene_to_line:
            raise PromptError(
                f"{spec}, line {number}: scene {scene!r} is already on line {scene_to_line[scene]}; remove one"
            )
        scene_to_line[scene] = number
    if not scene_to_line:
        raise PromptError(f"{spec}: expected one scene a line, found none")
    return tuple(scene_to_line)
