"""ImageNet-CoG in small: which classes are unseen, what is judged, and all of it in very small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shardtools.errors import OptionError, PlanError, PlanMismatchError
from shardtools.evaluation.cog import CogOptions, CogResult, run_cog
from shardtools.evaluation.results import Result, read_results
from shardtools.manifest import digest
from shardtools.pipelines.studies.micro_cog import steps
from shardtools.pipelines.studies.micro_cog.concepts import choose_concepts
from shardtools.pipelines.studies.micro_cog.findings import HOLDS, NOT, OPEN, judge
from shardtools.pipelines.studies.micro_cog.plan import StudyOptions, overlay_name
from shardtools.pipelines.studies.micro_cog.study import parse, run_study
from shardtools.rendering import MeshObject, write_mesh
from shardtools.rendering.meshes.catalogue import write_listing
from shardtools.sql import query
from shardtools.storage import open_storage
from tests.helpers.rendered_worlds import make_catalogues, triangle
from tests.helpers.study_runs import run_here

BED, CHAIR, SOFA = "n02818832", "n03001627", "n04256520"
BOTTLE, CAR, TOOL, TREE = "n02876657", "n02958343", "n04451818", "n13104059"
FOOTWEAR, PERSON = "n03380867", "n00007846"
WNIDS = (BED, CHAIR, SOFA, BOTTLE, CAR, TOOL, TREE)


def test_classes_above_seen_ones_and_persons_are_no_unseen_concepts() -> None:
    options = StudyOptions(out="s", levels=2, size=2, random=1)
    found = choose_concepts(options, (*WNIDS, FOOTWEAR, PERSON))
    assert found.seen == (BED, CHAIR, SOFA) and len(found.photographed) == 10
    taken = {concept.wnid for level in found.levels for concept in level.concepts}
    assert taken == {BOTTLE, CAR, TOOL, TREE}
    # A tree is farther from furniture and clothes than any artifact.
    assert found.levels[-1].concepts[-1].wnid == TREE
    similarities = [concept.similarity or 0.0 for level in found.levels for concept in level.concepts]
    assert similarities == sorted(similarities, reverse=True)
    assert {wnid for level in found.again for wnid in level.wnids} == taken
    assert all(set(level.wnids) < set(found.seen) for level in found.seen_sets)
    # Without the photographs, footwear lies above nothing that was seen.
    bare = choose_concepts(replace(options, fashion=""), (*WNIDS, FOOTWEAR))
    assert not bare.photographed and FOOTWEAR in {wnid for level in bare.levels for wnid in level.wnids} | {
        wnid for level in bare.drawn for wnid in level.wnids
    }
    with pytest.raises(PlanError, match=r"2 levels of 3 need 6 unseen classes and 3 seen ones, found 4 and 3"):
        choose_concepts(replace(options, size=3), WNIDS)


def test_options() -> None:
    options = parse(["--short", "--out", "s", "--encoder", "lite1"])
    assert options.encoders == ("lite1",) and options.levels == 3
    with pytest.raises(OptionError, match="folds is at least 2, found 1"):
        replace(options, folds=1)
    with pytest.raises(OptionError, match="fashion_share is 1 to 256, found 300"):
        replace(options, fashion_share=300)


def rows(model: str, seen: float, near: float, far: float, *, step: float = 0.01) -> list[Result]:
    """Accuracies of a model in three folds, which differ by a step."""
    values = {"seen-1": seen, "l1": near, "l2": far, "wu-palmer-l1": near, "wu-palmer-l2": near, "r1": near}
    return [
        Result(
            study="cog",
            model=model,
            dataset=f"cog-{name}",
            metric="top1_accuracy",
            value=value + step * fold * (name == "l2"),
            seed=fold,
            source="made",
        )
        for name, value in values.items()
        for fold in range(3)
    ]


def test_verdicts_are_of_what_is_lost_beyond_the_encoders() -> None:
    options = StudyOptions(out="s", encoders=("lite0",), levels=2)
    made = [*rows("lite0", 0.9, 0.9, 0.8, step=0.0), *rows("own-linear", 0.9, 0.8, 0.5)]
    found = judge(options, [*made, *rows("own-projector", 0.8, 0.8, 0.8)])
    by_text = {one.text: one for one in found}
    lost = by_text["own-linear: the farthest level less the seen concepts"]
    assert lost.values == pytest.approx((-40, -39, -38)) and lost.verdict == HOLDS
    beyond = by_text["own-linear: the same, less what the encoders lose there"]
    assert beyond.values == pytest.approx((-30, -29, -28)) and beyond.verdict == HOLDS
    assert by_text["own-projector: the same, less what the encoders lose there"].verdict == NOT
    assert by_text["a projector less none, seen concepts"].verdict == NOT
    unseen = by_text["a projector less none, unseen concepts, all levels"]
    assert unseen.values == pytest.approx((15, 15, 15)) and unseen.verdict == HOLDS
    # What differs from fold to fold as much as from zero is no finding.
    noisy = judge(options, [*made, *rows("own-projector", 0.9, 0.8, 0.4, step=0.1)])
    assert noisy[-1].verdict == OPEN


def tiny(folder: Path) -> StudyOptions:
    """Seven classes of two objects, whose catalogues are there."""
    make_catalogues(folder, 1)
    meshes = open_storage(str(folder / "meshes"))
    listed = []
    for kind, wnid in enumerate(WNIDS):
        for number in range(2):
            path, content = f"{wnid}/o{number}.mesh", write_mesh(triangle(10 * kind + number))
            meshes.write(path, content)
            listed.append(MeshObject(wnid=wnid, object_id=f"o{number}", path=path, sha256=digest(content)))
    write_listing(meshes, listed, ())
    return StudyOptions(
        out=str(folder),
        fashion="",
        objects=2,
        at_least=2,
        draws=1,
        image_size=32,
        folds=2,
        levels=2,
        size=2,
        seen_sets=1,
        random=1,
        encoders=("lite0",),
        heads=("linear",),
        train_size=32,
        epochs=1,
        batch_size=4,
        shots=(),
        trials=2,
    )


def test_a_stopped_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = tiny(tmp_path)
    run_here(monkeypatch)

    def fails_in_the_second_fold(wanted: CogOptions) -> CogResult:
        if wanted.overlay == overlay_name(1):
            raise OptionError("planted")
        return run_cog(wanted)

    monkeypatch.setattr(steps, "run_cog", fails_in_the_second_fold)
    with pytest.raises(OptionError, match="planted"):
        run_study(options)
    begun = [json.loads(line)["step"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert begun[-1] == "figures of lite0, fold 0"

    monkeypatch.setattr(steps, "run_cog", run_cog)
    report = run_study(options)
    done = [json.loads(line)["step"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    # What was done before is not done again.
    assert done[: len(begun)] == begun and len(set(done)) == len(done)
    assert report == (tmp_path / "table.md").read_text()
    assert (tmp_path / "levels.png").stat().st_size > 5000
    found = read_results([tmp_path / "results.parquet"])
    assert {row.model for row in found} == {"own-linear", "lite0"} and {row.seed for row in found} == {0, 1}
    check_parts(options)
    check_training(options)
    with pytest.raises(PlanMismatchError, match=r"study of other sizes .*trials was 2, is 3"):
        run_study(replace(options, trials=3))


def check_parts(options: StudyOptions) -> None:
    """No object is on both sides of a fold, and every one is tested on once."""
    url = options.dataset("world")
    tested: list[str] = []
    for fold in range(options.folds):
        sql = (
            "select s.wnid || '/' || s.object_id as name, string_agg(distinct o.part, ',') as parts from samples s "
            f"join overlays.{overlay_name(fold)} o on s.key = o.key where o.level like 'L%' group by all"
        )
        found = query(sql, [url]).to_pylist()
        assert {row["parts"] for row in found} == {"train", "test"}
        tested += [row["name"] for row in found if row["parts"] == "test"]
    assert len(tested) == len(set(tested)) == 8


def check_training(options: StudyOptions) -> None:
    """A network of a fold was trained on seen classes alone, and on no object that its fold holds out."""
    run = json.loads((options.folder / "runs" / "own-linear-fold0" / "run.json").read_text())
    where = json.dumps(run)
    assert all(wnid in where for wnid in (BED, CHAIR, SOFA)) and not any(wnid in where for wnid in (BOTTLE, TREE))
