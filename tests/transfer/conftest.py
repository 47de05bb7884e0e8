"""One dataset of drawings for all tests of transfer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.transfer_studies import STUDY, write_sets


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset with the splits train, val and test."""
    return write_sets(tmp_path_factory.mktemp("drawings"))


@pytest.fixture
def study(drawings: str, tmp_path: Path) -> Path:
    """A study of one model and one set: 80 cells."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(dataset=drawings))
    return path


@pytest.fixture
def short_study(study: Path) -> Path:
    """The same with 16 cells, of which those of one decay fail: 8."""
    grid = '[grid]\noptimizers = ["sgd"]\ndecays = [0.001, 0.000001]\n'
    study.write_text(study.read_text().replace("[[models]]", f"{grid}\n[[models]]"))
    return study
