"""Features probed on sets: figures, failures, resumption, tables and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from click.testing import CliRunner

from shardtools.cli import cli
from shardtools.errors import OptionError, RunError, StoppedError
from shardtools.evaluation.metrics import log_odds
from shardtools.evaluation.probes import ProbeOptions, ProbeResult, run_probe
from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results import TRANSFER_SETS, Result, read_results, write_results
from shardtools.evaluation.transfer import (
    Measured,
    Transfer,
    TransferOptions,
    draw_transfer,
    measure_transfer,
    plane_points,
    probing,
    transfer_tables,
)
from shardtools.features import FeatureOptions
from tests.helpers.transfer_sets import add_model, make_set

QUICK = {"num_trials": 2, "seeds": (1, 2)}
LABELS = {"train": [n % 3 for n in range(30)], "test": [n % 3 for n in range(40)]}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two sets with features of two models, of which "clear" tells classes apart better than "noisy"."""
    place = tmp_path_factory.mktemp("sets")
    found = {"one": make_set(place / "one", LABELS), "two": make_set(place / "two", {**LABELS, "val": [0, 1, 2]})}
    for seed, url in enumerate(found.values()):
        add_model(url, "clear", noise=0.9, seed=seed)
        add_model(url, "noisy", noise=2.5, seed=seed)
    return found


@pytest.fixture(scope="module")
def both(sets: dict[str, str]) -> Transfer:
    """Both models on both sets."""
    return measure_transfer(options(sets))


def options(sets: dict[str, str], **changes: object) -> TransferOptions:
    given = {"models": ("clear", "noisy"), "sets": tuple(f"{name}={url}" for name, url in sets.items()), **QUICK}
    return TransferOptions(**{**given, **changes})  # type: ignore[arg-type]


def test_figures_follow_from_the_probes(sets: dict[str, str], both: Transfer) -> None:
    assert not both.failed and both.sets == ("one", "two")
    for one in both.measured:
        [file] = Path(sets[one.set_name]).glob(f"probes/transfer_{one.model}_lbfgs/results.parquet")
        values = [row.value for row in read_results([file]) if row.metric == "top1_accuracy"]
        assert one.num_seeds == len(values) == 2 and one.accuracy == fmean(values)
        assert one.deviation == pstdev(values)
    for model in both.models:
        own = [one.accuracy for one in both.measured if one.model == model]
        mean = both.main_mean(model)
        assert mean is not None and mean.dataset == "transfer" and mean.accuracy == pytest.approx(fmean(own))
        # Of the accuracy that was averaged over seeds, then over sets.
        assert mean.log_odds == pytest.approx(log_odds(own).mean())
    clear, noisy = (both.main_mean(model) for model in ("clear", "noisy"))
    assert clear is not None and noisy is not None and clear.accuracy > noisy.accuracy


def test_official_validation_images_are_trained_on(sets: dict[str, str], both: Transfer) -> None:
    """Of the second set 30 and three, as the thesis's trainval."""
    for name, number in (("one", 30), ("two", 33)):
        [cell] = Path(sets[name]).glob("probes/transfer_clear_lbfgs/cells/all-seed1.json")
        assert json.loads(cell.read_text())["num_trained"] == number


def test_rows_of_results(both: Transfer, tmp_path: Path) -> None:
    assert {row.study for row in both.results} == {"transfer"}
    assert {row.split for row in both.results} == {"", "features/all"}
    assert {row.model for row in both.results} == {"clear", "noisy"}
    rows = [row for row in both.results if row.model == "clear"]
    accuracies = [row for row in rows if (row.dataset, row.metric) == ("one", "top1_accuracy")]
    assert [row.seed for row in accuracies] == [1, 2]
    by_metric = {row.metric for row in rows if row.dataset == "one"}
    assert by_metric >= {"log_odds", "sparsity", "intra_class_distance", "redundancy", "coding_length"}
    assert {(row.metric, row.protocol) for row in rows if row.dataset == "transfer"} == {
        ("top1_accuracy", "mean of one, two"),
        ("log_odds", "mean of one, two"),
    }
    file = tmp_path / "rows.parquet"
    write_results(rows, file)
    assert read_results([file]) == rows


