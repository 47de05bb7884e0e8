"""`shardtools eval attack`: how many images a small change of their pixels misleads a model with."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from shardtools.cli.options import options_of, values_of
from shardtools.evaluation import ModelOptions
from shardtools.evaluation.attacks import AttackOptions
from shardtools.quoting import shell_word
from shardtools.words import counted

EPILOG = """\b
Examples:
  shardtools eval attack lite0 photos --attack pgd-seed
  shardtools eval attack lite0 photos --attack apgd --eps 4/255 --steps 20 --every 50
  shardtools eval attack lite0 photos --source lite1 --out photos-attacked
  shardtools eval attack lite0 in-val --attack pgd-seed --results results.parquet --set imagenet

\b
The same command resumes a run that was stopped or killed, also on another number of processes. torchrun, accelerate
launch and srun start it too: torchrun --nproc-per-node 8 -m shardtools eval attack ...
"""


@click.command("attack", epilog=EPILOG)
@click.argument("model")
@click.argument("dataset")
@options_of(AttackOptions)
@options_of(ModelOptions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--results", metavar="FILE", help="Add the accuracy to a .parquet or .csv file of results.")
@click.option("--set", "test_set", metavar="NAME", help="Name of the dataset in the results.  [default: its folder's]")
def command(model: str, dataset: str, as_json: bool, results: str | None, test_set: str | None, **options: Any) -> None:
    """Attack MODEL with the images of DATASET, and write what became of each beside the manifest.

    pgd-seed is the attack of seed 001: towards a random class, on every other image. pgd, fgsm and apgd (APGD-CE, then
    APGD-DLR) lead anywhere but to the label. All stay within eps of each pixel value.
    """
    from shardtools.cli.launched import run_job
    from shardtools.cli.progress import RunProgress
    from shardtools.evaluation.attacks import attack, attack_result, require_attack_libraries
    from shardtools.evaluation.sets import add_results

    judged = values_of(ModelOptions, options)
    if judged["protocol"] is not None and judged["protocol_set"] is None:
        judged["protocol_set"] = "adversarial"
    wanted = AttackOptions(
        dataset=dataset,
        model=ModelOptions(model=model, **judged),
        **values_of(AttackOptions, options),
    )

    def as_rank(progress: Any) -> Any:
        require_attack_libraries(wanted)  # what is imported next loads torch
        from shardtools.pipelines.evaluate.attack_job import run_launched

        return run_launched(wanted, progress)

    shown = RunProgress(noun="images", before="loading the model", doing="loading the model")
    result = run_job(shown, alone=lambda progress: attack(wanted, progress=progress), as_rank=as_rank)
    if result is not None:
        if results is not None:
            name = test_set or dataset.rstrip("/").rpartition("/")[2]
            add_results([attack_result(wanted, result, dataset=name)], results)
        click.echo(json.dumps(asdict(result)) if as_json else _summary(result, dataset))


def _summary(result: Any, dataset: str) -> str:
    speed = result.images / max(result.seconds, 1e-9)
    made = f"{counted(result.images, 'image')} in {result.seconds:.1f} s ({speed:.2f}/s)"
    by = "" if result.source == result.model else f" made with {result.source}"
    lines = [
        made if result.images else "nothing left to do",
        f"{result.url}: {counted(result.num_rows, 'row')} of {result.model} under {result.attack}{by}",
        f"{counted(result.num_attacked, 'image')} attacked: top-1 {100 * result.clean_accuracy:.2f} % before, "
        f"{100 * result.accuracy:.2f} % after; {100 * result.success:.2f} % misled; "
        f"pixels changed by {255 * result.max_linf:.3g} of 255 at most",
    ]
    if result.out is not None:
        lines.append(f"attacked images: {result.out}")
    query = f"select clean_class, attacked_class, count(*) as n from overlays.{result.name} where success group by all"
    lines += ["Next:", f"  shardtools sql {shell_word(query)} {shell_word(dataset)}"]
    return "\n".join(lines)
