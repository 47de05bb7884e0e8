"""`metrics.jsonl`: cut at any byte, taken back to any step, read as columns; and the picture of the curves."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.errors import DatasetError, NotFoundError, OptionError, RunError
from shardtools.training import METRICS_FILE, MetricsLog, draw_curves, read_metrics

STEPS_PER_EPOCH = 4


def write_run(run: Path, *, steps: int = 12) -> bytes:
    """A run of three epochs: a line every second step, an evaluation an epoch."""
    run.mkdir(parents=True, exist_ok=True)
    with MetricsLog(run) as log:
        add_steps(log, 0, steps)
    return (run / METRICS_FILE).read_bytes()


def add_steps(log: MetricsLog, first: int, last: int) -> None:
    for step in range(first + 1, last + 1):
        epoch = step / STEPS_PER_EPOCH
        if step % 2 == 0:
            log.add("step", step=step, epoch=epoch, loss=2 / step, lr=0.1, images_per_second=900.0, data_wait=0.02)
        if step % STEPS_PER_EPOCH == 0:
            log.add("evaluation", step=step, epoch=epoch, val_top1=5.0 * step, val_top5=8.0 * step, val_loss=1 / step)


def lines(content: bytes) -> list[dict[str, float]]:
    return [json.loads(line) for line in content.splitlines()]


def test_lines_become_columns(tmp_path: Path) -> None:
    write_run(tmp_path)
    metrics = read_metrics(tmp_path)

    assert metrics["step"]["step"].tolist() == [2, 4, 6, 8, 10, 12]
    assert metrics["step"]["epoch"].tolist() == [0.5, 1, 1.5, 2, 2.5, 3]
    np.testing.assert_allclose(metrics["step"]["loss"], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6], rtol=1e-7)
    assert metrics["evaluation"]["val_top1"].tolist() == [20, 40, 60]
    assert metrics["epoch"]["step"].tolist() == []
    assert read_metrics(tmp_path / METRICS_FILE).keys() == metrics.keys()


def test_what_is_missing_or_no_number_is_nan(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.add("step", step=1, epoch=0, loss=math.inf)
        log.add("step", step=2, epoch=0, loss=None, lr=1e-7)
        log.add("epoch", step=2, epoch=0, samples=1281167, seconds=np.float32(1.5))

    columns = read_metrics(tmp_path)
    np.testing.assert_array_equal(columns["step"]["loss"], [np.nan, np.nan])
    np.testing.assert_array_equal(columns["step"]["lr"], [np.nan, 1e-7])
    assert columns["epoch"]["samples"].tolist() == [1281167] and columns["epoch"]["seconds"].tolist() == [1.5]
    assert (
        "NaN" not in (tmp_path / METRICS_FILE).read_text() and "Infinity" not in (tmp_path / METRICS_FILE).read_text()
    )


@settings(max_examples=60)
@given(data=st.data())
def test_cut_at_any_byte_and_gone_on(data: st.DataObject) -> None:
    """A kill leaves any first part of the file; the run goes back to a checkpoint and writes the same again."""
    with TemporaryDirectory() as folder:
        run = Path(folder)
        whole = write_run(run)
        cut = data.draw(st.integers(0, len(whole)))
        (run / METRICS_FILE).write_bytes(whole[:cut])
        left = whole[: whole[:cut].rfind(b"\n") + 1]
        # A reader beside the killed run sees whole lines only.
        assert sum(len(columns["step"]) for columns in read_metrics(run).values()) == len(lines(left))
        last_step = lines(left)[-1]["step"] if left else 0
        checkpoint = data.draw(st.integers(0, int(last_step)))
        with MetricsLog(run) as log:
            assert (run / METRICS_FILE).read_bytes() == left
            num_cut = log.rewind(checkpoint)
            kept = lines((run / METRICS_FILE).read_bytes())
            assert kept == [line for line in lines(left) if line["step"] <= checkpoint]
            assert num_cut == len(lines(left)) - len(kept)
            add_steps(log, checkpoint, 12)
        # The line of the checkpoint's own step may be the one that the kill cut.
        assert [line for line in lines(whole) if line["step"] != checkpoint] == [
            line for line in lines((run / METRICS_FILE).read_bytes()) if line["step"] != checkpoint
        ]


def test_rewind_behind_the_end_cuts_nothing(tmp_path: Path) -> None:
    whole = write_run(tmp_path)
    with MetricsLog(tmp_path) as log:
        assert log.rewind(12) == 0 and log.rewind(99) == 0
        assert (tmp_path / METRICS_FILE).read_bytes() == whole
        assert log.rewind(0) == 9
    assert (tmp_path / METRICS_FILE).read_bytes() == b""


def test_of_two_evaluations_of_a_step_the_last_counts(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.add("evaluation", step=4, epoch=0, val_top1=10.0)
        log.rewind(4)
        log.add("evaluation", step=4, epoch=0, val_top1=11.0)

    assert read_metrics(tmp_path)["evaluation"]["val_top1"].tolist() == [11]


@pytest.mark.parametrize("line", ["junk", "[1]", '{"kind": "step"}', '{"kind": "x", "step": 1, "epoch": 0}', "\0\0"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    content = write_run(tmp_path, steps=4)
    (tmp_path / METRICS_FILE).write_bytes(content + line.encode() + b"\n" + content)

    for use in (read_metrics, MetricsLog):
        with pytest.raises(DatasetError, match="in line 4: remove that line"):
            use(tmp_path)


def test_no_metrics_and_no_such_kind(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="found no such file"):
        read_metrics(tmp_path)
    with (
        MetricsLog(tmp_path) as log,
        pytest.raises(OptionError, match="step, epoch, evaluation, selected, found 'test'"),
    ):
        log.add("test", step=1, epoch=0)


def test_curves_of_several_runs_are_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn lines leave their colours: run 0 is blue, run 1 is vermilion, and a third run would be green."""
    # Another test's library may have loaded it in this process before.
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    write_run(tmp_path / "a" / "seed")
    write_run(tmp_path / "b" / "seed", steps=7)
    out = tmp_path / "curves.png"
    draw_curves([tmp_path / "a" / "seed", tmp_path / "b" / "seed" / METRICS_FILE], out)

    with Image.open(out) as picture:
        assert picture.size == (1800, 1000)
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    seen = {tuple(color) for color in np.unique(pixels, axis=0).tolist()}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= seen and (0x00, 0x9E, 0x73) not in seen
    assert not list(tmp_path.glob("*.partial"))
    assert "matplotlib.pyplot" not in sys.modules


