"""The study of natural variation: what it renders and trains, verdicts, and all of it in a tiny form through a stop."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from shardtools.errors import OptionError, PlanError, PlanMismatchError, RunError
from shardtools.evaluation.predictions import PredictOptions
from shardtools.evaluation.results import read_results, reference_results
from shardtools.evaluation.variation import Estimate, VariationOptions, VariationResult, measure
from shardtools.manifest import digest
from shardtools.pipelines.encoders.networks import make_encoder
from shardtools.pipelines.studies.natural_variation import seed, steps, trainings
from shardtools.pipelines.studies.natural_variation.figures import figure_names
from shardtools.pipelines.studies.natural_variation.findings import HOLDS, NOT, OPEN, WEAKER, judged
from shardtools.pipelines.studies.natural_variation.measured import difference, mean_estimate
from shardtools.pipelines.studies.natural_variation.plan import (
    StudyOptions,
    feature_name,
    list_measurements,
    list_trainings,
    list_worlds,
)
from shardtools.pipelines.studies.natural_variation.study import parse, run_study
from shardtools.pipelines.studies.student import student_interval
from shardtools.rendering import Mesh, MeshObject, MeshPart, PhotoName, make_plan, write_mesh
from shardtools.rendering.meshes.catalogue import write_listing
from shardtools.rendering.objects import ObjectName
from shardtools.sql import query
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from tests.helpers.prediction_runs import Here
from tests.helpers.rendered_datasets import WNIDS
from tests.helpers.rendered_worlds import make_catalogues
from tests.helpers.study_runs import run_here

TYPES = ("home", "city", "grass", "sky", "water")


def worlds(options: StudyOptions, num_classes: int) -> dict[str, int]:
    """World -> pictures."""
    wnids = tuple(one.wnid for one in load_classes("imagenet-100"))[:num_classes]
    names = [ObjectName(wnid, f"o{number}") for wnid in wnids for number in range(options.objects)]
    photos = [PhotoName(f"{kind}/{number}", kind) for kind in TYPES for number in range(5)]
    return {one.name: len(make_plan(names, photos, one.render)) for one in list_worlds(options, wnids)}


def test_the_short_form_is_some_three_thousand_pictures() -> None:
    options = parse(["--short", "--out", "s"])
    assert worlds(options, options.classes) == {"roll": 108 * (1 + 16 + 10), "pitch": 108 * 5}
    assert [one.name for one in list_measurements(options)][:4] == [
        "roll-canonical",
        "roll-samples",
        "roll-instances",
        "roll-classes",
    ]
    assert not list(list_trainings(options))


def test_the_full_form_has_every_setting() -> None:
    options = parse([])
    counts = worlds(options, options.classes)
    assert counts["roll"] == 250 * (1 + 24 + 25) and counts["all"] == 250 * 12
    settings = {one.options.setting for one in list_measurements(options)}
    assert settings == {"canonical", "samples", "instances", "classes", "all"}
    names = [one.name for one in list_trainings(options)]
    assert names[:2] == ["lite0-fine-tuned-canonical-seed0", "lite0-fine-tuned-varied-seed0"]
    assert len(names) == len(set(names)) == 8
    with pytest.raises(OptionError, match=r"folds is at most objects \(3\), found 5"):
        replace(options, objects=3)
    assert parse(["--encoder", "timm:vit.mae=w.pt"]).features == {"timm:vit.mae=w.pt": feature_name("timm:vit.mae")}


@pytest.mark.parametrize(
    ("low", "high", "direction", "number", "verdict"),
    [
        (-30.0, -20.0, -1, -42.0, WEAKER),
        (-50.0, -20.0, -1, -42.0, HOLDS),
        (-50.0, -20.0, -1, None, HOLDS),
        (-50.0, 0.0, -1, -42.0, OPEN),
        (1.0, 5.0, -1, -42.0, NOT),
        (1.0, 5.0, 1, 9.0, WEAKER),
        (None, None, 1, 9.0, OPEN),
    ],
)
def test_verdicts(low: float | None, high: float | None, direction: int, number: float | None, verdict: str) -> None:
    assert judged(Estimate(value=-25.0, low=low, high=high), direction, number) == verdict


def test_intervals() -> None:
    one, other = Estimate(value=-0.4, low=-0.5, high=-0.3), Estimate(value=-0.1, low=-0.2, high=0.1)
    gap = difference(one, other)
    # By hand: roots of .1 squared and .2 squared, and of .1 squared twice.
    assert (gap.value, gap.low, gap.high) == pytest.approx((-0.3, -0.3 - 0.05**0.5, -0.3 + 0.02**0.5))
    mean = mean_estimate([one, other])
    assert mean is not None and (mean.value, mean.low, mean.high) == pytest.approx((-0.25, -0.35, -0.1))
    assert mean_estimate([one, None]) is None and difference(one, Estimate(value=0.0)).low is None
    # 4.302653 is the quantile of two degrees of freedom.
    assert student_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_the_seeds_numbers() -> None:
    assert seed.table1(seed.LINEAR)[seed.AVERAGE]["pose"] == -42.03
    assert seed.table3()[seed.AVERAGE]["lighting"] == -49.71 and len(seed.table3()) == 12
    assert seed.real_photos() == {"pose": 0.936, "subcategory": 2.542}


# ---- all of it ----


def solid(kind: int, number: int) -> Mesh:
    """A tent whose width and color say which class it is, and whose height which object."""
    width, height = 0.15 + 0.15 * kind, 0.3 + 0.05 * number
    corners = [[-width, -height, 0.2], [width, -height, 0.2], [0, height, 0], [-width, -height, -0.2]]
    positions = np.array([*corners, [width, -height, -0.2]], np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (len(positions), 1))
    red, green, blue = (0.9 if part == kind else 0.1 for part in range(3))
    return Mesh(
        positions=positions,
        normals=normals,
        uvs=np.zeros((len(positions), 2), np.float32),
        triangles=np.array([[0, 1, 2], [3, 4, 2], [0, 3, 2], [1, 4, 2]], np.uint32),
        parts=(MeshPart(first=0, count=4, color=(red, green, blue, 1.0)),),
    )


def tiny(folder: Path) -> StudyOptions:
    """Three classes of three objects, whose catalogues are there, seen by a small network with drawn weights."""
    make_catalogues(folder, 1)
    meshes = open_storage(str(folder / "meshes"))
    listed = []
    for kind, wnid in enumerate(WNIDS[:3]):
        for number in range(3):
            path, content = f"{wnid}/o{number}.mesh", write_mesh(solid(kind, number))
            meshes.write(path, content)
            listed.append(MeshObject(wnid=wnid, object_id=f"o{number}", path=path, sha256=digest(content)))
    write_listing(meshes, listed, ())
    weights = folder / "weights.safetensors"
    save_file(make_encoder("resnet-micro").network.state_dict(), weights)
    return StudyOptions(
        out=str(folder),
        classes=3,
        objects=3,
        folds=3,
        image_size=64,
        values=2,
        photos=1,
        axes=("pitch",),
        draws=2,
        encoders=(f"resnet-micro={weights}",),
        shares=(50, 95),
        halves=2,
        fine_tuned="",
        scratch_seeds=1,
        epochs=(1, 2),
    )


def predict_here(wanted: PredictOptions) -> None:
    """Predictions in this process."""
    Here(wanted).done()


def test_a_stopped_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = tiny(tmp_path)
    run_here(monkeypatch)
    monkeypatch.setattr(steps, "predict", predict_here)

    def fails_in_classes(wanted: VariationOptions) -> VariationResult:
        if wanted.setting == "classes":
            raise ZeroDivisionError("planted")
        return measure(wanted)

    monkeypatch.setattr(steps, "measure", fails_in_classes)
    with pytest.raises(RunError, match=r"figures roll-classes: ZeroDivisionError: planted \(trace in .*errors\.log\)"):
        run_study(options)
    assert "planted" in (tmp_path / "errors.log").read_text()
    begun = [json.loads(line)["step"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert begun[0] == "pictures of roll" and begun[-1] == "figures roll-instances"

    monkeypatch.setattr(steps, "measure", measure)
    report = run_study(options)
    done = [json.loads(line)["step"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    # What was done before is not done again.
    assert done[: len(begun)] == begun and len(set(done)) == len(done)
    assert report == (tmp_path / "table.md").read_text()
    for name in figure_names():
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert (tmp_path / "sheet_factors.jpg").exists() and (tmp_path / "sheet_objects.jpg").exists()
    check_report(report)
    check_results(options)
    with pytest.raises(PlanMismatchError, match=r"study of other sizes .*halves was 2, is 3"):
        run_study(replace(options, halves=3))
    with pytest.raises(PlanError, match="3 classes of at least 3 objects, the study wants 4"):
        steps.choose_classes(replace(options, classes=4))


def check_report(report: str) -> None:
    """Rows of encoder, training and seed, and every finding with a verdict."""
    assert "| resnet-micro, linear |" in report and "| resnet-micro-from-nothing-varied |" in report
    [trained] = [line for line in report.splitlines() if line.startswith("| resnet-micro-from-nothing-varied |")]
    assert re.match(r"\| resnet-micro-from-nothing-varied \|  \| [0-9.]+ \| [+-][0-9.]+ \[", trained), trained
    assert "| seed, linear, average of 11 | 84.7 | 72.3 | -42.0 |" in report
    rows = [line for line in report.splitlines() if "not testable" in line]
    assert any("architecture matters little" in line for line in rows)
    assert not any("all factors varying together" in line for line in rows)
    assert any("no network was fine-tuned" in line for line in rows)


def check_results(options: StudyOptions) -> None:
    """Rows join with the published ones, and a training saw no object that it is judged on."""
    rows = read_results([str(options.folder / "results.parquet")])
    assert {row.dataset for row in rows} == {"rendered", "rendered pitch"}
    keys = {(row.dataset, row.split, row.metric) for row in rows}
    published = {(row.dataset, row.split, row.metric) for row in reference_results("seed002")}
    assert len(keys & published) == 2 + 2 * 5
    wanted: Any = trainings.training_options(options, next(list_trainings(options)))
    [seen] = query(
        f"select count(distinct object_id || wnid) as n, count(*) as rows from samples where {wanted.where}",
        [options.dataset("roll")],
    ).to_pylist()
    assert (seen["n"], seen["rows"]) == (6, 6)
