"""`regenerate`: generates random images anew with their recorded settings and says how close they come.

Owns the comparison. Bit-exact, the largest pixel difference and PSNR are told apart, because another machine may give
pictures that no eye can tell from the first ones and yet not one equal byte. The price: for each image its whole batch
is generated, since an image's bits depend on the batch's size.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shardtools.dataset import PlanFile
from shardtools.errors import DatasetError, ShardError
from shardtools.execution import Batch, Planned, Progress, ignore
from shardtools.generation import generator_settings
from shardtools.generation.plan import TEMPLATE_SETTING, GeneratorSettings
from shardtools.manifest import Part, digest
from shardtools.rendering import RENDERED
from shardtools.sample import Sample
from shardtools.storage import Storage, open_storage
from shardtools.verify.options import RegenerateOptions
from shardtools.verify.regenerator import Regenerator, RegeneratorSetup, find_model, on_device
from shardtools.verify.rows import attempt_rows, recorded_settings
from shardtools.verify.sampling import draw_rows, part_entries
from shardtools.verify.state import State, read_state

_PEAK = 255.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegeneratedImage:
    """One image, generated anew.

    Attributes:
        key: Sample.
        shard: Where the stored image is.
        bit_exact: Whether the encoded bytes are equal.
        largest_pixel_difference: 0 to 255, over all pixels and channels; `None` where the new image failed.
        psnr: Peak signal-to-noise ratio in dB, infinite for equal pixels; `None` where the new image failed.
        status: Status of the new image.
    """

    key: str
    shard: str
    bit_exact: bool
    largest_pixel_difference: int | None
    psnr: float | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegenerateReport:
    """The result of `regenerate`.

    Attributes:
        url: The dataset.
        seed: Seed of the choice.
        device: Kind of device that generated.
        images: One entry an image, in the order of shards.
    """

    url: str
    seed: int
    device: str
    images: tuple[RegeneratedImage, ...]

    @property
    def num_bit_exact(self) -> int:
        """Images whose bytes are equal."""
        return sum(image.bit_exact for image in self.images)

    @property
    def num_failed(self) -> int:
        """Images that came out without bytes this time."""
        return sum(image.psnr is None for image in self.images)

    @property
    def largest_pixel_difference(self) -> int:
        """Over all images that came out."""
        return max((image.largest_pixel_difference or 0 for image in self.images), default=0)

    @property
    def min_psnr(self) -> float:
        """The worst image, dB; infinite where all pixels are equal."""
        return min((image.psnr for image in self.images if image.psnr is not None), default=math.inf)

    @property
    def mean_psnr(self) -> float:
        """Mean over the images that differ, dB; infinite where none does."""
        finite = [image.psnr for image in self.images if image.psnr is not None and math.isfinite(image.psnr)]
        return sum(finite) / len(finite) if finite else math.inf


def regenerate(
    url: str | os.PathLike[str], options: RegenerateOptions, *, progress: Progress | None = None
) -> RegenerateReport:
    """Generates random images of the generated dataset at `url` anew; changes nothing.

    Args:
        url: A folder or s3:// address.
        options: How many, which model, which device.
        progress: Called with `Planned`, and with `Batch` after each image.

    Raises:
        DatasetError: There is no dataset, its images are real, or it has no plan.json or no image.
        ModelError: The model that made it is not here.
        ShardError: A stored image is altered.
        RunError: Generating failed.
    """
    state = read_state(open_storage(url))
    plan_file = _plan_file(state)
    drawn = draw_rows(state.storage, part_entries(state), options.count, options.seed)
    if not drawn:
        raise DatasetError(f"{state.storage.url} has no image to generate anew: run shardtools verify")
    show = progress or ignore
    total = sum(len(numbers) for _, _, numbers in drawn)
    show(Planned(rows_to_make=total, num_tasks=len(drawn), num_processes=1))
    images: list[RegeneratedImage] = []
    regenerators = _Regenerators(plan_file, options)
    try:
        for _, part, numbers in drawn:
            for row, sample in _generate_rows(part, numbers, regenerators, generator_settings(plan_file)):
                images.append(compare(state.storage, row, sample))
                show(Batch(rows=1))
    finally:
        regenerators.close()
    return RegenerateReport(url=state.storage.url, seed=options.seed, device=regenerators.device, images=tuple(images))


def compare(storage: Storage, row: Mapping[str, Any], sample: Sample) -> RegeneratedImage:
    """A stored image against the one generated anew.

    Raises:
        ShardError: The stored image differs from its digest.
    """
    stored = storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
    if digest(stored) != row["sha256"]:
        raise ShardError(
            f"image of {row['key']!r} at byte {row['member_offset']} of {storage.object_url(row['shard'])} differs "
            "from its digest: run shardtools verify"
        )
    difference, psnr = None, None
    if sample.image_bytes is not None:
        difference, psnr = pixel_difference(_pixels(stored), _pixels(sample.image_bytes))
    return RegeneratedImage(
        key=row["key"],
        shard=row["shard"],
        bit_exact=sample.image_bytes == stored,
        largest_pixel_difference=difference,
        psnr=psnr,
        status=sample.status,
    )


def pixel_difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> tuple[int, float]:
    """Largest absolute difference and PSNR in dB (10 log10(255^2 / mean squared error)) of uint8 [H, W, 3] images."""
    delta = one.astype(np.float64) - other
    mean_squared = float((delta**2).mean())
    return int(np.abs(delta).max()), 10 * math.log10(_PEAK**2 / mean_squared) if mean_squared else math.inf


def _pixels(content: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


class _Regenerators:
    """A process for the settings in hand; rows of one dataset nearly always share them."""

    def __init__(self, plan_file: PlanFile, options: RegenerateOptions) -> None:
        self._plan_file = plan_file
        self._options = options
        self._settings: GeneratorSettings | None = None
        self._regenerator: Regenerator | None = None
        self.device = ""

    def get(self, settings: GeneratorSettings) -> Regenerator:
        """The renderer for these settings; one for others is ended."""
        if self._regenerator is None or self._settings != settings:
            self.close()
            model = find_model(self._plan_file, self._options.model, settings.model_digest)
            placed = on_device(settings, self._options.device)
            self.device = placed.device
            setup = RegeneratorSetup(
                model_path=model.path,
                model_id=model.model_id,
                plan_id=self._plan_file.plan_id,
                prompt_template=str(self._plan_file.settings[TEMPLATE_SETTING]),
                settings=placed,
            )
            self._regenerator, self._settings = Regenerator(setup), settings
        return self._regenerator

    def close(self) -> None:
        """Ends the process."""
        if self._regenerator is not None:
            self._regenerator.__exit__(None, None, None)
            self._regenerator = None


def _generate_rows(
    part: Part, numbers: list[int], regenerators: _Regenerators, planned: GeneratorSettings
) -> list[tuple[dict[str, Any], Sample]]:
    """The chosen rows of one part with their new samples; a batch with several of them is generated once."""
    rows = part.table.to_pylist()
    generated_batches: dict[tuple[int, int], dict[str, Sample]] = {}
    found = []
    for row in (rows[number] for number in numbers):
        settings, attempt = recorded_settings(row, planned), row["attempt"] or 1
        together = attempt_rows(rows, attempt)
        # From the place in the attempt to the batch that it was in: neighbours and padding as they were.
        position = next(index for index, one in enumerate(together) if one.key == row["key"])
        start = position - position % settings.batch_size
        batch = (attempt, start)
        if batch not in generated_batches:
            samples = regenerators.get(settings).generate(together[start : start + settings.batch_size], attempt)
            generated_batches[batch] = {sample.key: sample for sample in samples}
        found.append((row, generated_batches[batch][row["key"]]))
    return found


def _plan_file(state: State) -> PlanFile:
    if state.kind != "generated":
        what = RENDERED if state.kind == RENDERED else "real"
        raise DatasetError(
            f"{state.storage.url} holds {what} images, which no model made: --regenerate is for gen-sd datasets"
        )
    if state.plan is None:
        raise DatasetError(f"{state.storage.url} has no plan.json, which says how its images are encoded: restore it")
    return state.plan
