"""`shardtools probe`: linear classifiers on features, searched, fitted and tested, one measurement a seed."""

from __future__ import annotations

from shardtools.errors import DatasetBusyError
from shardtools.evaluation.probes.cells import measure_cells
from shardtools.evaluation.probes.launch import Probing
from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.evaluation.probes.result import ProbeResult
from shardtools.evaluation.probes.solving import LbfgsSolver
from shardtools.execution import Message, Progress, ignore, run_in_child
from shardtools.extras import require

_NEEDED = {"sgd": ("accelerate", "optuna", "safetensors", "torch"), "lbfgs": ("optuna", "safetensors")}


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
    require(f"probe --solver {options.solver}", _NEEDED[options.solver], extra="audit")
    launch = Probing(options, progress)
    if options.solver == "sgd":
        return run_in_child(launch)
    with launch.hold() as held:
        job = launch.begin()
        if job is not None:

            def show(message: Message) -> None:
                # Told after every classifier, which is where a run may end.
                if held.lost:
                    raise DatasetBusyError(f"{launch.where}: another run took it over: run the same command again")
                launch.hear(message)

            measure_cells(job.options, launch.prepared, job.keys, LbfgsSolver(show), launch.storage, show)
        return launch.finish(stopped=False)
