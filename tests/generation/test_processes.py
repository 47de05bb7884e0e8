"""Generation in real processes: kills, restarts, other launchers, two runs at once, object stores, full disks."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shardtools.dataset import acquire, open_dataset, read_status
from shardtools.execution import read_events
from shardtools.storage import open_storage
from tests.helpers import tiny_models
from tests.helpers.forked_commands import ForkedCommand
from tests.helpers.generated_datasets import arguments, command, files, generate_here, options, run
from tests.helpers.mounts import run_on_full_disk, run_on_read_only
from tests.helpers.s3_server import S3Server

NUM_KILLS = 6
KILL_ARGUMENTS = ("--images-per-class", "20", "--num-inference-steps", "6")
KILL_OPTIONS = {"images_per_class": 20, "num_inference_steps": 6}
NUM_IMAGES = 200


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def calm(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What `KILL_ARGUMENTS` make in shards of four images when nothing happens."""
    out = tmp_path_factory.mktemp("calm") / "out"
    generate_here(options(model, out, **KILL_OPTIONS, samples_per_shard=4))
    return files(out)


def num_parts(out: Path) -> int:
    return len(list(out.glob("manifest/*.parquet")))


Started = subprocess.Popen[str] | ForkedCommand


def wait_for(process: Started, out: Path, parts: int) -> None:
    """Until the run has committed `parts` shards, or has ended."""
    while process.poll() is None and num_parts(out) < parts:
        time.sleep(0.005)


def end(process: Started) -> tuple[int, str, str]:
    output, errors = process.communicate()
    assert process.returncode is not None
    return process.returncode, output, errors


def starts(out: Path) -> list[dict[str, object]]:
    return [event for event in read_events(open_storage(out)) if event["event"] == "start"]


