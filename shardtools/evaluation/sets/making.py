"""A cue-conflict set out of what a user has: cut-outs filled with the textures of other categories.

Owns the drawing and the rows. A picture's shape is the outline of a cut-out (its transparency), and all that is inside
is a texture; so it has less of the shape's inner edges than the published pictures, which a network painted (Geirhos et
al. 2019, section 2.2), and figures of the two kinds do not compare. Which textures a cut-out gets depends on the seed
and the names alone. Shape, texture and both files' digests stand in the overlay `cue_conflict`. The price of plain
fills: no style-transfer network is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from shardtools.errors import DatasetError, NotFoundError, SourceError
from shardtools.evaluation.sets.cue_conflict import CUE_OVERLAY
from shardtools.evaluation.sets.making_options import CueConflictOptions
from shardtools.overlays import write_overlay
from shardtools.words import counted
from shardtools.writing import write_samples

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_OPAQUE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class CuePicture:
    """One picture to draw.

    Attributes:
        key: Shape, number of the cut-out, texture, number of the texture: "airplane1-bicycle2".
        shape: Category of the cut-out.
        texture: Category of the texture.
        cutout_file: Its file.
        texture_file: The texture's.
    """

    key: str
    shape: str
    texture: str
    cutout_file: Path
    texture_file: Path


def make_cue_conflict(options: CueConflictOptions, *, report: Callable[[str], None] = lambda _line: None) -> int:
    """Draws the pictures and writes them as a dataset; run again, it makes the same bytes.

    Args:
        options: What of.
        report: Called with a line when the pairs are known, and one when they are written.

    Returns:
        The number of pictures.

    Raises:
        NotFoundError: A folder is missing, or has no category with pictures.
        SourceError: A file is no picture, or a cut-out has no transparency.
        DatasetError: No texture is of another category than its cut-out.
    """
    cutouts, textures = _files(options.cutouts), _files(options.textures)
    pairs = pair(cutouts, textures, per_cutout=options.textures_per_cutout, seed=options.seed)
    if not pairs:
        raise DatasetError(
            f"{options.textures} has no texture of another category than the cut-outs in {options.cutouts}, so no cues "
            "conflict: give textures of at least two categories"
        )
    report(
        f"{counted(len(pairs), 'picture')} of {counted(len(cutouts), 'shape')} and {counted(len(textures), 'texture')}"
    )
    shapes = sorted(cutouts)
    digests = {file: _digest(file) for one in pairs for file in (one.cutout_file, one.texture_file)}
    write_samples(
        _drawn(pairs, options),
        [shapes.index(one.shape) for one in pairs],
        options.out,
        keys=[one.key for one in pairs],
        split="test",
        classes=shapes,
        provenance={"source_path": [str(one.cutout_file) for one in pairs], "seed": [options.seed] * len(pairs)},
        origin="rendered",
        num_processes=1,
    )
    write_overlay(
        options.out,
        CUE_OVERLAY,
        [_rows(pairs, digests)],
        made_by="shardtools eval make-cue-conflict",
        settings={"size": options.size, "fill": options.fill, "background": options.background, "seed": options.seed},
        replace=True,
    )
    report(f"{options.out} holds them; shape and texture of each: overlays.{CUE_OVERLAY}")
    return len(pairs)


def pair(
    cutouts: Mapping[str, Sequence[Path]], textures: Mapping[str, Sequence[Path]], *, per_cutout: int, seed: int
) -> list[CuePicture]:
    """Textures of other categories for each cut-out, no category twice while there are others.

    Args:
        cutouts: Category -> files.
        textures: The same.
        per_cutout: Textures of a cut-out; fewer where there are no more.
        seed: Decides which.
    """
    pictures = []
    for shape, files in sorted(cutouts.items()):
        for number, file in enumerate(files, start=1):
            drawn: list[tuple[int, int, str, int]] = []
            for texture in textures:
                if texture == shape:
                    continue
                # The best of each category come first, then the second ones.
                order = sorted(range(len(textures[texture])), key=lambda one: _draw(seed, shape, number, texture, one))
                drawn += [(rank, _draw(seed, shape, number, texture), texture, one) for rank, one in enumerate(order)]
            pictures += [
                CuePicture(
                    key=f"{shape}{number}-{texture}{one + 1}",
                    shape=shape,
                    texture=texture,
                    cutout_file=file,
                    texture_file=textures[texture][one],
                )
                for _, _, texture, one in sorted(drawn)[:per_cutout]
            ]
    return pictures


def draw_cue(
    cutout: npt.NDArray[np.uint8], texture: npt.NDArray[np.uint8], *, size: int, fill: float, background: int
) -> npt.NDArray[np.uint8]:
    """A texture inside the outline of a cut-out, uint8 [size, size, 3].

    Args:
        cutout: uint8 [H, W, 4], the last channel its opacity.
        texture: uint8 [h, w, 3]; the largest square in its middle is taken.
        size: Pixels.
        fill: Share of the side that the outline's longer side takes, 0 to 1.
        background: Grey level, 0 to 255.

    Raises:
        SourceError: The cut-out is nowhere opaque, or everywhere.
    """
    opacity = cutout[..., 3]
    rows, columns = np.flatnonzero((opacity >= _OPAQUE).any(axis=1)), np.flatnonzero((opacity >= _OPAQUE).any(axis=0))
    if not len(rows) or opacity.min() >= _OPAQUE:
        found = "opaque everywhere" if len(rows) else "transparent everywhere"
        raise SourceError(f"a cut-out needs a transparent surrounding, found one that is {found}: cut the object out")
    inside = Image.fromarray(opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = fill * size / max(inside.size)
    width, height = (max(1, round(side * scale)) for side in inside.size)
    mask = np.zeros((size, size), np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    resized = np.asarray(inside.resize((width, height), Image.Resampling.BOX), np.float32)
    mask[top : top + height, left : left + width] = resized / 255
    side = min(texture.shape[:2])
    y, x = ((length - side) // 2 for length in texture.shape[:2])
    square = Image.fromarray(np.ascontiguousarray(texture[y : y + side, x : x + side]))
    pattern = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    drawn = np.rint(background + mask[..., None] * (pattern - background))
    picture: npt.NDArray[np.uint8] = drawn.clip(0, 255).astype(np.uint8)
    return picture


def _drawn(pairs: Sequence[CuePicture], options: CueConflictOptions) -> Iterator[npt.NDArray[np.uint8]]:
    for one in pairs:
        cutout, texture = _pixels(one.cutout_file, "RGBA"), _pixels(one.texture_file, "RGB")
        try:
            yield draw_cue(cutout, texture, size=options.size, fill=options.fill, background=options.background)
        except SourceError as error:
            raise SourceError(f"{one.cutout_file}: {error}") from None


def _rows(pairs: Sequence[CuePicture], digests: Mapping[Path, str]) -> pa.Table:
    columns: dict[str, list[str]] = {
        "key": [one.key for one in pairs],
        "shape": [one.shape for one in pairs],
        "texture": [one.texture for one in pairs],
        "cutout_path": [str(one.cutout_file) for one in pairs],
        "cutout_sha256": [digests[one.cutout_file] for one in pairs],
        "texture_path": [str(one.texture_file) for one in pairs],
        "texture_sha256": [digests[one.texture_file] for one in pairs],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _draw(seed: int, *names: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, (seed, *names))).encode()).digest()[:8], "big")


def _files(folder: str) -> dict[str, list[Path]]:
    """Category -> its pictures, by name."""
    if not Path(folder).is_dir():
        raise NotFoundError(f"{folder} is no folder: give one of folders, one a category")
    found: dict[str, list[Path]] = {}
    for one in sorted(Path(folder).iterdir()):
        files = sorted(file for file in one.iterdir() if file.suffix.lower() in _SUFFIXES) if one.is_dir() else []
        if files:
            found[one.name] = files
    if not found:
        raise NotFoundError(f"{folder} has no folder with pictures: expected CATEGORY/FILE.png")
    return found


def _pixels(file: Path, mode: str) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert(mode))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{file} is no picture that can be read ({type(error).__name__}): remove it") from None