def test_curves_of_a_run_that_has_just_begun(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        draw_curves([tmp_path], tmp_path / "empty.png")
        log.add("step", step=1, epoch=1e-5, loss=None)
        draw_curves([tmp_path], tmp_path / "one.png")

    assert (tmp_path / "empty.png").read_bytes() != (tmp_path / "one.png").read_bytes()


def test_curves_of_a_metric_of_its_own_and_of_the_epoch_that_was_kept(tmp_path: Path) -> None:
    """Squares a hundred times as high as they are, beside accuracy, and a line down at the epoch."""
    with MetricsLog(tmp_path) as log:
        for epoch in (1, 2, 3):
            log.add("evaluation", step=epoch, epoch=epoch, val_top1=50.0, val_kappa=0.1 * epoch, val_macro_f1=None)
        draw_curves([tmp_path], tmp_path / "running.png")
        log.add("selected", step=3, epoch=3, best_epoch=2, val_kappa=0.2, test_kappa=0.19)
    assert read_metrics(tmp_path)["selected"]["best_epoch"].tolist() == [2]
    draw_curves([tmp_path], tmp_path / "kept.png")
    assert (tmp_path / "running.png").read_bytes() != (tmp_path / "kept.png").read_bytes()


def test_curves_that_cannot_be_drawn(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(OptionError, match="at least one run"):
        draw_curves([], tmp_path / "curves.png")
    with pytest.raises(OptionError, match=r"ends in \.png"):
        draw_curves([tmp_path], tmp_path / "curves.pdf")
    with pytest.raises(RunError, match=r"cannot be written .*No such file"):
        draw_curves([tmp_path], tmp_path / "missing" / "curves.png")
    with pytest.raises(NotFoundError, match="metrics"):
        draw_curves([tmp_path / "missing"], tmp_path / "curves.png")
