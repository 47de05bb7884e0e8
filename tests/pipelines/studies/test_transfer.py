"""The study of transfer: what is held out, what is written down, and which verdicts follow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.metrics import Estimated
from shardtools.evaluation.results import read_results
from shardtools.evaluation.variation import split_objects
from shardtools.pipelines.studies.transfer import sets
from shardtools.pipelines.studies.transfer.findings import NO, OPEN, TOLD, YES, _verdict
from shardtools.pipelines.studies.transfer.plan import CLOTHES, DIGITS, RECIPES, SETS, SHORT, UNSEEN, StudyOptions
from shardtools.pipelines.studies.transfer.sets import by_objects, by_places, object_parts, write_clothes, write_digits
from shardtools.pipelines.studies.transfer.study import make_study_report, parse
from shardtools.pipelines.studies.transfer.tuning import NOTHING, study_file, tuned_report, write_study
from shardtools.sample import Sample
from shardtools.storage import open_storage
from shardtools.transfer import Outcome, list_cells, read_study
from shardtools.transfer.outcomes import publish_outcome
from tests.helpers.rendered_datasets import objects_only
from tests.helpers.transfer_studies import write_sets


def options(out: Path, **changes: Any) -> StudyOptions:
    return StudyOptions(
        **{
            **SHORT,
            "out": str(out),
            "train": 4,
            "val": 2,
            "test": 3,
            "tuned_sets": (DIGITS,),
            "lite": ("lite0",),
            **changes,
        }
    )


def world(num_objects: int = 6) -> list[Sample]:
    """Two classes, five photographs of each of two types behind every object."""
    return [
        Sample(
            key=f"{wnid}-{number}-{photo}",
            image_bytes=b"x",
            wnid=wnid,
            provenance={"object_id": f"{wnid}/{number}", "background": photo, "background_type": photo[:3]},
        )
        for wnid in ("n1", "n2")
        for number in range(num_objects)
        for photo in (f"{name}/{number}" for name in ("sky", "sea") for number in range(5))
    ]


def test_near_duplicates_of_held_out_objects_are_not_learnt_from() -> None:
    found = objects_only([6, 6])
    free = object_parts(found, split_objects(found, held_out=1, num_folds=2, seed=0))
    assert sorted(free.values()) == ["test"] * 2 + ["train"] * 8 + ["val"] * 2
    names = [f"{one.wnid}/{one.object_id}" for one in found.objects]
    tested = next(place for place, name in enumerate(names) if free[name] == "test")
    learnt = next(place for place, name in enumerate(names) if free[name] == "train")

    twins = [(found.objects[tested], found.objects[learnt])]
    parts = object_parts(found, split_objects(found, held_out=1, num_folds=2, seed=0, twins=twins))
    assert parts.get(names[learnt]) != "train" or parts[names[tested]] == "train"


def test_objects_and_photographs_are_held_out(tmp_path: Path) -> None:
    samples = world()
    names = [f"{one.wnid}/{one.provenance['object_id']}" for one in samples]
    parts = {name: sets.SPLITS[number % 6 % 3] for number, name in enumerate(dict.fromkeys(names))}
    wanted = options(tmp_path)
    for choice, group, classes in (
        (by_objects(samples, parts, wanted), "object_id", ["n1", "n2"]),
        (by_places(samples, wanted), "background", ["sea", "sky"]),
    ):
        groups: dict[str, set[str]] = {split: set() for split in sets.SPLITS}
        for row, split, label in choice.rows:
            groups[split].add(str(samples[row].provenance[group]))
            own = samples[row].wnid if group == "object_id" else samples[row].provenance["background_type"]
            assert own == choice.classes[label]

        assert list(choice.classes) == classes
        assert not groups["train"] & groups["val"] and not (groups["train"] | groups["val"]) & groups["test"]
        counts = {split: sum(one == split for _, one, _ in choice.rows) for split in sets.SPLITS}
        assert counts == {"train": 8, "val": 4, "test": 6}


def test_too_few_photographs_are_refused(tmp_path: Path) -> None:
    few = [one for one in world() if str(one.provenance["background"])[-1] in "01"]
    with pytest.raises(DatasetError, match="sea has 2 photographs, expected 3: one for each split"):
        by_places(few, options(tmp_path))


def test_pictures_at_hand_are_cut_into_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, tuple[list[bytes], list[int], list[str]]] = {}

    def note(images: Iterable[np.ndarray], labels: list[int], out: str, *, split: list[str], **_: object) -> None:
        written[Path(out).name] = ([image.tobytes() for image in images], labels, split)

    monkeypatch.setattr(sets, "write_samples", note)
    wanted = options(tmp_path)
    write_clothes(wanted)
    write_digits(wanted)

    for name, num_classes in ((CLOTHES, len(UNSEEN)), (DIGITS, 10)):
        images, labels, split = written[name]
        counts = {(label, one): 0 for label in range(num_classes) for one in sets.SPLITS}
        for label, one in zip(labels, split, strict=True):
            counts[label, one] += 1
        assert {one: {counts[label, one] for label in range(num_classes)} for one in sets.SPLITS} == {
            "train": {4},
            "val": {2},
            "test": {3},
        }
        assert len(set(images)) == len(images) and len(images[0]) == 32 * 32
    # The full form asks for more digits than there are to test on.
    write_digits(StudyOptions(out=str(tmp_path)))
    _, labels, split = written[DIGITS]
    assert split.count("train") == 600 and split.count("val") == 300
    assert 10 * 80 < split.count("test") < 10 * 120 and len(set(labels)) == 10


@pytest.mark.parametrize(
    ("interval", "verdict"), [((0.1, 0.4), YES), ((-0.4, -0.1), NO), ((-0.1, 0.4), OPEN), (None, TOLD)]
)
def test_an_interval_decides(interval: tuple[float, float] | None, verdict: str) -> None:
    assert _verdict(Estimated(value=0.2, interval=interval)) == verdict


def test_the_report_of_stand_in_figures(tmp_path: Path) -> None:
    """Probes of clothes rise with the accuracy in pretraining, those of digits fall; fine-tuning leaves nothing."""
    wanted = options(tmp_path / "study")
    dataset = write_sets(tmp_path / "files")
    (wanted.folder / "datasets").mkdir(parents=True)
    (wanted.folder / "datasets" / DIGITS).symlink_to(dataset)
    _stand_in(wanted)
    write_study(wanted)
    cells = list_cells(read_study(str(study_file(wanted))))
    for cell in cells:
        value = 0.4 if cell.model.name == NOTHING else 0.8
        outcome = Outcome(settings=cell.settings, status="done", epoch=1, val=value, test=value)
        publish_outcome(open_storage(str(tmp_path / "study" / "tuning")), cell, outcome)
    report = make_study_report(wanted, open_storage(str(wanted.folder)))

    # From nothing, and two networks, with two rates each.
    assert len(cells) == 6 and tuned_report(wanted).num_left == 0
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in report.splitlines() if line.startswith("| ")}
    ranks = "the more accurate network in pretraining is the better one (Spearman)"
    assert lines[f"clothes (like the pretraining): {ranks}"].endswith("+1.00 [+1.00, +1.00] | holds |")
    assert lines[f"digits (unlike it): {ranks}"].endswith("-1.00 [-1.00, -1.00] | does not hold |")
    tuned = next(line for name, line in lines.items() if name.startswith("digits, fine-tuned"))
    assert "80.0 to 80.0; 40.0" in tuned
    rows = read_results([str(wanted.folder / "results.parquet")])
    assert {row.protocol for row in rows if row.model == "lite0" and row.dataset == DIGITS} == {"linear probe"}
    for name in ("probes.png", "fine-tuning.png"):
        assert (wanted.folder / name).read_bytes().startswith(b"\x89PNG")


def _stand_in(wanted: StudyOptions) -> None:
    """Files as pretrainings and probes leave them."""
    (wanted.folder / "probes").mkdir(parents=True)
    for recipe in RECIPES:
        run = wanted.folder / "runs" / recipe
        run.mkdir(parents=True)
        own = [one for one in wanted.networks if one.recipe == recipe]
        shift = 0.01 * list(RECIPES).index(recipe)
        accuracies = {one.name: 0.3 + 0.1 * number + shift for number, one in enumerate(own)}
        (run / "accuracies.json").write_text(json.dumps(accuracies))
        for network, accuracy in accuracies.items():
            _probe(wanted, network, accuracy)
    for name in wanted.lite:
        _probe(wanted, name, 0.5)


def _probe(wanted: StudyOptions, network: str, accuracy: float) -> None:
    for name in SETS:
        value = 1 - accuracy if name == DIGITS else accuracy
        (wanted.folder / "probes" / f"{network}-{name}.json").write_text(json.dumps({"accuracy": value}))


def test_a_command_line() -> None:
    short, full = parse(["--short", "--classes", "3"]), parse(["--out", "x", "--data", "d"])

    assert (short.classes, short.out, short.lite) == (3, "transfer-study-short", ())
    assert (full.out, full.data, full.lite) == ("x", "d", ("lite0", "lite1", "lite2"))
    with pytest.raises(OptionError, match=r"tuned is some of crops-01, .*, found whole-03"):
        StudyOptions(out="x", tuned=("whole-03",))
    with pytest.raises(OptionError, match=r"kept is rising epochs up to epochs \(32\)"):
        StudyOptions(out="x", kept=(1, 2), tuned=())
