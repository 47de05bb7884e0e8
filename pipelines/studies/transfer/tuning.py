"""Fine-tuning in a small grid: the study's networks as models of a study file, by `shardtools transfer`.

Owns the file, so that anybody may run or report it by hand: `shardtools transfer report OUT/tuning.toml`. Networks are
trained from their checkpoints, and one from nothing beside them.
"""

from __future__ import annotations

from pathlib import Path

from shardtools.errors import RunError
from shardtools.execution import ignore
from shardtools.pipelines.studies.transfer.plan import StudyOptions
from shardtools.pipelines.studies.transfer.pretraining import RECIPE, pretraining_accuracies
from shardtools.transfer import Report, TransferOptions, make_report, run_study

BATCH = 32
NOTHING = "from nothing"


def study_file(options: StudyOptions) -> Path:
    """Where the study file lies; its cells are beside it in `tuning/`."""
    return options.folder / "tuning.toml"


def write_study(options: StudyOptions) -> None:
    """Writes the study file."""
    accuracies = pretraining_accuracies(options)
    networks = [one for one in options.networks if one.name in options.tuned]
    lines = [
        f'recipe = "{RECIPE}"',
        f"epochs = {options.tuned_epochs}",
        'pretraining = "Fashion-MNIST"',
        "",
        "[changes]",
        f"batch_size = {BATCH}",
        "warmup_epochs = 1",
        # Digits have a left and a right.
        "flip = 0.0",
        "",
        "[grid]",
        'optimizers = ["sgd"]',
        'schedules = ["cosine"]',
        f"sgd_rates = {list(options.rates)}",
        f"decays = {list(options.decays)}",
        *_model(NOTHING, None, None),
    ]
    for one in networks:
        lines += _model(one.name, str(options.weights(one)), accuracies[one.name])
    for name in options.tuned_sets:
        lines += ["", "[[sets]]", f'name = "{name}"', f'dataset = "{options.dataset(name)}"', 'test_split = "test"']
    study_file(options).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _model(name: str, init: str | None, accuracy: float | None) -> list[str]:
    lines = ["", "[[models]]", f'name = "{name}"', 'encoder = "resnet-micro"']
    lines += [] if init is None else [f'init = "{init}"']
    return lines + ([] if accuracy is None else [f"accuracy = {accuracy}"])


def tune(options: StudyOptions) -> None:
    """Trains the cells that are not done.

    Raises:
        RunError: Cells failed, or others are training them.
    """
    wanted = TransferOptions(processes=options.processes, device="cpu", threads=1, compute_threads=1)
    ran = run_study(str(study_file(options)), wanted, progress=ignore)
    if ran.num_done < ran.num_cells:
        reason = f": {ran.failures[0]}" if ran.failures else ""
        raise RunError(f"{ran.num_done} of {ran.num_cells} cells are done{reason}: run the same command again")


def tuned_report(options: StudyOptions) -> Report:
    """What the cells came to."""
    return make_report(str(study_file(options)))
