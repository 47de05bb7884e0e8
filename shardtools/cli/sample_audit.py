"""The command of an audit of one file (`shardtools.audits.sample_audit`): made of what the audit declares."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Any

import click

from shardtools.audits import SampleAudit, run_sample_audit
from shardtools.cli.options import options_of
from shardtools.words import counted


def sample_audit_command(audit: SampleAudit) -> click.Command:
    """A command like any other: options of the dataclass, one library call, a summary or --json."""

    def command(dataset: str, as_json: bool, **options: Any) -> None:
        wanted = audit.options(dataset=dataset, **options)
        result = run_sample_audit(audit, wanted, report=lambda line: click.echo(line, err=True))
        if as_json:
            click.echo(json.dumps(asdict(result)))
            return
        click.echo(f"{counted(result.num_samples, 'sample')} in {result.overlay}\nNext:")
        for line in audit.next_commands:
            click.echo(f"  {line.replace('DATASET', shlex.quote(dataset))}")

    columns = "".join(f"  {name:<20}{meaning}\n" for name, meaning in audit.columns.items())
    examples = "".join(f"  {line}\n" for line in (f"shardtools {audit.name} DATASET", *audit.next_commands))
    command.__doc__ = f"{audit.summary}\n\n    Writes the overlay {audit.overlay}."
    decorated: Any = command
    decorated = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(decorated)
    decorated = options_of(audit.options)(decorated)
    decorated = click.argument("dataset")(decorated)
    epilog = f"\b\nColumns of the overlay beside key:\n{columns}\n\b\nExamples:\n{examples}"
    return click.command(audit.name, epilog=epilog)(decorated)
