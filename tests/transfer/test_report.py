"""Reports: who is chosen by what, and what goes with the accuracy in pretraining."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shardtools.cli import main
from shardtools.errors import OptionError
from shardtools.evaluation.results import Result, read_results, write_results
from shardtools.storage import open_storage
from shardtools.transfer import (
    ALL,
    Augmentation,
    Grid,
    Outcome,
    Point,
    Report,
    Study,
    StudyModel,
    StudySet,
    TransferOptions,
    agree,
    correlate,
    draw_report,
    list_cells,
    markdown_text,
    report_study,
    run_study,
    save_results,
    text_tables,
)
from shardtools.transfer.outcomes import publish_outcome
from shardtools.transfer.pretraining import accuracies
from tests.helpers.transfer_studies import pretend

NUM_MODELS = 7


def make_study(drawings: str) -> Study:
    """Seven networks, two sets, two seeds, three rates; one network on one set also in BGR."""
    on = StudySet(name="plain", dataset=drawings, test_split="test")
    return Study(
        models=tuple(
            StudyModel(name=f"m{n}", encoder="resnet-micro", init=f"m{n}.bin", accuracy=0.54 + 0.05 * n)
            for n in range(NUM_MODELS)
        ),
        sets=(on, replace(on, name="eyes", metric="kappa", test_split=None)),
        augmentations=(Augmentation(name="bgr", changes=(("flip", "0.1"),), models=("m0",), sets=("plain",)),),
        grid=Grid(optimizers=("sgd",), schedules=("cosine",), sgd_rates=(0.1, 0.01, 0.001), decays=(0.0,)),
        recipe="micro",
        seeds=(0, 1),
    )


def publish(study: Study, out: Path, *, without: str = "") -> None:
    """Outcomes that follow from the settings: rate 0.01 is best by validation, and 0.1 would be by test."""
    storage = open_storage(str(out))
    for cell in list_cells(study):
        number = int(cell.model.name[1:])
        val = {0.1: 0.5, 0.01: 0.6, 0.001: 0.4}[cell.setting.rate] + 0.001 * cell.seed
        # On "plain" networks rise with their accuracy in pretraining, on "eyes" they fall.
        test = 0.5 + 0.01 * (number if cell.on.name == "plain" else -number) + cell.setting.rate + 0.02 * cell.seed
        test += 0.05 * (cell.augmentation == "bgr")
        done = Outcome(settings=cell.settings, status="done", epoch=2, val=val, test=test, seconds=1.0)
        failed = Outcome(settings=cell.settings, status="failed", reason="no number")
        if cell.on.name != without:
            publish_outcome(storage, cell, failed if (number, cell.setting.rate) == (1, 0.1) else done)


@pytest.fixture(scope="module")
def report(drawings: str, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of all cells."""
    out = tmp_path_factory.mktemp("report")
    study = make_study(drawings)
    publish(study, out)
    return report_study(study, str(out))


def test_validation_chooses_and_seeds_are_averaged(report: Report) -> None:
    first = report.best[0]

    assert (first.model.name, first.on.name, first.augmentation) == ("m0", "plain", "default")
    assert first.setting is not None and first.setting.rate == 0.01
    assert first.val == pytest.approx(0.6005) and first.value == pytest.approx(0.5 + 0.01 + 0.01)
    assert [cell.seed for cell in first.cells] == [0, 1]
    assert [one.num_cells for one in report.best] == [6] * (2 * NUM_MODELS + 1)


def test_correlations_of_all_and_above_the_bar(report: Report) -> None:
    found = {(one.set, one.group): one for one in report.correlations}

    assert set(found) == {(on, group) for on in ("plain", "eyes") for group in (ALL, "above 70 %")}
    assert [found["plain", group].num_networks for group in (ALL, "above 70 %")] == [7, 3]
    for on, sign in (("plain", 1), ("eyes", -1)):
        figures = found[on, ALL].figures
        assert [figures[name].value for name in ("spearman", "pearson")] == pytest.approx([sign, sign])
        # A hundredth a network over a twentieth.
        assert figures["slope"].value == pytest.approx(sign * 0.2)
    # A kappa goes from -1 to 1, so half of it is a step of an accuracy.
    assert found["plain", ALL].figures["normalized_slope"].value == pytest.approx(0.2)
    assert found["eyes", ALL].figures["normalized_slope"].value == pytest.approx(-0.1)
    assert [round(one.ranks.difference.value, 9) for one in report.agreements] == [-2, 0]


def test_a_network_of_unknown_accuracy_is_left_out(report: Report) -> None:
    points = [replace(one, accuracy=None) for one in report.points[:3]] + list(report.points[3:])

    assert [one.num_networks for one in correlate(points, ["plain"], above=0.9)] == [4, 0]
    assert [one.num_networks for one in agree(points, ["plain", "eyes"])] == [4, 4]
    assert agree(points, ["plain"]) == () == agree(points[:5], ["plain", "eyes"])


def test_networks_that_are_alike_have_no_correlation() -> None:
    points = [Point(model=f"m{n}", accuracy=0.1 * n, values={"easy": 1.0, "hard": 0.1 * n}) for n in range(5)]

    assert [one.figures for one in correlate(points, ["easy"], above=0.7)] == [{}, {}]
    assert agree(points, ["easy", "hard"]) == ()


