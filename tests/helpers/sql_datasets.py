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


RENDERED_WNIDS = ("n03001627", "n04256520")
_CANONICAL = {"pose": 0.0, "size": 1.0, "position": 0.0, "hue": None, "background": "home/x"}
_VARIED: dict[str, list[dict[str, Any]]] = {
    "": [{}],
    "pose": [{"pose": pose} for pose in (-180.0, -90.0, 0.0, 90.0, 180.0)],
    "size": [{"size": 0.5}, {"size": 1.0}],
    "lighting": [{"hue": 0.0}, {"hue": 0.5}],
    "background": [{"background": name} for name in ("home/x", "city/y", "city/z")],
}


def make_rendered(url: str | os.PathLike[str]) -> None:
    """Rows as rendering writes them, of two objects of two classes; what the pictures show is of no account."""
    storage = open_storage(url)
    rows = [
        (wnid, object_id, varied, index, change)
        for wnid in RENDERED_WNIDS
        for object_id in ("a", "b")
        for varied, changes in _VARIED.items()
        for index, change in enumerate(changes)
    ]
    facts: dict[str, Any] = {"kind": "rendered", "plan_id": "plan-1", "scale": 1}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=1, num_rows=len(rows)))
    picture = fashion_images(1)[0]
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for wnid, object_id, varied, index, change in rows:
            values = _CANONICAL | change
            writer.add(
                Sample(
                    key=f"{wnid}_{object_id}_{varied}_{index}",
                    image_bytes=picture,
                    image_format="png",
                    width=28,
                    height=28,
                    mode="L",
                    wnid=wnid,
                    class_index=RENDERED_WNIDS.index(wnid),
                    label_source="mesh",
                    source="rendered",
                    status="ok",
                    provenance={
                        **values,
                        "object_id": object_id,
                        "varied": varied,
                        "grid": "single" if varied else "canonical",
                        "is_canonical": values == _CANONICAL,
                        "pose_axis": "roll",
                        "background_type": values["background"].partition("/")[0],
                    },
                )
            )
        writer.commit()
    commit_dataset(storage, **facts, part_paths=[part_path("train", 0)])


def rendered_logits(key: str) -> list[float]:
    """Of a model that knows the first class only upright, and nothing before one photograph.

    Before another it knows the objects a.
    """
    wnid, object_id, varied, index = key.split("_")
    lies = wnid == RENDERED_WNIDS[0] and varied == "pose" and index in ("0", "1", "4")
    is_right = not lies and not (varied == "background" and (index == "2" or (index == "1" and object_id == "b")))
    return [1.0, 0.0] if is_right == (wnid == RENDERED_WNIDS[0]) else [0.0, 1.0]
