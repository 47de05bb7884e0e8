"""`shardtools probe`: linear classifiers on features, searched, fitted and tested, one measurement a seed."""

from __future__ import annotations

from shardtools.errors import DatasetBusyError
from shardtools.evaluation.probes.cells import Prepared, measure_cell
from shardtools.evaluation.probes.launch import ProbeJob, Probing
from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.evaluation.probes.result import ProbeResult
from shardtools.evaluation.probes.solving import LbfgsSolver, Solver
from shardtools.execution import Progress, Ready, TaskDone, TaskFacts, ignore, run_in_child
from shardtools.extras import require
from shardtools.storage import Storage

_NEEDED = {"sgd": ("safetensors", "torch"), "lbfgs": ("safetensors",)}


def run_probe(options: ProbeOptions, *, progress: Progress = ignore) -> ProbeResult:
    """Measures a representation by linear classifiers on its features, or goes on with a run that was left unfinished.

    Args:
        options: On what, and how.
        progress: Told what is done, and of every setting that was tried.

    Raises:
        DatasetError: Datasets or features do not fit, an image that is judged would be learnt from, or a feature is not
            finite.
        PlanMismatchError: The folder holds another probe, or the features are of different encoders.
        DatasetBusyError: Another run writes to the folder.
        RunError: The run was stopped or a process failed; what is there stays, and the same call resumes. Or a library
            is missing.
    """
    require(f"probe --solver {options.solver}", _NEEDED[options.solver], extra="eval")
    launch = Probing(options, progress)
    if options.solver == "sgd":
        return run_in_child(launch)
    with launch.hold() as held:
        job = launch.begin()
        if job is not None:
            work(job, launch.prepared, LbfgsSolver(), launch.storage, _while_held(launch, held))
        return launch.finish(stopped=False)


def work(job: ProbeJob, prepared: Prepared, solver: Solver, storage: Storage, show: Progress) -> None:
    """Measures the cells of a job, one after the other."""
    show(Ready())
    for number, key in enumerate(job.keys):
        measure_cell(job.options, prepared, key, solver, storage, show)
        show(TaskDone(task=number, facts=TaskFacts()))


def _while_held(launch: Probing, held: object) -> Progress:
    """Passes messages on while the run holds its folder."""

    def show(message: object) -> None:
        if held.lost:  # type: ignore[attr-defined]
            raise DatasetBusyError(f"{launch.where}: another run took it over: run the same command again")
        launch.hear(message)  # type: ignore[arg-type]

    return show
