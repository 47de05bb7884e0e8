"""`shardtools train` as people start it: killed and typed again, and under torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from shardtools.dataset import acquire
from shardtools.errors import DatasetBusyError
from shardtools.storage import open_storage
from shardtools.training import read_metrics
from tests.helpers.training_runs import STEPS_PER_EPOCH, write_drawings

EPOCHS = 6
WAIT_SECONDS = 300.0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("training")
    return write_drawings(folder / "dataset", folder / "source")


def words(dataset: str, out: Path) -> list[str]:
    changes = [f"epochs={EPOCHS}", "batch_size=16", "image_size=16", "eval_resize=16"]
    return [
        *("train", dataset, "--out", str(out), "--recipe", "micro", "--device", "cpu", "--threads", "1"),
        *("--compute-threads", "1", "--log-steps", "1", "--val", dataset, "--val-split", "train", "--val-every", "3"),
        *("--no-tensorboard", "--record"),
        *(word for change in changes for word in ("--set", change)),
    ]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python in a session of its own; what a failed test leaves of it is ended."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, *arguments]
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            # The processes of torchrun are in sessions of their own, and end with it.
            process.terminate()
            process.communicate()


def wait_for(process: subprocess.Popen[str], is_there: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not is_there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def assert_whole(out: Path, num_processes: int) -> None:
    record = json.loads((out / "run.json").read_text())
    assert record["facts"]["num_processes"] == num_processes
    assert (record["result"]["epochs"], record["result"]["steps"]) == (EPOCHS, EPOCHS * STEPS_PER_EPOCH)
    assert record["result"]["finished"] and 0 <= record["result"]["metrics"]["val_top1"] <= 100
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {"encoder.network.stem.weight", "head.weight"} <= load_file(out / "model.safetensors").keys()
    assert len(json.loads((out / "classes.json").read_text())["classes"]) == 3
    assert read_metrics(out)["step"]["step"].tolist() == list(range(1, EPOCHS * STEPS_PER_EPOCH + 1))
    assert not list((out / "checkpoints").glob(".partial-*"))
    # Nobody holds the folder any more.
    with acquire(open_storage(out), purpose="test"):
        pass


def test_the_same_command_goes_on_after_a_kill(
    start: Callable[..., subprocess.Popen[str]], dataset: str, tmp_path: Path
) -> None:
    command = ("-m", "shardtools", *words(dataset, tmp_path), "--json")
    killed = start(*command)
    wait_for(killed, lambda: (tmp_path / "checkpoints" / f"step-{STEPS_PER_EPOCH:09d}").exists())
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "model.safetensors").exists()

    resumed = start(*command)
    output, errors = resumed.communicate(timeout=WAIT_SECONDS)
    assert resumed.returncode == 0, errors
    assert "; goes on after step " in errors
    result = json.loads(output)
    assert (result["out"], result["epochs"], result["steps"]) == (str(tmp_path), EPOCHS, EPOCHS * STEPS_PER_EPOCH)
    assert 0 < result["images"] <= (EPOCHS - 1) * 96
    assert_whole(tmp_path, 1)

    again = start(*command)
    output, errors = again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0 and json.loads(output)["images"] == 0


def test_torchrun_starts_two_processes_of_one_run(
    start: Callable[..., subprocess.Popen[str]], dataset: str, tmp_path: Path
) -> None:
    run = start(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "shardtools", *words(dataset, tmp_path), "--json"),
    )
    wait_for(run, lambda: (tmp_path / "metrics.jsonl").exists())
    with pytest.raises(DatasetBusyError, match="another run"):
        acquire(open_storage(tmp_path), purpose="test")
    output, errors = run.communicate(timeout=WAIT_SECONDS)
    assert run.returncode == 0, errors
    # Of two ranks one prints.
    assert json.loads(output)["epochs"] == EPOCHS
    assert "on 2 processes (cpu" in errors
    assert_whole(tmp_path, 2)
