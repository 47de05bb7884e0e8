"""The benchmark of training, on a handful of small images: that it measures, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers_train, train
from tests.helpers.pictures import jpeg, write_files

SCRIPT = Path(train.__file__)
NUM_IMAGES = 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"n{n % 4:08d}/n{n % 4:08d}_{n // 4}.JPEG": jpeg(n) for n in range(NUM_IMAGES)}
    return write_files(tmp_path_factory.mktemp("benchmark") / "corpus", files)


def run(corpus: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--corpus", str(corpus), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_benchmark_prints_one_json_object_and_leaves_nothing_behind(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["ours", "synthetic", "torchvision", "heads"]
    in_process = train._run

    def run_here(command: Sequence[object]) -> str:
        """All but one contender in this process, which imports torch once; its workers want one of their own."""
        script, *words = map(str, command)
        if script != str(train.CHILD) or words[0] == "torchvision":
            return in_process(command)
        return json.dumps(peers_train.measure(words))

    monkeypatch.setattr(train, "_run", run_here)
    sizes = ("--size", "16", "--batch-size", "4", "--hidden", "8", "--threads", "1", "--compute-threads", "1")
    count = ("--images", str(NUM_IMAGES), "--rounds", "1", "--steps", "30", "--device", "cpu", "--json")
    monkeypatch.setattr(sys, "argv", ["train.py", "--corpus", str(corpus), *sizes, *count])
    train.main()
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert list(found["contenders"]) == names
    assert list(found["images_per_second"]) == names[:3]
    assert set(found["figures"]) == {
        *("data_wait", "over_synthetic", "over_torchvision"),
        *("ocm_head", "ocm_step", "ocm_forward_share", "ocm_step_without_forward"),
    }
    assert set(found["bars"]) == {"data_wait", "ocm_step"}
    assert all(bar["met"] in (True, False) for bar in found["bars"].values())
    assert (found["failed"], found["images"], found["rounds"], found["steps"]) == ({}, NUM_IMAGES, 1, 30)
    assert found["settings"]["encoder"] == "resnet-micro" and found["settings"]["size"] == 16
    for one in found["contenders"].values():
        assert one["peak_mb"] >= one["peak_mb_without_files"] > 0
    assert min(found["images_per_second"].values()) > 0 <= found["figures"]["data_wait"] < 1
    assert [path.name for path in corpus.parent.iterdir()] == ["corpus"]


def test_a_corpus_with_too_few_images_is_one_line(corpus: Path) -> None:
    done = run(corpus, "--json")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"train: {corpus} holds 40 images, not 2000: make it with benchmarks/corpus.py"]


def one(*speeds: float, wait: float = 0.01) -> train.Report:
    return {"images_per_second": list(speeds), "data_wait": [wait] * len(speeds), "peak_mb": 9.0}


def test_figures_are_medians_over_all_rounds_and_ratios_of_ours() -> None:
    results: dict[str, Any] = {"ours": train.summarize([one(90, 110), one(100, wait=0.07), one(95, wait=0.07)])}
    assert results["ours"]["images_per_second"] == 97.5
    assert (results["ours"]["slowest_images_per_second"], results["ours"]["fastest_images_per_second"]) == (90, 110)
    assert results["ours"]["data_wait"] == pytest.approx(0.04)
    times = {"step_cosine": 10.0, "step_ocm": 13.0, "head_cosine": 1.0, "head_ocm": 1.25, "averaged_forward": 2.6}
    results |= {"synthetic": train.summarize([one(100)]), "heads": train.summarize([{"milliseconds": times}])}

    found = train.figures(results)
    assert found == pytest.approx(
        {
            "data_wait": 0.04,
            "over_synthetic": 0.975,
            "ocm_head": 1.25,
            "ocm_step": 1.3,
            "ocm_forward_share": 0.2,
            "ocm_step_without_forward": 1.04,
        }
    )
    judged = {name: bar["met"] for name, bar in train.judge(found, "cuda").items()}
    assert judged == {"data_wait": True, "over_synthetic": True, "ocm_step": False}
    assert "over_synthetic" not in train.judge(found, "cpu")
