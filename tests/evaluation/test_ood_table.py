"""The table of `eval ood`: what may be asked, its cells, rows of results, Markdown and picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardtools.errors import OptionError
from shardtools.evaluation.results import read_results
from shardtools.evaluation.sets import (
    TEST_SETS,
    Figure,
    Judgement,
    ModelOnSet,
    OodOptions,
    OodTable,
    SetRequest,
    add_results,
    draw_ood,
    markdown_table,
    table_cells,
    with_gaps,
)


def pair(
    model: str, name: str, figures: list[tuple[str, float, str]], *, part: str = "", notes: tuple[str, ...] = ()
) -> ModelOnSet:
    """Main figures (metric, value, how) of a model on a set, and one that is no main figure."""
    main = [
        Figure(metric=metric, value=value, how=how, interval=(value - 0.1, value + 0.1), is_main=True)
        for metric, value, how in figures
    ]
    beside = Figure(metric="error", value=0.5, split="fog/1")
    return ModelOnSet(
        model=model,
        request=SetRequest(test_set=TEST_SETS[name], part=part, dataset=f"/data/{name}"),
        judgement=Judgement(figures=(*main, beside), notes=notes),
        preprocessing="224 bicubic",
        source=f"/data/{name}/overlays/predictions_{model}",
    )


def table() -> OodTable:
    a = "1 picture left out"
    return OodTable(
        pairs=(
            pair("lite0", "imagenet", [("top1_accuracy", 0.75, "all 1000 classes")]),
            pair(
                "lite0",
                "a",
                [("top1_accuracy", 0.25, "200 classes"), ("top1_accuracy", 0.125, "all 1000 classes")],
                notes=(a,),
            ),
            pair("lite1", "imagenet", [("top1_accuracy", 0.8, "all 1000 classes")]),
            pair("lite1", "a", [("top1_accuracy", 0.3, "200 classes")], notes=(a,)),
        )
    )


def test_requests_are_names_parts_and_addresses() -> None:
    options = OodOptions(
        models=("lite0",), on=("a=s3://b/a,b/c,in9:mixed_same=x/y", "plain=photos/mine/", "plain:Two=p")
    )
    found = [(one.label, one.dataset) for one in options.requests]
    assert found == [
        ("a", "s3://b/a,b/c"),
        ("in9:mixed_same", "x/y"),
        ("plain:mine", "photos/mine/"),
        ("plain:Two", "p"),
    ]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"on": ("o=photos",)}, "knows the sets imagenet, .* found 'o': for a set of your own give plain=photos"),
        ({"on": ("photos",)}, "--on is NAME=DATASET, found 'photos'"),
        ({"on": ()}, "--on names no test set"),
        ({"on": ("a=x,a=y",)}, "--on has a twice"),
        ({"models": ()}, "at least one"),
        ({"on_the_fly": True}, "found no c in --on"),
        ({"models": ("x", "y"), "name": "p"}, "--name is of one model, found 2"),
        ({"precision": "fp8"}, "--precision is one of"),
    ],
)
def test_what_cannot_be_asked_is_refused(given: dict[str, object], match: str) -> None:
    with pytest.raises(OptionError, match=match) as error:
        OodOptions(**({"models": ("lite0",), "on": ("a=photos",)} | given))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_cells_are_main_figures_in_percent() -> None:
    header, rows = table_cells(table(), models_as_rows=True)
    assert header == [
        "model",
        "ImageNet top-1 (all 1000 classes)",
        "A top-1 (200 classes)",
        "A top-1 (all 1000 classes)",
    ]
    assert rows == [["lite0", "75.00", "25.00", "12.50"], ["lite1", "80.00", "30.00", "-"]]
    header, rows = table_cells(table(), models_as_rows=False)
    assert header == ["set", "metric", "how", "lite0", "lite1"]
    assert rows[1] == ["A", "top-1", "200 classes", "25.00", "30.00"]
    header, rows = table_cells(OodTable(pairs=table().pairs[:1]), models_as_rows=False)
    assert rows == [["ImageNet", "top-1", "all 1000 classes", "75.00", "65.00 to 85.00"]]


def test_markdown_has_a_row_a_model_and_each_note_once() -> None:
    lines = markdown_table(table()).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[3] == "| lite1 | 80.00 | 30.00 | - |"
    assert lines[4:] == ["", "- a: 1 picture left out"]


def test_results_say_how_and_are_replaced_by_the_same_figures(tmp_path: Path) -> None:
    file = tmp_path / "results.parquet"
    rows = table().results
    assert add_results(rows, file) == len(rows) == 9
    assert add_results(rows, file) == 9
    more = OodTable(pairs=(pair("lite2", "v2-threshold", [("top1_accuracy", 0.6, "all 1000 classes")]),)).results
    assert add_results(more, file) == 11
    found = read_results([file])
    assert found[0].protocol == "224 bicubic; all 1000 classes"
    assert (found[0].low, found[0].high) == (0.65, 0.85)
    assert (found[1].split, found[1].metric) == ("fog/1", "error")
    assert (found[9].dataset, found[9].split) == ("imagenet-v2", "threshold")


def test_the_background_gap_is_of_two_datasets() -> None:
    pairs = [
        pair("lite0", "in9", [("top1_accuracy", value, "9 classes")], part=part)
        for part, value in (("mixed_same", 0.75), ("original", 0.9), ("mixed_rand", 0.5))
    ]
    found = OodTable(pairs=with_gaps(pairs))
    gaps = [row for row in found.results if row.metric == "background_gap"]
    assert [(row.value, row.dataset) for row in gaps] == [(0.25, "imagenet-9")]


def test_the_picture_has_bars_and_points(tmp_path: Path) -> None:
    file = tmp_path / "robust.png"
    draw_ood(table(), file)
    with Image.open(file) as image:
        assert image.width > image.height
        pixels = set(map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()))
    # Both models' colours, the grey of published ones, and a ground that does not depend on the page.
    assert {(0, 114, 178), (213, 94, 0), (184, 184, 184), (255, 255, 255)} <= pixels
    with pytest.raises(OptionError, match=r"ends in .png"):
        draw_ood(table(), tmp_path / "robust.pdf")