def test_killed_again_and_again_and_restarted_with_other_processes(
    model: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    """Kill -9 at random moments, each time another --num-processes: the bytes of an undisturbed run."""
    moments = random.Random(20261121)
    out = tmp_path / "killed"
    words = [*arguments(model, out), *KILL_ARGUMENTS, "--samples-per-shard", "4"]
    for kill in range(NUM_KILLS):
        process = command(*words, "--num-processes", str(kill % 3 + 1))
        if moments.random() < 0.3:
            time.sleep(moments.uniform(0.3, 3.0))
        else:
            wait_for(process, out, num_parts(out) + moments.randint(1, 6))
            time.sleep(moments.uniform(0.0, 0.1))
        assert process.poll() is None, end(process)
        os.kill(process.pid, signal.SIGKILL)
        end(process)
    assert num_parts(out) < NUM_IMAGES // 4, "the kills came too late to leave work"
    code, _, errors = run(*words, "--num-processes", "2")
    assert code == 0, errors
    assert files(out) == calm


def test_sigterm_finishes_the_shard_in_hand(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [*arguments(model, out), *KILL_ARGUMENTS, "--samples-per-shard", "20", "--num-processes", "2"]
    process = command(*words)
    wait_for(process, out, 1)
    process.terminate()
    code, _, errors = end(process)
    assert code == 1 and "run the same command again, it resumes" in errors.splitlines()[-1]
    left = num_parts(out)
    assert 1 <= left < NUM_IMAGES // 20 and not (out / "dataset.json").exists()
    assert not list(out.glob(".tmp/*"))
    status = read_status(str(out))
    assert not status.committed and (status.num_rows, status.num_rows_planned) == (20 * left, NUM_IMAGES)
    # The rest in this process, without the seconds of CPU in which another imports torch and diffusers; other tests
    # type the same command again.
    with acquire(open_storage(out), purpose="test"):
        generate_here(options(model, out, **KILL_OPTIONS, samples_per_shard=20))
    assert read_status(str(out)).committed


def test_a_killed_rank_ends_the_run_in_one_line_and_three_finish_it(
    model: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [*arguments(model, out), *KILL_ARGUMENTS, "--samples-per-shard", "4"]
    process = command(*words, "--num-processes", "2")
    wait_for(process, out, 1)
    ranks = psutil.Process(process.pid).children()[0].children()
    assert len(ranks) == 2
    ranks[1].kill()
    code, _, errors = end(process)
    assert code == 1
    assert "process 1 of 2 was killed by signal 9: what is committed stays" in errors.splitlines()[-1]
    assert not any(rank.is_running() for rank in ranks)
    before = {event["log"] for event in read_events(open_storage(out))}
    code, output, errors = run(*words, "--num-processes", "3", "--json")
    assert code == 0, errors
    assert json.loads(output)["num_processes"] == 3
    events = [event for event in read_events(open_storage(out)) if event["log"] not in before]
    started = [event for event in events if event["event"] == "start"]
    assert {event["num_processes"] for event in started} == {3}
    assert len(started) == len({event["pid"] for event in started}) == 3
    assert len({event["log"] for event in events if event["event"] == "shard"}) == 3
    assert files(out) == calm


def test_two_runs_on_one_target(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [*arguments(model, out), *KILL_ARGUMENTS, "--samples-per-shard", "4", "--num-processes", "1"]
    first = command(*words)
    wait_for(first, out, 1)
    code, output, errors = run(*words)
    assert first.poll() is None, "the second run came too late to meet the first"
    assert code == 1 and output == "" and len(errors.splitlines()) == 1 and "another run" in errors
    assert end(first)[0] == 0
    assert open_dataset(out).info is not None
    assert not list(out.glob("lease/*"))


def _world(launcher: list[str], words: list[str]) -> str:
    done = subprocess.run([sys.executable, "-m", *launcher, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_torchrun_starts_the_same_job(model: Path, tmp_path: Path) -> None:
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "shardtools"]
    printed = _world(launcher, arguments(model, tmp_path / "out"))
    assert "loading the model" in printed and not re.search(r"Loading|it/s|Warning", printed), printed
    assert {event["num_processes"] for event in starts(tmp_path / "out")} == {2}
    generate_here(options(model, tmp_path / "here"))
    assert files(tmp_path / "out") == files(tmp_path / "here")


def test_accelerate_launch_starts_the_same_job(model: Path, tmp_path: Path) -> None:
    launcher = [
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "1",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
    ]
    _world([*launcher, "--dynamo_backend", "no", "-m", "shardtools"], arguments(model, tmp_path / "out"))
    assert read_status(str(tmp_path / "out")).committed


def slurm(words: list[str]) -> list[ForkedCommand]:
    """The two processes of `srun --ntasks 2`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1", "MASTER_PORT": port}
    own = [{**shared, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in "01"]
    return [ForkedCommand(words, preload=["shardtools.pipelines.generate.engine"], environment=one) for one in own]


def stop_launched(words: list[str], out: Path, stopped: tuple[int, ...]) -> None:
    """Begins a job on two ranks and stops some: a job behind it must not start on what is not finished."""
    ranks = slurm(words)
    wait_for(ranks[0], out, 1)
    for number in stopped:
        ranks[number].terminate()
    for process in ranks:
        code, output, errors = end(process)
        assert code == 1 and output == ""
        assert "is not finished: run the same command again, it resumes" in errors.splitlines()[-1]
        assert "stopped after" in errors.splitlines()[-1] and "Traceback" not in errors
    assert 1 <= num_parts(out) < NUM_IMAGES // 4 and not (out / "dataset.json").exists()
    assert not list(out.glob("lease/*"))


def test_a_launched_job_that_is_stopped_says_so(model: Path, calm: dict[str, bytes], tmp_path: Path) -> None:
    """All ranks get SIGTERM, as from a scheduler."""
    out = tmp_path / "out"
    stop_launched([*arguments(model, out), *KILL_ARGUMENTS, "--samples-per-shard", "4"], out, (0, 1))
    with acquire(open_storage(out), purpose="test"):
        generate_here(options(model, out, **KILL_OPTIONS, samples_per_shard=4))
    assert files(out) == calm


def test_slurm_starts_the_same_job_also_after_one_rank_was_stopped(
    model: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    """Two processes with what `srun --ntasks 2` sets, of which the machine of one is taken away; Slurm itself is no
    package's to install for one user."""
    out = tmp_path / "out"
    words = [*arguments(model, out), *KILL_ARGUMENTS, "--samples-per-shard", "4"]
    stop_launched(words, out, (1,))
    left = NUM_IMAGES - 4 * num_parts(out)
    (code, output, errors), (other_code, other_output, other_errors) = map(end, slurm([*words, "--json"]))
    assert (code, other_code) == (0, 0), (errors, other_errors)
    assert {event["num_processes"] for event in starts(out)} == {2}
    assert files(out) == calm
    # The first rank speaks for all.
    found = json.loads(output)
    assert (found["num_made"], found["num_images"], found["num_processes"]) == (left, NUM_IMAGES, 2)
    assert other_output == "" and "images in" not in other_errors


def test_an_object_store_gets_the_same_bytes(model: Path, calm: dict[str, bytes], s3_environment: S3Server) -> None:
    """Killed -9 once, then the server dies and comes back while the second run writes."""
    url = s3_environment.url("generated")
    storage = open_storage(url)
    words = [*arguments(model, url), *KILL_ARGUMENTS, "--samples-per-shard", "4", "--num-processes", "2"]

    def wait(process: subprocess.Popen[str], parts: int) -> None:
        while process.poll() is None and len(storage.list("manifest/")) < parts:
            time.sleep(0.05)

    first = command(*words)
    wait(first, 3)
    first.kill()
    end(first)
    second = command(*words)
    wait(second, len(storage.list("manifest/")) + 3)
    s3_environment.kill()
    time.sleep(1.0)
    s3_environment.restart()
    code, _, errors = end(second)
    assert code == 0, errors
    stored = {found.path: storage.read(found.path) for found in storage.list() if not found.path.startswith("events/")}
    assert stored == calm


def test_wrong_credentials_and_no_bucket(model: Path, s3_environment: S3Server) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    code, output, errors = run(*arguments(model, s3_environment.url("x")), environment=secret)
    assert code == 1 and output == "" and len(errors.splitlines()) == 1
    assert "AWS_SECRET_ACCESS_KEY" in errors and "not-the-secret" not in errors
    code, _, errors = run(*arguments(model, "s3://no-such-bucket-here/x"))
    assert code == 1 and len(errors.splitlines()) == 1 and "no-such-bucket-here" in errors


def _main_script(model: Path) -> str:
    words = [*arguments(model, "OUT"), "--num-processes", "1", "--images-per-class", "64", "--samples-per-shard", "640"]
    in_folder = f"[word if word != 'OUT' else sys.argv[1] + '/out' for word in {words!r}]"
    # A busy machine must not add that it is not done yet.
    patience = "from shardtools.cli import main, progress; progress.FIRST_SECONDS = 600"
    return f"import sys; {patience}; main({in_folder})"


def test_no_space_left_is_one_line(model: Path, tmp_path: Path) -> None:
    done = run_on_full_disk(tmp_path, _main_script(model))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "space" in done.stderr.splitlines()[-1]


def test_a_read_only_target_is_one_line(model: Path, tmp_path: Path) -> None:
    done = run_on_read_only(tmp_path, _main_script(model))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "Read-only file system" in done.stderr


def test_dry_run_measures_and_makes_nothing(model: Path, tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = [*arguments(model, tmp_path / "out"), "--scale", "10", "--dry-run"]
    code, output, errors = run(*words, "--json", environment=cache)
    assert code == 0, errors
    found = json.loads(output)
    assert (found["num_images"], found["num_shards"], found["num_distinct_prompts"]) == (200, 50, 10)
    assert found["num_bytes"] > 200 * 300 and found["seconds"] > 0
    assert not (tmp_path / "out").exists()
    code, output, _ = run(*words, environment=cache)
    assert code == 0 and "200 images of 10 classes, 10 distinct prompts" in output and "nothing was made" in output


def test_the_command_as_it_stands(tmp_path: Path) -> None:
    code, output, errors = run("gen-sd", "--prompt", "c, d_c", cwd=tmp_path)
    assert code == 0, errors
    assert "fashion-sd holds 160 images" in output
    commands = [line.strip() for line in output.splitlines() if line.startswith("  shardtools ")]
    assert len(commands) == 3
    for line in commands:
        done = subprocess.run(
            line.replace("shardtools", f"{sys.executable} -m shardtools", 1),
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stderr)
    code, output, _ = run("gen-sd", "--prompt", "c, d_c", cwd=tmp_path)
    assert code == 0 and output.startswith("nothing left to make")
