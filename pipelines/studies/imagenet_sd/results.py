"""The results of the micro study: one line a cell, means over seeds, and the table made of them.

Owns `results.jsonl` and `study.json`. A line counts once its line break is there, so a kill costs at most the cell in
hand. The price of a plain file: a table is made from all of its lines each time.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shardtools.errors import DatasetError, first_line
from shardtools.pipelines.studies.folder import SETTINGS_FILE, hold_to_settings
from shardtools.pipelines.studies.imagenet_sd.cells import StudyOptions
from shardtools.storage import Storage

RESULTS_FILE = "results.jsonl"
_GROUP = ("source", "prompt_template", "guidance_scale", "num_inference_steps", "scale", "augmentation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A cell over its seeds.

    Attributes:
        source: "real" or "generated".
        prompt_template: Template; `None` for photographs, as the next two.
        guidance: Guidance scale.
        steps: Denoising steps.
        scale: Clones.
        augmentation: "plain" or "multi-crop".
        top1: Mean accuracy in percent.
        deviation: Of single seeds (n - 1 in the denominator), in points; `None` for one seed.
        num_seeds: How many.
        test_images: Test photographs of each.
    """

    source: str
    prompt_template: str | None
    guidance: float | None
    steps: int | None
    scale: int
    augmentation: str
    top1: float
    deviation: float | None
    num_seeds: int
    test_images: int

    @property
    def binomial_error(self) -> float:
        """Standard error that drawing the test photographs gives one accuracy, in points; all seeds share them."""
        share = self.top1 / 100
        return 100 * math.sqrt(share * (1 - share) / self.test_images)

    def __str__(self) -> str:
        deviation = "" if self.deviation is None else f" ± {self.deviation:.1f}"
        return f"{self.top1:.1f}{deviation} ({self.binomial_error:.1f})"


def read_results(out: Path) -> list[dict[str, Any]]:
    """The finished cells, in the order in which they ended; a line that a kill cut is left out.

    Raises:
        DatasetError: A line is no result, or a cell is there twice.
    """
    path = out / RESULTS_FILE
    # Without what follows the last line break: nothing, or a line that a kill cut.
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    found: dict[str, dict[str, Any]] = {}
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            name = line["cell"]
            sound = name not in found and all(key in line for key in (*_GROUP, "seed", "top1", "test_images"))
        except (ValueError, TypeError, KeyError):
            sound = False
        if not sound:
            raise DatasetError(
                f"{path}: expected the result of a further cell, found {text[:60]!r} in line {number}: remove that line"
            )
        found[name] = line
    return list(found.values())


def add_result(out: Path, result: dict[str, Any]) -> None:
    """Appends a line, after what a kill left of an unfinished one is cut."""
    with (out / RESULTS_FILE).open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write((json.dumps(result) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def hold_to_protocol(storage: Storage, options: StudyOptions) -> None:
    """As `hold_to_settings`; a folder of an earlier protocol is named as that.

    Raises:
        PlanMismatchError: The folder holds another study.
        DatasetError: Its file is damaged.
    """
    hold_to_settings(
        storage,
        options.settings(),
        needed="protocol",
        lacking="holds a study with the crops, hypernyms and scenes of an earlier release: --report shows what it "
        "holds, give another --out for a new one",
    )


def stored_options(out: Path) -> StudyOptions:
    """What a study's folder was begun with, of any protocol; its seeds are those of its results.

    Raises:
        DatasetError: There is no study, no result yet, or a file is damaged.
    """
    path = out / SETTINGS_FILE
    results = read_results(out)
    if not results:
        raise DatasetError(f"{out} holds no results of a study: run it without --report first")
    names = {one.name for one in fields(StudyOptions)} - {"out", "seeds"}
    try:
        found = json.loads(path.read_bytes())
        values: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in found.items() if name in names
        }
        values |= {"out": str(out), "seeds": 1 + max(line["seed"] for line in results)}
        return StudyOptions(**values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: expected a study's settings, found {first_line(error)}: restore the file"
        ) from None


def means(results: Sequence[dict[str, Any]]) -> list[Mean]:
    """Means over the seeds of each cell, in the order of its first result."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    test_images: dict[tuple[Any, ...], int] = {}
    for line in results:
        group = tuple(line[name] for name in _GROUP)
        groups.setdefault(group, []).append(line["top1"])
        test_images[group] = line["test_images"]
    found = []
    for group, values in groups.items():
        source, prompt_template, guidance, steps, scale, augmentation = group
        mean = math.fsum(values) / len(values)
        squares = math.fsum((value - mean) ** 2 for value in values)
        found.append(
            Mean(
                source=source,
                prompt_template=prompt_template,
                guidance=guidance,
                steps=steps,
                scale=scale,
                augmentation=augmentation,
                top1=mean,
                deviation=math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None,
                num_seeds=len(values),
                test_images=test_images[group],
            )
        )
    return found


def find(found: Sequence[Mean], **wanted: Any) -> list[Mean]:
    """Those whose attributes are as given, the smallest scale, guidance and steps first."""
    fitting = [one for one in found if all(getattr(one, name) == value for name, value in wanted.items())]
    return sorted(fitting, key=lambda one: (one.scale, one.guidance or 0.0, one.steps or 0))


def main_table(options: StudyOptions, found: Sequence[Mean]) -> str:
    """Tables 5.1 and 5.2 of the thesis in small, as Markdown.

    Args:
        options: The study's.
        found: Of `means`; what is missing is shown as a dash.
    """
    head = ["trained on", "scale", "guidance", "prompt", *options.augmentations, "below real"]
    rows = [_row(options, found, "photographs", 1, None, None)]
    steps = options.num_inference_steps
    keys = [(1, guidance, prompt_template) for guidance in options.guidances for prompt_template in options.templates]
    scaled = find(found, source="generated", steps=steps, augmentation=options.augmentations[-1])
    keys += [(one.scale, one.guidance or 0.0, one.prompt_template or "") for one in scaled if one.scale > 1]
    rows += [
        _row(options, found, "generated", scale, guidance, prompt_template) for scale, guidance, prompt_template in keys
    ]
    return _markdown(head, rows)


def _row(
    options: StudyOptions,
    found: Sequence[Mean],
    what: str,
    scale: int,
    guidance: float | None,
    prompt_template: str | None,
) -> list[str]:
    source = "real" if prompt_template is None else "generated"
    steps = None if prompt_template is None else options.num_inference_steps
    shown, best = [], None
    for augmentation in options.augmentations:
        cell = find(
            found,
            source=source,
            prompt_template=prompt_template,
            guidance=guidance,
            steps=steps,
            scale=scale,
            augmentation=augmentation,
        )
        real = find(found, source="real", augmentation=augmentation)
        shown.append(str(cell[0]) if cell else "-")
        # The last column is of the last augmentation.
        best = real[0].top1 - cell[0].top1 if cell and real and prompt_template is not None else None
    name = "" if prompt_template is None else f"`{prompt_template}`"
    below = "" if best is None else f"{best:.1f}"
    return [what, str(scale), "" if guidance is None else f"{guidance:g}", name, *shown, below]


def sweep_table(found: Sequence[Mean], *, axis: str, **fixed: Any) -> str:
    """A row of the guidance or steps and one of the accuracy.

    Args:
        found: Of `means`.
        axis: "guidance" or "steps".
        **fixed: The other attributes.
    """
    cells = find(found, source="generated", scale=1, **fixed)
    return _markdown([axis, *(f"{getattr(cell, axis):g}" for cell in cells)], [["top-1", *map(str, cells)]])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