def test_a_set_that_fails_is_named_and_the_rest_goes_on(sets: dict[str, str], tmp_path: Path) -> None:
    more = {
        **sets,
        "untested": make_set(tmp_path / "untested", {"train": [0, 1]}),
        "bare": make_set(tmp_path / "bare", LABELS),
        "gone": str(tmp_path / "gone"),
    }
    lines: list[str] = []
    found = measure_transfer(options(more, models=("clear",), analyze=False), report=lines.append)

    assert [one.set_name for one in found.measured] == ["one", "two"]
    reasons = {one.set_name: one.reason for one in found.failed}
    assert "has the splits train, expected a split to test on, 'test' or 'val'" in reasons["untested"]
    assert "has no features 'clear' (it has none): run shardtools features" in reasons["bare"]
    assert "--name clear" in reasons["bare"]
    assert str(tmp_path / "gone") in reasons["gone"]
    assert all("\n" not in reason for reason in reasons.values())
    assert found.main_mean("clear") is None
    assert "clear: no mean over sets, untested, bare, gone missing" in found.notes
    assert found.notes[0].startswith("untested, clear: ")

    with pytest.raises(RunError, match="nothing could be measured: gone, clear: "):
        measure_transfer(options({"gone": str(tmp_path / "gone")}, models=("clear",)))


