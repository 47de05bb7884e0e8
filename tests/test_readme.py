"""The README's commands and its program, read out of it and run as they stand on small data.

Only places are put in that a reader does not have either: a folder for the bucket, a tiny model for the one of the hub.
What would take hours here (a million images, a network on ImageNet) is read, checked and planned to the point where the
work would begin. Images of the demo, which `make demo` makes, are made with fewer steps; of the furniture only
the boxes are taken.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import shardtools.generation
import shardtools.training
from shardtools import cli
from shardtools.curation import encode_edits
from shardtools.dataset.contents import Contents
from shardtools.execution import Launch, ignore
from shardtools.extras import EXTRAS
from shardtools.features import launch as features_launch
from shardtools.generation import GenerateOptions, GenerateResult, prepare
from shardtools.pipelines.features.job import run_rank
from shardtools.pipelines.ranks import Rank
from shardtools.pipelines.studies.imagenet_sd.study import parse as parse_study
from shardtools.rendering.meshes import furniture
from shardtools.training import TrainOptions, TrainResult
from shardtools.training.launch import Training
from tests.helpers import tiny_models
from tests.helpers.feature_datasets import clusters, make_labeled, with_features
from tests.helpers.generated_datasets import generate_here, options
from tests.helpers.pictures import write_files
from tests.sources.test_ilsvrc2012 import archives

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
ELIDED = "..."
NUM_PHOTOS = 60
BOXES = "n02883344"
STUDY = "python -m shardtools.pipelines.studies.imagenet_sd"


def blocks(language: str = "") -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [content for own, content in fenced if own == language]


def commands() -> Iterator[list[str]]:
    """Words of every command in a block, in order; in a block with a prompt only what stands behind one."""
    for block in blocks():
        lines = block.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in lines:
            for part in line.split(" && "):
                yield shlex.split(part, comments=True)


def test_commands_are_found() -> None:
    found = [" ".join(words[:2]) for words in commands()]
    assert len(found) >= 20 and {"make demo", "pip install", "shardtools train", "shardtools gen-sd"} <= set(found)


def test_the_demo_is_what_the_readme_shows() -> None:
    """Its commands are too long for here, and `make demo` runs them."""
    demo = [shlex.split(line.removeprefix("run ")) for line in _joined((ROOT / "scripts" / "demo").read_text())]
    (shown,) = [block for block in blocks() if block.startswith("$ ")]
    for line in re.findall(r"^\$ (.*)$", shown, re.MULTILINE):
        words = shlex.split(line)
        if any(ELIDED in word for word in words):
            begin = [word.partition(ELIDED)[0].rstrip() for word in words]
            assert any(
                len(own) == len(words) and all(one.startswith(two) for one, two in zip(own, begin, strict=True))
                for own in demo
            ), line
        else:
            assert words in demo or [*words, "--replace"] in demo or [*words, "--out", "study-short"] in demo, line


def _joined(script: str) -> list[str]:
    """Lines of a shell script that begin with `run`, with those that a quote goes on in."""
    return [re.sub(r"\n\s+", " ", one) for one in re.findall(r'^run (?:[^"\n]|"[^"]*")*', script, re.MULTILINE)]


def run_here(launch: Launch[Any, Any]) -> Any:
    """What `run_in_child` does, in this process, which has torch already."""
    with launch.hold():
        job = launch.begin()
        run_rank(job, Rank(rank=0, world_size=1, device=torch.device("cpu")), launch.hear, threading.Event())
        return launch.finish(stopped=False)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A folder with small data under the README's names, and what was planned instead of done in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_files(tmp_path / "ILSVRC2012", archives())
    model = tiny_models.stable_diffusion(tmp_path / "models")
    shutil.copytree(model, tmp_path / "CompVis" / "stable-diffusion-v1-4")
    generate_here(options(model, "fashion-sd", prompt_template="c, d_c"))
    shutil.copytree("fashion-sd", tmp_path / "bucket" / "in100-sd")
    for name in ("photos", "fashion-noisy"):
        make_labeled(tmp_path / name, [number % 3 for number in range(NUM_PHOTOS)])
    with_features("fashion-noisy", clusters(NUM_PHOTOS, 8, 3))
    edits = [{"key": "s0001", "action": "drop", "reason": "blurred"}]
    Path("edits.json").write_bytes(encode_edits(edits, dataset_sha256=None))

    found: list[Any] = []

    def generate(wanted: GenerateOptions, **_: Any) -> GenerateResult:
        plan = prepare(wanted).plan
        found.append(wanted)
        return GenerateResult(
            url=wanted.out,
            plan_id="",
            num_rows=plan.num_rows,
            num_images=plan.num_rows,
            splits={"train": plan.num_rows},
            statuses={"ok": plan.num_rows},
            contents=Contents(num_classes=0, class_names=(), num_unlabeled=0, rejected=(), folder_order=None),
            num_made=0,
            seconds=1.0,
            num_processes=0,
        )

    def train(wanted: TrainOptions, **_: Any) -> TrainResult:
        Training(wanted, ignore)
        found.append(wanted)
        return TrainResult(out=wanted.out, epochs=1, steps=1, images=0, seconds=1.0)

    boxes = [model for model in furniture.models() if model.wnid == BOXES]
    monkeypatch.setattr(furniture, "models", lambda: boxes)
    monkeypatch.setattr(shardtools.generation, "generate", generate)
    monkeypatch.setattr(shardtools.training, "train", train)
    monkeypatch.setattr(features_launch, "run_in_child", run_here)
    return found


def shell(word: str) -> str:
    """A word as a shell would hand it on, with a folder in place of the bucket."""
    return os.path.expanduser(word.replace("s3://bucket/", "bucket/"))


def test_commands_run_as_they_stand(planned: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    checks: dict[str, Callable[[list[str]], None]] = {"make": _check_make, "pip": _check_pip, "python": _check_python}
    for words in commands():
        if words[0] in checks:
            checks[words[0]](words)
        elif not any(ELIDED in word for word in words):
            assert words[0] == "shardtools"
            with pytest.raises(SystemExit) as stopped:
                cli.main(list(map(shell, words[1:])))
            printed = capsys.readouterr()
            assert stopped.value.code == 0, f"{shlex.join(words)}: {printed.err}"

    large = [prepare(one).plan.num_rows for one in planned if isinstance(one, GenerateOptions)]
    assert large == [160, 100 * 1300 * 10]
    [training] = [one for one in planned if isinstance(one, TrainOptions)]
    assert (training.recipe.name, training.val) == ("imagenet-sd", "bucket/imagenet")
    for name in ("bucket/imagenet", "imagenet-400", "fashion-beton", "photos-2", "world"):
        assert (Path(name) / "dataset.json").exists()
    assert Path("report.html").stat().st_size > 10_000


def _check_make(words: list[str]) -> None:
    assert f"\n{words[1]}:\n" in (ROOT / "Makefile").read_text()


def _check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert (ROOT / words[words.index("-c") + 1]).exists() and words[-1] in {f".[{name}]" for name in extras}


def _check_python(words: list[str]) -> None:
    assert " ".join(words).startswith(STUDY)
    options, _ = parse_study(words[3:])
    assert options.seeds


def test_the_program_runs_as_it_stands(
    planned: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)
    batch = names["batch"]
    assert batch.images.shape[1:] == (28, 28, 3) and len(batch.images) == len(batch.labels) == len(batch.keys) > 0


def test_each_extra_is_named() -> None:
    for name in EXTRAS:
        assert f"| `[{name}]`" in TEXT or f"; `[{name}]`" in TEXT


def test_files_that_are_named_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    scripts = re.findall(r"`python (benchmarks/\S+\.py)", TEXT)
    modules = [f"{name.replace('.', '/')}.py" for name in re.findall(r"`python -m (benchmarks\.\w+)", TEXT)]
    assert len(links) > 20 and scripts and modules
    for name in [*links, *scripts, *modules]:
        assert (ROOT / name).exists(), name
