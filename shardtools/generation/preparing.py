"""From a user's options to a job: classes, model and machine looked up, the plan made, the target begun.

Owns what happens before the first image. Everything is checked here, in seconds and without torch, so that a mistake
costs no GPU time; the price is that the model's files are hashed before a run begins.
"""

from __future__ import annotations

import os
import re
import uuid
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from shardtools.dataset import Dataset, PlanFile, list_parts, open_dataset, read_plan_file, store_plan_file
from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import OptionError, PlanError, PlanMismatchError
from shardtools.generation.model import ResolvedModel, resolve_model
from shardtools.generation.options import DEFAULT_IMAGES_PER_CLASS, EMBEDDED_MODEL, GenerateOptions
from shardtools.generation.plan import (
    OLD_SCENE_ORDER,
    SCHEDULERS,
    GeneratorOptions,
    GeneratorSettings,
    Plan,
    PlanOptions,
    auto_samples_per_shard,
)
from shardtools.generation.plan_notes import plan_notes
from shardtools.prompts import PromptOptions, check_template, load_scenes, parse_template
from shardtools.sample import STATUS_OK
from shardtools.shards import parse_part_path
from shardtools.storage import Storage
from shardtools.taxonomy import DEFAULT_CLASSES, ImageClass, load_classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan with the model that serves it and the machine's share: how many processes, on what."""

    plan: Plan
    plan_file: PlanFile
    model: ResolvedModel
    num_processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every process of a run is told.

    Attributes:
        run_id: Names the run in the event log.
        url: The dataset.
        plan: The plan.
        plan_id: Its fingerprint.
        model_path: Folder of the pipeline.
        model_id: Name of the pipeline that goes into the rows.
        tasks: Shards to make, or to make images of again; process r takes every world-size-th from r on.
        retry_failed: Whether the tasks are to make failed images again.
    """

    run_id: str
    url: str
    plan: Plan
    plan_id: str
    model_path: Path
    model_id: str
    tasks: tuple[int, ...]
    retry_failed: bool


def prepare(options: GenerateOptions) -> Prepared:
    """Checks the options and makes the plan; reads the model's and the classes' files, writes nothing.

    Raises:
        ShardtoolsError: An option, the template, a class or the model is wrong.
    """
    model = resolve_model(options.model)
    classes = _classes(options)
    prompts = _prompts(options, classes)
    counts = _counts(options, classes)
    generator = _generator(options, model)
    plan_options = PlanOptions(
        classes=tuple(classes),
        images_per_class=counts,
        scale=options.scale,
        prompts=prompts,
        scene_order=options.scene_order,
        seed=options.seed,
        split=options.split,
        samples_per_shard=options.samples_per_shard or auto_samples_per_shard(sum(counts), options.batch_size),
        generator=generator,
    )
    plan = Plan(plan_options)
    settings = plan_options.settings()
    plan_file = PlanFile(
        kind="generated",
        plan_id=fingerprint(settings),
        settings=settings,
        notes={"model_id": model.model_id, "plan": plan_notes(plan_options)},
        scale=options.scale,
        num_shards=plan.num_shards,
        num_rows=plan.num_rows,
    )
    return Prepared(
        plan=plan, plan_file=plan_file, model=model, num_processes=_num_processes(options, generator.device)
    )


def begin(prepared: Prepared, storage: Storage, *, retry_failed: bool) -> Job:
    """Writes or compares `plan.json` and lists what is left to do; the caller holds the lease.

    Raises:
        PlanMismatchError: The target holds another plan.
        PlanError: `retry_failed` on a dataset that is not whole yet.
    """
    _check_scene_order(storage, prepared.plan)
    stored = store_plan_file(storage, prepared.plan_file)
    storage.clean_temporary()
    done = {parse_part_path(path)[1] for path in list_parts(storage)}
    missing = tuple(index for index in range(prepared.plan.num_shards) if index not in done)
    if retry_failed and missing:
        raise PlanError(f"{storage.url} still lacks {len(missing)} shards: run gen-sd without --retry-failed first")
    tasks = (
        _shards_with_failures(Dataset(storage=storage, info=None, part_paths=tuple(list_parts(storage))))
        if retry_failed
        else missing
    )
    return Job(
        run_id=uuid.uuid4().hex[:8],
        url=storage.url,
        plan=prepared.plan,
        plan_id=stored.plan_id,
        model_path=prepared.model.path,
        model_id=str(stored.notes["model_id"]),
        tasks=tasks,
        retry_failed=retry_failed,
    )


def _check_scene_order(storage: Storage, plan: Plan) -> None:
    """Says how to go on with a dataset that was begun before scenes were shuffled: its plan names no order."""
    found = read_plan_file(storage)
    settings = {} if found is None else found.settings
    is_old = bool(settings.get("scenes")) and "scene_order" not in settings
    if is_old and plan.options.scene_order != OLD_SCENE_ORDER:
        raise PlanMismatchError(
            f"{storage.url} was begun with scene_order {OLD_SCENE_ORDER!r}, expected {plan.options.scene_order!r}: go "
            f"on with --scene-order {OLD_SCENE_ORDER}, or begin anew with another --out"
        )


def _shards_with_failures(dataset: Dataset) -> tuple[int, ...]:
    return tuple(
        parse_part_path(path)[1]
        for path, table in zip(dataset.part_paths, dataset.tables(), strict=True)
        if any(status != STATUS_OK for status in table["status"].to_pylist())
    )


def _classes(options: GenerateOptions) -> list[ImageClass]:
    if options.classes is not None:
        return load_classes(options.classes)
    if options.model != EMBEDDED_MODEL:
        raise OptionError(
            f"--model {options.model} needs --classes: a class set (shardtools classes lists them), wnids or a file"
        )
    return load_classes(DEFAULT_CLASSES)


def _prompts(options: GenerateOptions, classes: list[ImageClass]) -> PromptOptions:
    uses_scene = parse_template(options.prompt_template).uses_scene
    if options.scenes is not None and not uses_scene:
        raise OptionError(
            f"--scenes needs a template with b, found {options.prompt_template!r}: add 'inside b' or drop --scenes"
        )
    if options.scene_order == OLD_SCENE_ORDER and not uses_scene:
        raise OptionError(
            f"--scene-order needs a template with b, found {options.prompt_template!r}: add 'inside b' or drop "
            "--scene-order"
        )
    prompts = PromptOptions(
        template=options.prompt_template,
        lemmas=options.lemmas,
        hypernyms=options.hypernyms,
        scenes=load_scenes(options.scenes) if uses_scene else (),
    )
    check_template(parse_template(options.prompt_template), classes, prompts)
    return prompts


def _counts(options: GenerateOptions, classes: list[ImageClass]) -> tuple[int, ...]:
    """Images of each class in one clone."""
    if options.like is None:
        return (options.images_per_class or DEFAULT_IMAGES_PER_CLASS,) * len(classes)
    found: Counter[str] = Counter()
    for table in open_dataset(options.like).tables():
        rows = zip(table["wnid"].to_pylist(), table["status"].to_pylist(), strict=True)
        found.update(wnid for wnid, status in rows if status == STATUS_OK)
    missing = [one.wnid for one in classes if not found[one.wnid]]
    if missing:
        raise PlanError(
            f"{options.like} has no images of {len(missing)} of {len(classes)} classes ({', '.join(missing[:3])}): "
            "choose the --classes it holds"
        )
    return tuple(found[one.wnid] for one in classes)


def _generator(options: GenerateOptions, model: ResolvedModel) -> GeneratorSettings:
    device = options.device if options.device != "auto" else ("cuda" if count_gpus() else "cpu")
    width, height = options.width or model.width, options.height or model.height
    if width is None or height is None:
        raise OptionError(f"{model.path} does not say what size its images have: give --width and --height")
    scheduler = options.scheduler or model.scheduler
    # What is left open in the options; all else is taken over by name, so that a new option needs no line here.
    found = {
        "model_digest": model.digest,
        "scheduler": SCHEDULERS.get(scheduler, scheduler),
        "width": width,
        "height": height,
        "dtype": options.dtype or ("float16" if device == "cuda" else "float32"),
        "device": device,
    }
    return GeneratorSettings(**{one.name: getattr(options, one.name) for one in fields(GeneratorOptions)} | found)


def _num_processes(options: GenerateOptions, device: str) -> int:
    if options.num_processes is not None:
        return options.num_processes
    if device == "cuda":
        return max(1, count_gpus())
    return max(1, len(os.sched_getaffinity(0)) // options.threads_per_process)


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use: the driver's device files, less what CUDA_VISIBLE_DEVICES hides."""
    present = len([name for name in os.listdir("/dev") if re.fullmatch(r"nvidia\d+", name)])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return min(present, len([one for one in visible.split(",") if one not in ("", "-1")]))
