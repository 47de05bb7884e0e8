"""The command line: parse, one library call, print.

Commands are listed in `COMMANDS` with their one-line help, so that `shardtools --help` imports none of them; a
command's module is imported when it is named. Only `ShardtoolsError` is caught: one line on stderr and its exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any

import click

from shardtools.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "gen-sd": ("shardtools.cli.gen_sd", "Make an image dataset with a Stable Diffusion pipeline."),
    "classes": ("shardtools.cli.classes", "Look up class sets, wnids and synset names."),
    "prompts": ("shardtools.cli.prompts", "Print the prompts that a template gives."),
    "write": ("shardtools.cli.write", "Write real images as shards with a manifest."),
    "convert": ("shardtools.cli.convert", "Copy a dataset, or any source, into another format."),
    "corrupt": ("shardtools.cli.corrupt", "Write copies of a dataset with noise, blur, weather, digital damage."),
    "backgrounds": ("shardtools.cli.backgrounds", "Prepare photographs that objects are rendered before."),
    "render": ("shardtools.cli.render", "Render meshes before photographs, every factor known, as a dataset."),
    "plan-bytes": ("shardtools.cli.plan_bytes", "Say which image size and quality reach a decoding speed."),
    "describe": ("shardtools.cli.describe", "Write what other tools read: card, Croissant, wids and DALI indexes."),
    "bench": ("shardtools.cli.bench", "Measure what this machine reads of a dataset, and what would help."),
    "train": ("shardtools.cli.train", "Train a classifier on the shards of datasets."),
    "recipes": ("shardtools.cli.recipes", "List the recipes of train, or print one."),
    "curves": ("shardtools.cli.curves", "Draw the curves of training runs."),
    "transfer": ("shardtools.cli.transfer", "Fine-tune models on sets in a grid; say what carries over."),
    "eval": ("shardtools.cli.eval", "Judge networks; put figures beside published ones."),
    "cog": ("shardtools.cli.cog", "Ask what a representation carries over to concepts that it has not seen."),
    "sql": ("shardtools.cli.sql", "Ask the manifests of datasets a question in SQL."),
    "query": ("shardtools.cli.query", "Run one of the named questions in queries/."),
    "features": ("shardtools.cli.features", "Write one feature vector an image."),
    "text-features": ("shardtools.cli.text_features", "Write one feature vector a class, of its name and definition."),
    "predict": ("shardtools.cli.predict", "Write what a model says of every image."),
    "probe": ("shardtools.cli.probe", "Measure features by linear classifiers: all images, or a few a class."),
    "index": ("shardtools.cli.index", "Find neighbours among features."),
    "meshes": ("shardtools.cli.meshes", "Prepare meshes of WordNet classes to be rendered."),
    "nearest": ("shardtools.cli.nearest", "Say which class each sample and each class is nearest to."),
    "analyze": ("shardtools.cli.analyze", "Measure features: sparsity, distance within classes, redundancy, coding."),
    "audit": ("shardtools.cli.audit", "Score every label: which are likely wrong, and what they may be."),
    "quality": ("shardtools.cli.quality", "Measure every image: light, blur, colour, perceptual hash."),
    "duplicates": ("shardtools.cli.duplicates", "Find copies and leaks within and across datasets."),
    "report": ("shardtools.cli.report", "Write a page to look at a dataset and decide on its samples."),
    "apply": ("shardtools.cli.apply", "Write a new version of a dataset: drop, relabel, reweight."),
    "diff": ("shardtools.cli.diff", "Say what differs between two datasets."),
    "overlay": ("shardtools.cli.overlay", "List, import and remove tables of facts about samples."),
    "status": ("shardtools.cli.status", "Say how far a dataset is, from its files alone."),
    "verify": ("shardtools.cli.verify", "Check digests, offsets, decodability; repair; regenerate rows."),
}
"""Command name -> (module with a `command` object, or an audit of one file with an `AUDIT`; one line of help)."""


EPILOG = """\b
Start here:
  shardtools gen-sd --prompt "c, d_c"
  shardtools query classes fashion-sd
  shardtools sql "select wnid, count(*) as images from samples group by wnid" fashion-sd

\b
Shell completion: add to ~/.bashrc (or ~/.zshrc with zsh_source)
  eval "$(_SHARDTOOLS_COMPLETE=bash_source shardtools)"
"""


@click.group(
    cls=LazyGroup,
    places=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="shardtools")
def cli() -> None:
    """Image datasets, real and generated, on sharded storage: made exactly once, one manifest row an image."""


def main(args: list[str] | None = None) -> None:
    """Entry point of the `shardtools` script.

    Args:
        args: What was typed; `None` for this process's own command line, where warnings of libraries are silent unless
            Python was asked for them (`python -W default`): what they say is for who programs with them.
    """
    from shardtools.cli.terminal import guarded_output

    with guarded_output():
        sys.exit(_run(args))


def _run(args: list[str] | None) -> int:
    """Runs a command; its exit code."""
    from shardtools.errors import ShardtoolsError, resource_error

    if args is None and not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        result: Any = cli.main(args, prog_name="shardtools", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        print("shardtools: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except ShardtoolsError as error:
        print(f"shardtools: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        # What the machine lacks is no fault of the program, and no trace helps against it.
        known = resource_error(error)
        if known is None:
            raise
        print(f"shardtools: {known}", file=sys.stderr)
        return known.exit_code
    return result if isinstance(result, int) else 0
