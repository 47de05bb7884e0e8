"""How small images must be to be decoded at a wanted speed, and what that costs in picture.

Owns the trial: some images of the dataset are encoded at every size and quality of a table, decoded with a clock
running, and compared with the same picture at the same size before it was encoded. What is said of the whole dataset
are the sample's ratios applied to the manifest's own totals. The price of a few seconds: `num_samples` images of at
most `_MAX_PARTS` shards stand for all, and decoding is all that is predicted, with as many times the speed of one core
as there are cores; cropping, other work of a loader and memory bandwidth come on top.

PSNR in dB is 10 * log10(255 ** 2 / MSE), MSE over all pixels and the three channels (Q. Huynh-Thu, M. Ghanbari,
"Scope of validity of PSNR in image/video quality assessment", Electronics Letters 44(13), 2008).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shardtools.dataset import Dataset, open_dataset
from shardtools.encoding.cost import DecodeCost, fit_decode_cost
from shardtools.encoding.encode import fit_size
from shardtools.encoding.trial import Trial, try_encodings
from shardtools.errors import DatasetError, OptionError
from shardtools.quoting import shell_word
from shardtools.storage import REQUESTS_IN_FLIGHT, read_ahead

DEFAULT_NUM_SAMPLES = 16
QUALITIES = (95, 90, 85, 80, 75)
SIDES = (2048, 1536, 1024, 768, 640, 512, 448, 384, 320, 256, 224, 192, 160, 128, 96, 64, 32)
_MAX_SIDES = 7
_MAX_PARTS = 32
_MAX_SIZES = 4096
_MAX_TRIAL_PIXELS = 1 << 25


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedEncoding:
    """One row of the table.

    Attributes:
        max_side: Pixels; `None` for the sides that the images have.
        quality: JPEG quality; `None` for the bytes that they have.
        bytes_per_image: Mean.
        pixels_per_image: Mean.
        images_per_second: Predicted decoding speed on all cores; measured for the bytes as they are.
        dataset_bytes: All images.
        psnr: Mean over the images encoded anew, dB; `None` where none was.
    """

    max_side: int | None
    quality: int | None
    bytes_per_image: float
    pixels_per_image: float
    images_per_second: float
    dataset_bytes: int
    psnr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesChoice:
    """What `plan_bytes` found.

    Attributes:
        url: The dataset.
        num_images: In the dataset.
        num_samples: Images that were tried.
        target: Wanted images a second.
        cores: To decode on.
        cost: Of decoding on this machine.
        cost_error: Root of the mean square, over the table's rows, of (model - measured) / measured for the mean of the
            images tried.
        as_is: The dataset as it is.
        rows: Every size and quality that was tried, large before small.
        recommended: The row with the largest side that meets the target, and of those with the highest quality;
            `as_is` where that does; `None` where none does.
        closest: The fastest row.
        cores_needed: Cores that reach the target with the dataset as it is.
        command: What makes the recommended dataset; `None` where there is nothing to do or nothing that helps.
    """

    url: str
    num_images: int
    num_samples: int
    target: float
    cores: int
    cost: DecodeCost
    cost_error: float
    as_is: TriedEncoding
    rows: tuple[TriedEncoding, ...]
    recommended: TriedEncoding | None
    closest: TriedEncoding
    cores_needed: int
    command: str | None


def plan_bytes(
    url: str | os.PathLike[str],
    *,
    images_per_second: float,
    cores: int,
    num_samples: int = DEFAULT_NUM_SAMPLES,
    seed: int = 0,
) -> BytesChoice:
    """Finds the largest side and quality at which a dataset's images are decoded fast enough.

    Takes about 0.4 s of one core for each tried image of 500 x 375 pixels; the speeds differ from run
    to run by a few percent.

    Args:
        url: A finished dataset: a folder or s3:// address.
        images_per_second: Wanted, above 0.
        cores: To decode on, at least 1; taken to be like this machine's.
        num_samples: Images to try, at least 1.
        seed: Which ones, at least 0.

    Raises:
        OptionError: A number is out of range.
        DatasetError: The dataset holds no image, or none that can be decoded.
    """
    _check(images_per_second, cores, num_samples, seed)
    dataset = open_dataset(url)
    num_images, num_bytes = _totals(dataset)
    rows = _rows(dataset, np.random.default_rng(seed))
    sides = choose_sides([max(row["width"], row["height"]) for row in rows])
    chosen = rows[:num_samples]
    trials = _trials(dataset, chosen, sides)
    made = [encoding for trial in trials for encoding in trial.encodings]
    cost = fit_decode_cost(
        [one.encoded_bytes for one in made], [one.num_pixels for one in made], [one.seconds for one in made]
    )
    mean_bytes = num_bytes / num_images
    seconds = sum(trial.seconds for trial in trials) / len(trials)
    as_is = TriedEncoding(
        max_side=None,
        quality=None,
        bytes_per_image=mean_bytes,
        pixels_per_image=_mean_pixels(rows, None),
        images_per_second=cores / seconds,
        dataset_bytes=num_bytes,
        psnr=None,
    )
    table = tuple(
        _tried(trials, index, cost, cores, mean_bytes, num_images, _mean_pixels(rows, one.max_side))
        for index, one in enumerate(trials[0].encodings)
    )
    # The table goes from large to small, and for each side from high quality to low: the first that is fast enough.
    recommended = next((row for row in (as_is, *table) if row.images_per_second >= images_per_second), None)
    return BytesChoice(
        url=dataset.storage.url,
        num_images=num_images,
        num_samples=len(trials),
        target=images_per_second,
        cores=cores,
        cost=cost,
        cost_error=_cost_error(cost, trials),
        as_is=as_is,
        rows=table,
        recommended=recommended,
        closest=max((as_is, *table), key=lambda row: row.images_per_second),
        cores_needed=math.ceil(images_per_second * seconds),
        command=_command(dataset.storage.url, recommended),
    )


def choose_sides(longer_sides: Sequence[int]) -> tuple[int | None, ...]:
    """Longer sides to try, large before small: none, and those of `SIDES` that make most images smaller."""
    typical = float(np.median(longer_sides))
    return (None, *[side for side in SIDES if side < 0.95 * typical][:_MAX_SIDES])


def _check(images_per_second: float, cores: int, num_samples: int, seed: int) -> None:
    if not 0 < images_per_second < math.inf:
        raise OptionError(f"--images-per-second is above 0, found {images_per_second}")
    if cores < 1:
        raise OptionError(f"--cores is at least 1, found {cores}")
    if num_samples < 1:
        raise OptionError(f"--sample is at least 1 image, found {num_samples}")
    if seed < 0:
        raise OptionError(f"--seed is at least 0, found {seed}")


def _totals(dataset: Dataset) -> tuple[int, int]:
    splits = dataset.commit.splits.values()
    num_images = sum(split.num_images for split in splits)
    if num_images == 0:
        raise DatasetError(f"{dataset.storage.url} holds no image to measure: give a dataset that has some")
    return num_images, sum(split.num_bytes for split in splits)


def _rows(dataset: Dataset, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of images from up to `_MAX_PARTS` parts, at most `_MAX_SIZES`, in an order that is left to chance.

    Raises:
        DatasetError: None of the parts names an image.
    """
    names = ["key", "shard", "member_offset", "num_bytes", "image_format", "width", "height"]
    paths = dataset.part_paths
    per_part = max(1, _MAX_SIZES // min(len(paths), _MAX_PARTS))
    rows: list[dict[str, Any]] = []
    # Parts of rejected files alone give none, so more are looked at where the first ones give too few.
    for number, index in enumerate(rng.permutation(len(paths))):
        if number >= _MAX_PARTS and rows:
            break
        table = dataset.read_part(paths[index]).table.select(names)
        drawn = table.take(rng.permutation(table.num_rows)[: 4 * per_part])
        rows.extend([row for row in drawn.to_pylist() if _is_image(row)][:per_part])
    if not rows:
        raise DatasetError(f"{dataset.storage.url} names no image of a known size: run shardtools verify")
    return [rows[index] for index in rng.permutation(len(rows))]


def _is_image(row: dict[str, Any]) -> bool:
    return row["shard"] is not None and bool(row["width"]) and bool(row["height"])


def _trials(dataset: Dataset, rows: Sequence[dict[str, Any]], sides: Sequence[int | None]) -> list[Trial]:
    """The trials of all rows whose image can be decoded.

    Raises:
        DatasetError: There is none.
    """
    storage = dataset.storage
    reads = [partial(storage.read_range, row["shard"], row["member_offset"], row["num_bytes"]) for row in rows]
    contents = read_ahead(reads, 0 if storage.is_local else REQUESTS_IN_FLIGHT)
    trials = []
    failure: Exception | None = None
    for row, content in zip(rows, contents, strict=True):
        # Each is encoded in dozens of ways: one huge picture would take all the time.
        if row["width"] * row["height"] > _MAX_TRIAL_PIXELS:
            continue
        raw_size = (row["width"], row["height"]) if row["image_format"] == "raw" else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trials.append(try_encodings(content, sides, QUALITIES, raw_size=raw_size))
        except MemoryError:
            raise
        except Exception as error:
            failure = error
    if not trials:
        raise DatasetError(
            f"{storage.url}: none of {len(rows)} sampled images can be decoded ({failure or 'all are too large'}): run "
            "shardtools verify"
        ) from failure
    return trials


def _mean_pixels(rows: Sequence[dict[str, Any]], max_side: int | None) -> float:
    sizes = [fit_size(row["width"], row["height"], max_side=max_side) for row in rows]
    return sum(width * height for width, height in sizes) / len(sizes)


def _tried(
    trials: Sequence[Trial],
    index: int,
    cost: DecodeCost,
    cores: int,
    mean_bytes: float,
    num_images: int,
    pixels_per_image: float,
) -> TriedEncoding:
    """A row from the encodings that all trials have at one index."""
    made = [trial.encodings[index] for trial in trials]
    ratio = sum(one.num_bytes for one in made) / sum(trial.num_bytes for trial in trials)
    psnr = [one.psnr for one in made if one.psnr is not None]
    return TriedEncoding(
        max_side=made[0].max_side,
        quality=made[0].quality,
        bytes_per_image=mean_bytes * ratio,
        pixels_per_image=pixels_per_image,
        images_per_second=cores / cost.seconds(mean_bytes * ratio, pixels_per_image),
        dataset_bytes=round(mean_bytes * ratio * num_images),
        psnr=sum(psnr) / len(psnr) if psnr else None,
    )


def _cost_error(cost: DecodeCost, trials: Sequence[Trial]) -> float:
    errors = []
    for encodings in zip(*(trial.encodings for trial in trials), strict=True):
        measured = sum(one.seconds for one in encodings)
        predicted = sum(cost.seconds(one.encoded_bytes, one.num_pixels) for one in encodings)
        errors.append((predicted / measured - 1) ** 2)
    return math.sqrt(sum(errors) / len(errors))


def _command(url: str, row: TriedEncoding | None) -> str | None:
    if row is None or row.quality is None:
        return None
    side = f" --max-side {row.max_side}" if row.max_side is not None else ""
    name = f"{url.rstrip('/')}-{f'{row.max_side}px-' if row.max_side is not None else ''}q{row.quality}"
    return f"shardtools convert {shell_word(url)} {shell_word(name)}{side} --quality {row.quality}"
