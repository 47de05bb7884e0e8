"""From latents to committed shards, in a thread beside the denoising loop.

Owns what happens to a batch after the denoiser: decoding, the checks, JPEG, the shard and its part. One thread and a
queue of two batches: more would only hold memory, since the denoiser is the slow side.
"""

from __future__ import annotations

import dataclasses
import io
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image, UnidentifiedImageError

from shardtools.dataset import CommittedShard, ShardWriter, replace_part
from shardtools.generation import prompt_reader
from shardtools.generation.plan import GeneratorSettings, PlanRow
from shardtools.generation.preparing import Job
from shardtools.manifest import decode_part
from shardtools.sample import STATUS_OK, Sample
from shardtools.shards import part_path
from shardtools.storage import Storage

BLACK_BELOW = 8
"""An image whose brightest channel stays below this (of 255) counts as black."""

_VERSIONED_LIBRARIES = ("torch", "diffusers", "transformers", "pillow")
_QUEUE_LENGTH = 2


class Finisher:
    """Takes batches of latents and commits shards.

    `begin`, `put` and `end` are called by the denoising loop in that order; an error in the thread is raised by the
    next of
    these calls, or on leaving the context.
    """

    def __init__(
        self,
        job: Job,
        storage: Storage,
        engine: Any,
        *,
        on_batch: Callable[[int], None],
        on_shard: Callable[[CommittedShard], None],
    ) -> None:
        self._job = job
        self._storage = storage
        self._engine = engine
        self._on_batch = on_batch
        self._on_shard = on_shard
        self._provenance = common_provenance(
            job.plan.options.generator,
            prompt_template=job.plan.options.prompts.template,
            plan_id=job.plan_id,
            model_id=job.model_id,
            device=engine.device,
        )
        self._reader = prompt_reader(job.model_path)
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_LENGTH)
        self._error: BaseException | None = None
        self._writer: ShardWriter | None = None
        self._attempt = 1
        self._thread = threading.Thread(target=self._work, name="finisher", daemon=True)

    def __enter__(self) -> Finisher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def batches(self, shard_index: int) -> Iterator[list[PlanRow]]:
        """Batches of the rows to make for a shard: all of them, or those that failed, with their next seeds."""
        rows = self._job.plan.shard_rows(shard_index)
        # Which rows failed stands in the part; the same rows with the same seeds would fail again.
        if self._job.retry_failed:
            failed = {row["key"] for row in self._part(shard_index).table.to_pylist() if row["status"] != STATUS_OK}
            rows = [
                dataclasses.replace(row, seed=self._job.plan.retry_seed(row, self._next_attempt(shard_index)))
                for row in rows
                if row.key in failed
            ]
        size = self._job.plan.options.generator.batch_size
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def begin(self, shard_index: int) -> None:
        """Starts a shard."""
        self._submit(lambda: self._begin(shard_index))

    def put(self, rows: Sequence[PlanRow], output: torch.Tensor) -> None:
        """Hands over one denoised batch; waits while two are queued."""
        self._submit(lambda: self._finish_batch(rows, output))

    def end(self) -> None:
        """Commits the shard."""
        self._submit(self._commit)

    def _submit(self, work: Callable[[], None]) -> None:
        self._raise()
        self._queue.put(work)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._error is not None:
                # The queue is emptied all the same, or the denoising loop would wait in `put` for ever instead of
                # hearing of it.
                continue
            try:
                work()
            except BaseException as error:
                self._error = error
        if self._writer is not None:
            # Reached with a shard in hand only after an error: what was written of it is discarded.
            self._writer.__exit__(None, None, None)

    def _begin(self, shard_index: int) -> None:
        split = self._job.plan.options.split
        self._shard_index = shard_index
        self._attempt = self._next_attempt(shard_index) if self._job.retry_failed else 1
        self._writer = ShardWriter(
            self._storage,
            split=split,
            shard_index=shard_index,
            attempt=self._attempt,
            plan_id=self._provenance["plan_id"],
        ).__enter__()

    def _finish_batch(self, rows: Sequence[PlanRow], output: torch.Tensor) -> None:
        assert self._writer is not None
        decoded = self._engine.decode(output)
        for row, image, finite, nsfw in zip(rows, decoded.images, decoded.finite, decoded.nsfw, strict=True):
            self._writer.add(
                make_sample(
                    row,
                    image,
                    finite=bool(finite),
                    nsfw=nsfw,
                    generator=self._job.plan.options.generator,
                    provenance=self._provenance,
                    attempt=self._attempt,
                    cut=self._reader.reason(row.prompt) if self._reader is not None else None,
                )
            )
        self._on_batch(len(rows))

    def _commit(self) -> None:
        assert self._writer is not None
        writer, self._writer = self._writer, None
        # Also where committing fails: what was written of the shard is discarded, and its file closed.
        with writer:
            committed = self._replace(writer) if self._job.retry_failed else writer.commit()
        self._on_shard(committed)

    def _replace(self, writer: ShardWriter) -> CommittedShard:
        """Publishes the images made again as a further tar, then a part whose failed rows point to it."""
        part = self._part(self._shard_index)
        # Durable before the part names it: killed in between, the old part still speaks for the shard.
        table, shards = writer.publish_shard()
        fresh = {row["key"]: row for row in table.to_pylist()}
        rows = [fresh.get(row["key"], row) for row in part.table.to_pylist()]
        merged = pa.Table.from_pylist(rows, schema=part.table.schema)
        split = self._job.plan.options.split
        plan_id = part.origin.plan_id if part.origin else None
        replace_part(self._storage, split, self._shard_index, merged, [*part.shards, *shards], plan_id=plan_id)
        images = [row for row in fresh.values() if row["status"] == STATUS_OK]
        return CommittedShard(
            split=split,
            shard_index=self._shard_index,
            num_rows=len(fresh),
            num_images=len(images),
            num_bytes=sum(row["num_bytes"] for row in images),
        )

    def _part(self, shard_index: int) -> Any:
        path = part_path(self._job.plan.options.split, shard_index)
        return decode_part(self._storage.read(path), where=self._storage.object_url(path))

    def _next_attempt(self, shard_index: int) -> int:
        return int(max(self._part(shard_index).table["attempt"].to_pylist())) + 1


