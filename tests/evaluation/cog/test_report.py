"""Tables and pictures of levels: published figures as the thesis prints them, own ones beside them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from shardtools.errors import OptionError
from shardtools.evaluation.cog import (
    CogFigures,
    ReportOptions,
    cog_tables,
    draw_all,
    draw_fine_tuned,
    draw_measures,
    fine_tuned_figures,
    own_figures,
    report_figures,
)
from shardtools.evaluation.cog.figures import WHOLE
from shardtools.evaluation.cog.naming import dataset_of, place_of, shots_of
from shardtools.evaluation.results import COG_LEVELS, COG_SHOTS, Result, write_results


@pytest.fixture(scope="module")
def published() -> CogFigures:
    return report_figures(ReportOptions(references=("cog",)))


def row(
    model: str, dataset: str, value: float, *, seed: int | None = None, split: str = "", source: str = "run"
) -> Result:
    facts = {"study": "cog", "metric": "top1_accuracy", "source": source}
    return Result(model=model, dataset=dataset, value=value, seed=seed, split=split, **facts)


def own_rows() -> list[Result]:
    rows = [
        row(model, dataset, base - 0.05 * number + 0.01 * (seed == 2), seed=seed)
        for model, base in (("net", 0.7), ("wide", 0.8))
        for number, dataset in enumerate(("imagenet", "cog-l1", "cog-l2"))
        for seed in (1, 2)
    ]
    return [
        *rows,
        *(row("net", f"cog-text-l{n}", 0.7) for n in (1, 2)),
        *(row("net", f"cog-r{n}", 0.6) for n in (1, 2)),
    ]


def test_published_tables_are_those_of_appendix_b(published: CogFigures) -> None:
    tables = cog_tables(published)
    assert [table.title for table in tables][:3] == [
        "top-1 in %, all images",
        "points above ResNet50, all images",
        "IN-1K: top-1 in % by images a concept",
    ]
    assert len(tables) == 2 + 2 * 6
    whole, relative, shots = (tables[number].block for number in (0, 1, 2))
    assert whole.header == ["from", "model", "IN-1K", "L1", "L2", "L3", "L4", "L5"]
    assert shots.header[2:] == [*map(str, COG_SHOTS), "all"]
    dino = next(cells for cells in whole.rows if cells[1] == "s-DINO")
    assert dino[2:] == ["74.8 +- 0.0", "71.1 +- 0.0", "67.2 +- 0.0", "63.2 +- 0.0", "62.6 +- 0.0", "57.6 +- 0.0"]
    assert next(cells for cells in relative.rows if cells[1] == "s-DINO")[2:] == [
        "-1.0", "+3.2", "+4.1", "+4.2", "+4.5", "+5.6"
    ]  # fmt: skip
    assert shots.rows[0][1:4] == ["ResNet50", "45.0 +- 0.7", "56.6 +- 0.4"]
    assert len(whole.rows) == 31


def test_accuracy_falls_from_level_to_level(published: CogFigures) -> None:
    # Section 3.4.2.1 says so of all networks; by the tables, CLIP is better on the fourth level than on the third.
    rises = [
        (model.name, further)
        for model in published.models
        for nearer, further in pairwise(COG_LEVELS)
        if model.figures[further, WHOLE].value >= model.figures[nearer, WHOLE].value
    ]
    assert rises == [("d-CLIP", "cog-l4")]
    categories = {model.category for model in published.models}
    assert categories == {"", "architecture", "self-supervision", "regularization", "web-data"}


def test_own_rows_are_means_over_seeds_beside_published_ones(tmp_path: Path) -> None:
    path = str(tmp_path / "own.csv")
    write_results(own_rows(), path)
    found = report_figures(ReportOptions(results=(path,), references=("cog",), models=("dino",), baseline="ResNet50"))
    assert [(model.group, model.name) for model in found.models] == [
        ("", "net"), ("", "wide"), ("cog", "ResNet50"), ("cog", "s-DINO")
    ]  # fmt: skip
    assert [place.title for place in found.places] == [
        "IN-1K", "L1", "L2", "L3", "L4", "L5", "R1", "R2", "text-L1", "text-L2"
    ]  # fmt: skip
    absolute, relative = (table.block.rows for table in cog_tables(found)[:2])
    assert absolute[0][:6] == ["own", "net", "70.5 +- 0.5", "65.5 +- 0.5", "60.5 +- 0.5", "-"]
    assert relative[0][2:6] == ["-5.3", "-2.4", "-2.6", "-"]


def test_another_protocol_of_a_model_is_a_model_of_its_own() -> None:
    rows = [row("net", "cog-l1", 0.5, seed=1), row("net", "cog-l1", 0.9, seed=1, source="other")]
    assert [model.name for model in own_figures(rows).models] == ["net", "net (other)"]


def test_what_is_no_figure_of_a_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no accuracy on a level"):
        own_figures([row("net", "imagenet-a", 0.5), row("net", "cog-l1", 0.5, split="linf 4/255")])
    with pytest.raises(OptionError, match=r"--baseline is a model that has figures \(net, wide\), found 'x'"):
        own_figures(own_rows(), baseline="x")
    with pytest.raises(OptionError, match="a report needs results"):
        ReportOptions()
    write_results([row("net", "imagenet-a", 0.5)], tmp_path / "other.csv")
    with pytest.raises(OptionError, match="has no top1_accuracy on imagenet or a level"):
        fine_tuned_figures(str(tmp_path / "other.csv"))


def test_names_go_both_ways() -> None:
    for level in ("IN-1K", "L3", "text-L3", "wu-palmer-L12", "R7"):
        assert place_of(dataset_of(level)).title == level
    assert place_of(dataset_of("rendered")).title == "rendered"
    assert [shots_of(split) for split in ("", "shots/all", "shots/16", "snow/3")] == [0, 0, 16, None]


def test_pictures_are_drawn_as_far_as_there_are_figures(tmp_path: Path) -> None:
    few = report_figures(ReportOptions(references=("cog",), models=("ResNet50", "d-CLIP", "r-Mixup")))
    places = tuple(place for place in few.places if place.title in ("IN-1K", "L5"))
    drawn, left = draw_all(replace(few, places=places), tmp_path / "published")
    assert drawn == ["levels.png", "shots.png"]
    assert [line.partition(":")[0] for line in left] == ["no measures.png"]
    trained = {"net": {"imagenet": 0.75, "cog-l1": 0.74, "cog-l2": 0.73}}
    drawn, left = draw_all(own_figures(own_rows()), tmp_path / "own", fine_tuned=trained)
    assert drawn == ["levels.png", "measures.png", "fine_tuned.png"]
    assert left == ["no shots.png: there are no accuracies by images a concept: run with --shots 1,2,4"]
    for path in tmp_path.glob("*/*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_pictures_without_their_figures_are_refused(tmp_path: Path) -> None:
    found = own_figures([one for one in own_rows() if one.model == "wide"])
    with pytest.raises(OptionError, match="wide has levels by lin alone"):
        draw_measures(found, tmp_path / "measures.png")
    with pytest.raises(OptionError, match="the former are of net, wide, the latter of other"):
        draw_fine_tuned(own_figures(own_rows()), {"other": {"imagenet": 0.5}}, tmp_path / "fine_tuned.png")
    # One of each needs no common name.
    draw_fine_tuned(found, {"other": {"imagenet": 0.5}}, tmp_path / "fine_tuned.png")
    with pytest.raises(OptionError, match="wide has no level with figures both"):
        draw_fine_tuned(found, {"other": {"cog-l5": 0.5}}, tmp_path / "fine_tuned.png")