def test_finished_probes_are_not_made_again(sets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure_transfer(options(sets, models=("clear",), analyze=False))
    measured: list[int] = []

    def counting(wanted: ProbeOptions, **given: object) -> ProbeResult:
        result = run_probe(wanted, **given)  # type: ignore[arg-type]
        measured.append(result.num_measured)
        return result

    monkeypatch.setattr(probing, "run_probe", counting)
    again = measure_transfer(options(sets, models=("clear",), analyze=False))
    assert measured == [0, 0] and again.measured == first.measured
    # Another seed adds what it adds.
    measured.clear()
    measure_transfer(options(sets, models=("clear",), analyze=False, seeds=(1, 2, 3)))
    assert measured == [1, 1]


def test_a_stop_ends_everything(sets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_wanted: ProbeOptions, **_given: object) -> ProbeResult:
        raise StoppedError("stopped")

    monkeypatch.setattr(probing, "run_probe", stopped)
    with pytest.raises(StoppedError):
        measure_transfer(options(sets))


def test_training_is_probed_or_read(sets: dict[str, str], tmp_path: Path) -> None:
    probed = measure_transfer(options({"two": sets["two"]}, training=f"seen={sets['one']}", analyze=False))
    assert probed.training == "seen" and probed.sets == ("two",)
    for model in probed.models:
        one = probed.on(model, "seen")
        assert one is not None and probed.trained[model] == one.accuracy
    assert [point.model for point in plane_points(probed)] == ["clear", "noisy"]
    # Of the training set there is no log odds and no part in the mean.
    assert not [row for row in probed.results if (row.dataset, row.metric) == ("seen", "log_odds")]

    file = tmp_path / "ood.csv"
    base = Result(study="ood", model="clear", dataset="imagenet", metric="top1_accuracy", value=0.7, source="a run")
    write_results([base, replace(base, split="linf 4/255", value=0.1)], file)
    read = measure_transfer(options({"two": sets["two"]}, training="imagenet", beside=(str(file),), analyze=False))
    assert read.trained == {"clear": 0.7}
    with pytest.raises(OptionError, match="'elsewhere' is no dataset, and --beside has imagenet"):
        measure_transfer(options(sets, training="elsewhere", beside=(str(file),)))
    with pytest.raises(OptionError, match="one is among --sets"):
        measure_transfer(options(sets, training=f"one={sets['two']}"))


def _measured(model: str, name: str, accuracy: float) -> Measured:
    row = Result(study="transfer", model=model, dataset=name, metric="top1_accuracy", value=accuracy, source="a probe")
    own = {"solver": "lbfgs", "rows": (row,), "accuracy": accuracy, "deviation": 0.0, "num_seeds": 1}
    return Measured(model=model, set_name=name, **own)  # type: ignore[arg-type]


def _transfer(sets: tuple[str, ...], accuracies: dict[str, dict[str, float]], **changes: object) -> Transfer:
    given: dict[str, object] = {
        "models": tuple(accuracies),
        "sets": sets,
        "training": None,
        "trained": {},
        "measured": tuple(
            _measured(model, name, value) for model, own in accuracies.items() for name, value in own.items()
        ),
        "failed": (),
        "analyzed": (),
        "applied": (),
        "beside": (),
        "remarks": (),
    }
    return Transfer(**{**given, **changes})  # type: ignore[arg-type]


def test_the_thesiss_sets_make_its_means() -> None:
    """RSB-A1's accuracies of table D.1 and 4.3 give its mean log odds, and stand in the thesis's tables."""
    [row] = [row for row in read_rows("trex_transfer") if row["model"] == "RSB-A1"]
    own = {name: float(row[name]) / 100 for name in TRANSFER_SETS["transfer-13"]} | {
        "inat2018": 0.349,
        "inat2019": 0.432,
    }
    found = _transfer(tuple(own), {"own": own}, training="imagenet", trained={"own": 0.798})

    means = {one.dataset: one for one in found.means("own")}
    assert set(means) == {"transfer-13", "transfer-10", "transfer"}
    assert means["transfer-13"].log_odds == pytest.approx(float(row["mean_log_odds"]), abs=0.002)
    assert means["transfer-10"].accuracy == pytest.approx(0.665, abs=0.002)
    titles = [table.title for table in transfer_tables(found)]
    assert titles[1:] == [f"table {name} of the thesis" for name in ("4.3", "D.1", "5.3", "5.4")]
    inat = transfer_tables(found)[1]
    assert inat.header == ["from", "model", "iNat18", "iNat19"] and len(inat.rows) == 6
    # With 13 sets and ImageNet own models stand among the thesis's.
    thirteen = _transfer(TRANSFER_SETS["transfer-13"], {"own": own}, training="imagenet", trained={"own": 0.81})
    points = plane_points(thirteen)
    assert len(points) == 22 and not points[0].is_published
    assert transfer_tables(thirteen)[0].rows[0][0] == "own *"


def test_accuracies_of_0_and_1_have_no_log_odds() -> None:
    found = _transfer(("a", "b"), {"own": {"a": 1.0, "b": 0.5}})
    mean = found.main_mean("own")
    assert mean is not None and mean.accuracy == 0.75 and mean.log_odds is None
    [note] = found.notes
    assert note.startswith("a, own: an accuracy of 100% has infinite log odds, so their mean is left out")
    assert transfer_tables(found)[0].rows[0][-1] == "-"
    assert not [row for row in found.results if (row.dataset, row.metric) == ("transfer", "log_odds")]


def test_the_command(sets: dict[str, str], both: Transfer, tmp_path: Path) -> None:
    picture, file = tmp_path / "plane.png", tmp_path / "rows.csv"
    typed = ["eval", "transfer", "clear", "noisy", "--sets", f"two={sets['two']}", "--training", f"seen={sets['one']}"]
    typed += ["--trials", "2", "--seeds", "1,2"]
    shown = CliRunner().invoke(cli, [*typed, "--picture", str(picture), "--results", str(file)])

    assert shown.exit_code == 0, shown.output
    for text in ("seen (training)", "log odds", "half of the strength in"):
        assert text in shown.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = read_results([file])
    assert {row.dataset for row in rows} == {"two", "seen", "transfer"}

    found = json.loads(CliRunner().invoke(cli, [*typed, "--no-analysis", "--json"]).stdout)
    # Four measures of the features of two models are left out.
    assert found["failed"] == [] and len(found["results"]) == len(rows) - 8
    assert CliRunner().invoke(cli, [*typed, "--picture", "plane.jpg"]).exit_code == 1

    typed[typed.index("--sets") + 1] += f",gone={tmp_path / 'gone'}"
    lacking = CliRunner().invoke(cli, [*typed, "--no-analysis"])
    assert lacking.exit_code == 1 and "two" in lacking.stdout
    assert "not measured: gone (the reasons are above)" in str(lacking.exception or lacking.stderr)


def test_bars_where_there_is_no_training_set(both: Transfer, tmp_path: Path) -> None:
    assert plane_points(both) == []
    draw_transfer(replace(both, analyzed=()), tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OptionError, match=r"ends in .png"):
        draw_transfer(both, tmp_path / "bars.jpg")


def test_missing_features_are_made_where_that_is_asked_for(
    sets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_set(tmp_path / "bare", LABELS)
    asked: list[FeatureOptions] = []

    def extract(wanted: FeatureOptions, **_given: object) -> None:
        asked.append(wanted)
        add_model(wanted.dataset, wanted.features_name, noise=1.0)

    monkeypatch.setattr(probing, "extract_features", extract)
    wanted = options({"bare": url, "one": sets["one"]}, models=("Clear",), extract=True, analyze=False, seeds=(1,))
    found = measure_transfer(wanted)
    # The other set has features of that name.
    assert [(one.dataset, one.encoder, one.protocol) for one in asked] == [(url, "Clear", None)]
    assert not found.failed and found.main_mean("Clear") is not None


def test_features_are_held_against_the_protocol(tmp_path: Path) -> None:
    """The test encoder resizes to 256, bilinear; t-ReX's protocol is 224, bicubic."""
    url = make_set(tmp_path / "set", LABELS)
    add_model(url, "published", noise=1.0, resize=224, interpolation="bicubic")
    add_model(url, "other", noise=1.0)
    wanted = options({"set": url}, models=("published", "other"), protocol="trex", seeds=(1,), analyze=False)
    found = measure_transfer(wanted)
    assert [one.model for one in found.measured] == ["published"]
    [failed] = found.failed
    assert "bicubic; features 'other' are center, 224 of 256, bilinear: extract them" in failed.reason


def test_the_training_sets_classifiers_on_other_pictures(tmp_path: Path) -> None:
    """R and A are judged among their own classes, Sketch among all; other classes are left out."""
    from shardtools.taxonomy import load_classes

    in_r = {one.wnid for one in load_classes("imagenet-r")}
    wnids = [one.wnid for one in load_classes("imagenet-1k")]
    names = [
        *[wnid for wnid in wnids if wnid in in_r][:2],
        *[wnid for wnid in wnids if wnid not in in_r][:1],
        "n00000000",
    ]
    seen = make_set(tmp_path / "seen", LABELS, names=names)
    other = make_set(tmp_path / "other", {"train": [0, 1] * 5}, names=names, first=500)
    more = make_set(tmp_path / "more", {"train": [0, 1, 2, 3] * 4}, names=names, first=700)
    for url in (seen, other, more):
        add_model(url, "clear", noise=0.4, num_classes=4)

    found = measure_transfer(
        options(
            {"one": seen},
            models=("clear",),
            training=f"imagenet={seen}",
            apply=(f"r={other},sketch={more}",),
            analyze=False,
        )
    )
    rows = [row for row in found.results if row.protocol.startswith("classifier of imagenet")]
    assert {(row.dataset, row.protocol.rpartition("; ")[2]) for row in rows} == {
        ("imagenet-r", "among 2 classes"),
        ("imagenet-sketch", "among 3 classes"),
    }
    assert [row.seed for row in rows if (row.dataset, row.metric) == ("imagenet-r", "top1_accuracy")] == [1, 2]
    assert min(row.value for row in rows) > 0.7
    assert "sketch: 4 images of classes that were not learnt from left out" in found.notes
    titles = [table.title for table in transfer_tables(found)]
    assert titles == [titles[0], "table 4.2 of the thesis", "table 5.2 of the thesis"]

    failing = options({"one": seen}, models=("clear",), training=f"imagenet={seen}", apply=(f"a={tmp_path / 'gone'}",))
    assert [one.set_name for one in measure_transfer(failing).failed] == ["a"]


def test_what_cannot_be_applied(sets: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="--apply judges the classifiers of --training, found none"):
        options(sets, apply=("sketch=there",))
    with pytest.raises(OptionError, match="--apply knows the sets imagenet, v2-matched-frequency"):
        measure_transfer(options({"two": sets["two"]}, training=f"seen={sets['one']}", apply=("c=there",)))