def make_sample(
    row: PlanRow,
    image: npt.NDArray[np.uint8],
    *,
    finite: bool,
    nsfw: bool | None,
    generator: GeneratorSettings,
    provenance: Mapping[str, Any],
    attempt: int,
    cut: str | None = None,
) -> Sample:
    """The sample of one decoded image, with or without bytes.

    Args:
        row: What was asked for.
        image: uint8 [H, W, 3] RGB.
        finite: Whether the decoder's output was free of NaN and infinity.
        nsfw: The safety checker's verdict; `None` where it did not run.
        generator: How the image was made.
        provenance: `common_provenance`.
        attempt: 1 for the first try.
        cut: What the row says of a prompt that is not read to its end.
    """
    status, reason, content = judge_image(image, finite=finite, quality=generator.quality)
    if status == STATUS_OK and nsfw and generator.safety == "drop":
        status, reason = "unsafe", "flagged by the pipeline's safety checker"
    usable = status == STATUS_OK
    return Sample(
        key=row.key,
        image_bytes=content if usable else None,
        image_format="jpg" if usable else None,
        width=generator.width if usable else None,
        height=generator.height if usable else None,
        mode="RGB" if usable else None,
        wnid=row.wnid,
        class_index=row.class_index,
        label_source="prompt",
        source="generated",
        status=status,
        reason=reason if reason is not None or not usable else cut,
        provenance={
            **provenance,
            "replica": row.replica,
            "prompt": row.prompt,
            "scene": row.scene,
            "seed": row.seed,
            "nsfw_detected": nsfw,
            "attempt": attempt,
        },
    )


def judge_image(image: npt.NDArray[np.uint8], *, finite: bool, quality: int) -> tuple[str, str | None, bytes | None]:
    """Encodes an image and says whether it is one.

    Args:
        image: uint8 [H, W, 3] RGB.
        finite: Whether the decoder's output was free of NaN and infinity.
        quality: JPEG quality, 1 to 100.

    Returns:
        Status ("ok", "nan", "black", "undecodable"), the reason where it is not "ok", and the JPEG bytes.
    """
    if not finite:
        return "nan", "the decoder's output holds NaN or infinity", None
    # After the test for NaN, which became 0 on the way to pixels and would seem black.
    if int(image.max()) < BLACK_BELOW:
        return "black", f"no channel of any pixel reaches {BLACK_BELOW} of 255", None
    content = encode_jpeg(image, quality)
    try:
        with Image.open(io.BytesIO(content)) as decoded:
            decoded.load()
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        return "undecodable", f"the JPEG just made cannot be read: {error}", None
    return STATUS_OK, None, content


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Baseline JPEG of uint8 [H, W, 3] RGB; colour at full resolution for small images, where 4:2:0 would smear it."""
    sink = io.BytesIO()
    subsampling = 0 if min(image.shape[:2]) < 128 else 2
    Image.fromarray(image).save(sink, "JPEG", quality=quality, subsampling=subsampling)
    return sink.getvalue()


def common_provenance(
    generator: GeneratorSettings, *, prompt_template: str, plan_id: str, model_id: str, device: torch.device
) -> dict[str, Any]:
    """What all images of one process share: settings, model, this machine's device and library versions."""
    return {
        "plan_id": plan_id,
        "prompt_template": prompt_template,
        "negative_prompt": generator.negative_prompt,
        "guidance_scale": generator.guidance_scale,
        "num_inference_steps": generator.num_inference_steps,
        "scheduler": generator.scheduler,
        "model_id": model_id,
        "model_digest": generator.model_digest,
        "batch_size": generator.batch_size,
        "threads_per_process": generator.threads_per_process,
        "dtype": generator.dtype,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "library_versions": json.dumps({name: version(name) for name in _VERSIONED_LIBRARIES}),
    }
