"""Training in two steps: heads that begin as a probe, fitted once for all cells of a model and a set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shardtools.errors import DatasetError
from shardtools.transfer import TransferOptions, list_cells, read_study
from shardtools.transfer.heads import fit_head
from shardtools.transfer.training_runner import training_options
from tests.helpers.feature_datasets import clusters, with_features
from tests.helpers.transfer_studies import NUM_IMAGES, SPLITS, STUDY, write_sets


def test_a_probe_is_fitted_once(tmp_path: Path) -> None:
    dataset = write_sets(tmp_path / "own")
    with_features(dataset, clusters(len(SPLITS) * NUM_IMAGES, 8, 3), name="clip")
    study = tmp_path / "study.toml"
    study.write_text(STUDY.format(dataset=dataset).replace("accuracy = 0.61", 'probe = "clip"'))
    cells = list_cells(read_study(str(study)))[:2]
    out = tmp_path / "study"

    folders = {fit_head(cell, str(out)) for cell in cells}
    [folder] = (str(one) for one in (out / "heads").iterdir())
    assert folders == {folder}
    before = {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*.safetensors")}
    assert len(before) == 1
    fit_head(cells[0], str(out))
    assert {path: path.stat().st_mtime_ns for path in before} == before

    wanted = training_options(cells[0], "cell", TransferOptions(device="cpu"), init_head=folder)
    assert wanted.init_head == folder
    other = replace(
        cells[0], model=replace(cells[0].model, probe="dino"), settings={**cells[0].settings, "probe": "dino"}
    )
    with pytest.raises(DatasetError, match="dino"):
        fit_head(other, str(out))


def test_other_models_draw_their_head(study: Path, tmp_path: Path) -> None:
    assert fit_head(list_cells(read_study(str(study)))[0], str(tmp_path)) is None
    assert not (tmp_path / "heads").exists()