def test_rows_of_results(report: Report, drawings: str) -> None:
    save_results(report)
    rows = read_results([f"{report.out}/results.parquet"])
    best = [row for row in rows if not row.split and row.metric in ("top1_accuracy", "quadratic_weighted_kappa")]
    cells = [row for row in rows if row.split.startswith("cell/")]
    spearman = next(row for row in rows if row.metric == "spearman" and row.dataset == "eyes")

    assert len(best) == 2 * (2 * NUM_MODELS + 1)
    assert {row.study for row in rows} == {"applications"}
    assert best[0].protocol == "best of 6 cells by val; default" and best[0].source.startswith(report.out)
    assert len(cells) == len(list_cells(make_study(drawings))) - len(report.failures)
    assert spearman.model == "networks" and spearman.value == pytest.approx(-1)
    assert spearman.protocol == "quadratic_weighted_kappa against accuracy on ImageNet, 7 networks"


def test_tables_and_notes(report: Report) -> None:
    tables = {table.title: table for table in text_tables(report)}

    assert list(tables) == [
        "best of each network",
        "metric against accuracy on ImageNet",
        "Spearman's correlation of a set's ranks",
        "chosen settings",
        "augmentations",
    ]
    assert tables["best of each network"].rows[-1] == ["m6", "84.00", "58.00", "0.460"]
    assert tables["augmentations"].rows == [["m0", "plain", "52.00", "57.00 (+5.00)"]]
    assert tables["metric against accuracy on ImageNet"].rows[0][:4] == ["plain", "all", "7", "+1.00 [+1.00, +1.00]"]
    assert report.notes == ("4 cells failed", "reported on the split that chose the cell, so too high: eyes")
    page = markdown_text(list(tables.values()), report.notes)
    assert "| m6 | 84.00 | 58.00 | 0.460 |\n" in page and page.endswith("too high: eyes\n")


def test_a_report_of_what_is_there_so_far(drawings: str, tmp_path: Path) -> None:
    study = make_study(drawings)
    publish(study, tmp_path, without="eyes")
    found = report_study(study, str(tmp_path))

    assert found.num_left == 6 * NUM_MODELS and found.agreements == ()
    assert (
        found.notes[0]
        == f"{found.num_left} of {found.num_cells} cells are still to be trained: what is best may change"
    )
    assert next(one for one in found.best if one.on.name == "eyes").value is None


def test_the_picture(report: Report, tmp_path: Path) -> None:
    draw_report(report, tmp_path / "transfer.png")
    starred = replace(report, points=tuple(replace(one, is_starred=one.model == "m3") for one in report.points))
    draw_report(starred, tmp_path / "stars.png")

    plain, stars = (path.read_bytes() for path in (tmp_path / "transfer.png", tmp_path / "stars.png"))
    assert plain.startswith(b"\x89PNG") and plain != stars
    with pytest.raises(OptionError, match="there is nothing to draw"):
        draw_report(replace(report, points=()), tmp_path / "nothing.png")


def test_accuracies_come_from_rows_of_results(drawings: str, tmp_path: Path) -> None:
    study = make_study(drawings)

    def row(model: str, value: float, *, seed: int = 0, protocol: str = "") -> Result:
        return Result(
            study="ood",
            model=model,
            dataset="imagenet",
            metric="top1_accuracy",
            value=value,
            seed=seed,
            protocol=protocol,
            source=f"run{seed}",
        )

    path = str(tmp_path / "own.csv")
    write_results([row("m0", 0.7), row("m0", 0.72, seed=1), row("m1", 0.8), row("m1", 0.7, protocol="crop")], path)
    models = [replace(one, accuracy=None, accuracy_from=path) for one in study.models[:3]]
    published = StudyModel(name="r50", encoder="resnet50", accuracy_from="testbed", accuracy_model="resnet50")

    assert accuracies(replace(study, models=(models[0], published), augmentations=())) == {
        "m0": pytest.approx(0.71),
        "r50": pytest.approx(0.7613),
    }
    with pytest.raises(OptionError, match=r"model m1: .* by several protocols: give accuracy itself"):
        accuracies(replace(study, models=(models[1],), augmentations=()))
    with pytest.raises(OptionError, match=r"no top1_accuracy of 'm2' on 'imagenet', expected one of m0, m1"):
        accuracies(replace(study, models=(models[2],), augmentations=()))


def test_the_command(short_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_study(str(short_study), TransferOptions(device="cpu"), runner=pretend)
    page, picture = short_study.with_suffix(".md"), short_study.with_suffix(".png")
    with pytest.raises(SystemExit) as stop:
        main(["transfer", "report", str(short_study), "--markdown", str(page), "--picture", str(picture)])
    assert stop.value.code == 0
    shown = capsys.readouterr().out

    assert "small    61.00           64.00" in shown and "and 3 more: --json has all" in shown
    assert shown.count("\nfailed: ") == 5
    assert "| small | 61.00 | 64.00 |" in page.read_text() and picture.read_bytes().startswith(b"\x89PNG")
    assert len(read_results([str(short_study.with_suffix("") / "results.parquet")])) == 9
    with pytest.raises(SystemExit) as stop:
        main(["transfer", "report", str(short_study), "--picture", "transfer.jpg"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "shardtools: the picture is a .png, found 'transfer.jpg': give a name that ends in .png\n"
    )
