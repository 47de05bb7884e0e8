"""An audit of one file: its overlay, its command, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

import shardtools.cli
from shardtools.audits.sample_audit import Report, SampleAudit, SampleAuditOptions, run_sample_audit
from shardtools.errors import AlreadyExistsError, OptionError
from shardtools.options import option
from shardtools.sql import query
from tests.helpers.feature_datasets import make_labeled


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOptions(SampleAuditOptions):
    """With one option of its own."""

    factor: float = field(default=1.0, metadata=option("Multiplies the bytes.", bounds=(0, 10)))


def weights(options: WeightOptions, report: Report) -> Iterator[pa.Table]:
    report("weighing")
    rows = query("select key, num_bytes from samples", [options.dataset])
    yield pa.table({"key": rows["key"], "weight": [options.factor * one for one in rows["num_bytes"].to_pylist()]})


AUDIT = SampleAudit(
    name="image-weight",
    summary="Weigh every image of DATASET.",
    options=WeightOptions,
    columns={"weight": "bytes of the image"},
    score=weights,
    next_commands=("shardtools query heaviest DATASET",),
)


def type_in(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        shardtools.cli.main(list(arguments))
    return (caught.value.code, *capsys.readouterr())


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit as one line of COMMANDS would add it."""
    monkeypatch.setitem(shardtools.cli.COMMANDS, AUDIT.name, ("weights", "Weigh every image."))
    module = ModuleType("weights")
    module.AUDIT = AUDIT  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weights", module)


def test_an_audit_is_an_overlay_with_a_command(
    registered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = make_labeled(tmp_path / "it's", [0, 1, 1])
    code, out, err = type_in(capsys, "image-weight", url, "--factor", "2")
    assert (code, err) == (0, "weighing\n")
    assert out.splitlines()[0] == f"3 samples in {url}/overlays/image_weight"
    assert "'\"'\"'" in out.splitlines()[2], "the proposed command is quoted"
    rows = query("select avg(weight / num_bytes) as factor from samples join overlays.image_weight using (key)", [url])
    assert rows.to_pylist() == [{"factor": 2.0}]
    code, out, _ = type_in(capsys, "image-weight", url, "--replace", "--json")
    assert (code, json.loads(out)["num_samples"]) == (0, 3)


def test_its_help_names_options_columns_and_what_is_next(registered: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = type_in(capsys, "image-weight", "--help")
    assert code == 0
    for words in (
        "Weigh every image of DATASET",
        "--factor",
        "bytes of the image",
        "shardtools query heaviest DATASET",
    ):
        assert words in out


def test_what_is_refused(registered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = make_labeled(tmp_path / "a", [0, 1])
    assert "--factor is 0 to 10" in type_in(capsys, "image-weight", url, "--factor", "11")[2]
    run_sample_audit(AUDIT, WeightOptions(dataset=url))
    with pytest.raises(AlreadyExistsError):
        run_sample_audit(AUDIT, WeightOptions(dataset=url))
    other = SampleAudit(**{name: getattr(AUDIT, name) for name in AUDIT.__slots__} | {"columns": {"mass": "kg"}})
    with pytest.raises(OptionError, match="declares the columns mass, its scores have weight"):
        run_sample_audit(other, WeightOptions(dataset=url, replace=True))
    assert query("select count(weight) as n from overlays.image_weight", [url]).to_pylist() == [{"n": 2}]
