"""Plans: what is left, and how long it takes by what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shardtools.cli import main
from shardtools.storage import open_storage
from shardtools.transfer import Outcome, list_cells, plan_cells, read_study
from shardtools.transfer.outcomes import publish_outcome


def test_times_are_those_of_finished_cells(study: Path, tmp_path: Path) -> None:
    whole = read_study(str(study))
    on = whole.sets[0]
    other = replace(whole.models[0], name="other", init="w.bin")
    # Half as long a side: a quarter of the pixels.
    small = replace(on, name="small", changes=(("image_size", "16"), ("eval_resize", "16")))
    whole = replace(whole, models=(*whole.models, other), sets=(on, small))
    cells = [cell for cell in list_cells(whole) if cell.model.name == "small" and cell.on.name == "drawings"]
    storage = open_storage(str(tmp_path / "out"))
    for cell, seconds in zip(cells, (10.0, 20.0, None), strict=False):
        outcome = Outcome(settings=cell.settings, status="done", epoch=1, val=0.5, test=0.5, seconds=seconds)
        publish_outcome(storage, cell, outcome)
    publish_outcome(storage, cells[3], Outcome(settings=cells[3].settings, status="failed", reason="no number"))
    plan = plan_cells(whole, str(tmp_path / "out"))
    found = {(group.model, group.set): group for group in plan.groups}

    assert len(plan.cells) == 320
    assert found["small", "drawings"].cell_seconds == 15.0
    assert (found["small", "drawings"].num_done, found["small", "drawings"].num_left) == (3, 76)
    assert found["small", "small"].cell_seconds == pytest.approx(15.0 / 4)
    assert found["other", "drawings"].cell_seconds is None
    assert plan.seconds_left == pytest.approx(76 * 15 + 80 * 15 / 4) and plan.num_unknown == 160


def test_the_command_writes_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(study.parent.rglob("*"))
    for arguments in (["transfer", "plan", str(study)], ["transfer", "plan", str(study), "--json"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    table, _, content = capsys.readouterr().out.partition("{")

    assert "80 cells, 80 left" in table
    assert len(json.loads("{" + content)["cells"]) == 80
    assert sorted(study.parent.rglob("*")) == before


def test_a_mistake_is_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.write_text(study.read_text() + "metrc = 1\n")
    with pytest.raises(SystemExit) as stop:
        main(["transfer", "plan", str(study)])

    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        f"shardtools: {study}: no key is called sets[0] (drawings).metrc; did you mean metric?\n"
    )
