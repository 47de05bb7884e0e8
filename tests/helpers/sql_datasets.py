"""Small datasets for the tests of SQL: real Fashion-MNIST pictures, committed by the library's own writer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from PIL import Image

from shardtools.dataset import DatasetInfo, PlanFile, ShardWriter, commit_dataset, store_plan_file
from shardtools.execution import EventLog
from shardtools.sample import Sample
from shardtools.shards import part_path
from shardtools.storage import open_storage
from tests.helpers.pictures import encode, fashion_pixels

WNIDS = ("n03595614", "n04489008", "n03595614", "n03236735")
"""Classes of the samples in turn: the first comes twice as often as the others."""


def fashion_images(number: int) -> list[bytes]:
    """The first test pictures of Fashion-MNIST as PNG bytes."""
    return [encode(Image.fromarray(picture), "PNG") for picture in fashion_pixels(number)]


def sample(number: int, image_bytes: bytes, *, source: str = "generated") -> Sample:
    """Sample `number`; every fifth (4, 9, ...) failed, the rest hold `image_bytes`."""
    wnid = WNIDS[number % len(WNIDS)]
    failed = number % 5 == 4
    provenance = {
        "plan_id": "plan-1",
        "replica": number // 4,
        "prompt": f"a photo of {wnid}" + (" in a kitchen" if number % 2 else ""),
        "prompt_template": "a photo of c",
        "scene": "kitchen" if number % 2 else None,
        "seed": 2**62 + number,
        "guidance_scale": 2.0,
        "num_inference_steps": 50,
        "scheduler": "PNDMScheduler",
        "model_id": "toy",
        "nsfw_detected": number % 3 == 0,
        "attempt": 2 if number == 1 else 1,
    }
    return Sample(
        key=f"sample{number:04d}",
        image_bytes=None if failed else image_bytes,
        image_format=None if failed else "png",
        width=None if failed else 28,
        height=None if failed else 28,
        mode=None if failed else "L",
        wnid=wnid,
        class_index=sorted(set(WNIDS)).index(wnid),
        label_source="prompt" if source == "generated" else "idx",
        source=source,
        status="black" if failed else "ok",
        reason="all pixels are 0" if failed else None,
        provenance=provenance if source == "generated" else {},
    )


def make_dataset(
    url: str | os.PathLike[str],
    *,
    images: Sequence[bytes],
    source: str = "generated",
    num_shards: int = 2,
    split: str = "train",
    commit: bool = True,
) -> DatasetInfo | None:
    """Writes a dataset of one sample an image, dealt to the shards in turn, with an event log."""
    storage = open_storage(url)
    facts: dict[str, Any] = {"kind": source, "plan_id": "plan-1", "scale": 1}
    settings = {"guidance_scale": 2.0, "prompt": "a photo of c"}
    plan = PlanFile(**facts, settings=settings, notes={}, num_shards=num_shards, num_rows=len(images))
    store_plan_file(storage, plan)
    for shard_index in range(num_shards):
        with ShardWriter(storage, split=split, shard_index=shard_index) as writer:
            for number in range(shard_index, len(images), num_shards):
                writer.add(sample(number, images[number], source=source))
            writer.commit()
    log = EventLog(storage, "run1-rank0000")
    log.add("start", num_processes=1)
    log.add("shard", shard_index=0, images=8, images_per_second=12.5)
    log.add("end", reason="done", images=8, seconds=2.0, denoiser_seconds=1.5, vae_seconds=0.4)
    log.flush()
    if not commit:
        return None
    paths = [part_path(split, index) for index in range(num_shards)]
    return commit_dataset(storage, **facts, part_paths=paths)
