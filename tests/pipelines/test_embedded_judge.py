"""The judge's file: whole, or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from shardtools.pipelines.embedded_generator import judge as judging
from shardtools.pipelines.embedded_generator.judge import Judge, load_judge, save_judge


def test_a_judge_is_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "judge.safetensors"
    first = Judge(3).eval()
    save_judge(first, path)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), load_judge(path, 3).parameters(), strict=True))
    before = path.read_bytes()

    def fail(tensors: Any, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(judging, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        save_judge(Judge(3), path)
    # A file that is there is taken for whole by the next run.
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]
