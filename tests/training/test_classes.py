"""Classes of datasets that number them differently: found by their names, by manifests alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shardtools.errors import OptionError, PlanMismatchError, ShardtoolsError
from shardtools.loader import Loader
from shardtools.sources import SourceOptions
from shardtools.training import TrainOptions, load_recipe, train
from shardtools.training.classes import plan_classes
from shardtools.training.data import Share, evaluation_loader, training_loader
from shardtools.writing import WriteOptions
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process


def dataset(place: Path, names: list[str], *, classes: list[str] | None = None, split: str = "train") -> str:
    """Two images a class, numbered by `classes` or by the sorted names."""
    files = {f"{name}/{place.name}{number}.jpg": jpeg(number) for name in names for number in range(2)}
    source = write_files(place.parent / f"{place.name}-source", files)
    listed = None
    if classes is not None:
        listed = str(place.parent / f"{place.name}.csv")
        Path(listed).write_text("name,definition,id\n" + "".join(f"{name},,{name}\n" for name in classes))
    options = SourceOptions(source=str(source), classes=listed, split=split, kind="imagefolder")
    write_in_process(WriteOptions(source=options, out=str(place)))
    return str(place)


def options(*datasets: str, out: Path, **changes: Any) -> TrainOptions:
    recipe = load_recipe("micro", ["batch_size=2", "image_size=16", "eval_resize=16"])
    return TrainOptions(datasets=datasets, out=str(out), recipe=recipe, threads=1, device="cpu", **changes)


def labels(loader: Any) -> dict[str, int]:
    with Loader(loader) as opened:
        return {
            key: label
            for batch in opened.epoch(0)
            for key, label in zip(batch.keys, batch.labels.tolist(), strict=True)
        }


WNIDS = ["n01440764", "n01443537", "n01484850"]


def test_a_list_in_its_own_order_is_evaluated_on_the_sorted_whole(tmp_path: Path) -> None:
    some = dataset(tmp_path / "some", WNIDS[:2], classes=[WNIDS[1], WNIDS[0]])
    whole = dataset(tmp_path / "whole", WNIDS, split="val")
    wanted = options(some, out=tmp_path / "run", val=whole)
    plan = plan_classes(wanted)

    assert plan.names == {0: WNIDS[1], 1: WNIDS[0]} and plan.training is None
    assert plan.evaluation == {0: 1, 1: 0}
    assert "2 of 3 classes are evaluated" in plan.notes[0] and WNIDS[2] in plan.notes[0]
    assert labels(evaluation_loader(wanted, Share(), plan)) == {
        f"{wnid}_whole{number}": label for label, wnid in enumerate((WNIDS[1], WNIDS[0])) for number in range(2)
    }
    # The other way round: trained on all of them, evaluated on some.
    other = plan_classes(options(whole, out=tmp_path / "run", split="val", val=some, val_split="train"))
    assert other.evaluation == {0: 1, 1: 0} and len(other.names) == 3


def test_datasets_that_are_trained_on_together_take_the_firsts_numbers(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", ["cat", "dog"], classes=["dog", "cat"])
    two = dataset(tmp_path / "two", ["ant", "cat", "dog"])
    wanted = options(one, two, out=tmp_path / "run", where="width > 0")
    plan = plan_classes(wanted)

    assert plan.names == {0: "dog", 1: "cat", 2: "ant"}
    assert plan.training == ({0: 0, 1: 1}, {0: 2, 1: 1, 2: 0})
    found = labels(training_loader(wanted, Share(), plan))
    names = {"dog": 0, "cat": 1, "ant": 2}
    assert found == {
        f"{name}_{place}{n}": names[name]
        for place in ("one", "two")
        for name in names
        for n in range(2)
        if not (place == "one" and name == "ant")
    }
    by_index = plan_classes(options(one, two, out=tmp_path / "run", labels_by="index"))
    assert by_index.training is None and "class 0 is dog in the training data and ant" in by_index.notes[0]
    with pytest.raises(PlanMismatchError, match="--labels-by index"):
        plan_classes(options(one, two, out=tmp_path / "run", split=None, view="select key from samples"))


def test_same_numbers_read_as_before(tmp_path: Path) -> None:
    one = dataset(tmp_path / "one", ["cat", "dog"])
    plan = plan_classes(options(one, out=tmp_path / "run", val=one, val_split="train"))
    assert (plan.training, plan.evaluation, plan.notes) == (None, None, ())
    assert evaluation_loader(options(one, out=tmp_path, val=one), Share(), plan).view is None


def test_what_fits_nowhere_is_refused_before_torch_with_one_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = dataset(tmp_path / "one", ["cat", "dog"])
    other = dataset(tmp_path / "other", ["fish", "fox"])
    mistakes: list[tuple[dict[str, Any], type[ShardtoolsError], str]] = [
        (
            {"val": other, "val_split": "train"},
            PlanMismatchError,
            "found none of them: class 0 is fish here, class 0 is cat",
        ),
        ({"val": other}, OptionError, "has no split 'val' to evaluate on: it has train; give --val-split"),
    ]
    for changes, kind, words in mistakes:
        # A child that would be started is not there to be asked.
        monkeypatch.setattr("shardtools.training.launch.TRAINER", ("-c", "raise SystemExit('started')"))
        with pytest.raises(kind) as caught:
            train(options(one, out=tmp_path / "run", **changes))
        assert words in str(caught.value) and "\n" not in str(caught.value)
    assert PlanMismatchError.exit_code == 1


def test_names_decide_what_another_run_is(tmp_path: Path) -> None:
    plain = options("a", out=tmp_path)
    assert "labels_by" not in plain.result()
    assert options("a", out=tmp_path, labels_by="index").result()["labels_by"] == "index"
    with pytest.raises(OptionError, match="labels_by is one of wnid, index, found 'name'"):
        options("a", out=tmp_path, labels_by="name")
