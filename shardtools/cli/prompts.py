"""`shardtools prompts`: the prompts that a template gives, as generation would use them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from shardtools.cli.options import options_of
from shardtools.prompts import PromptOptions, check_template, load_scenes, parse_template, scenes_for
from shardtools.taxonomy import DEFAULT_CLASSES, load_classes
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.prompts import Template
    from shardtools.taxonomy import ImageClass


@click.command()
@options_of(PromptOptions, only=("template",))
@click.option(
    "--classes", default=DEFAULT_CLASSES, show_default=True, help="Class set, wnids and synset names, .txt or .csv."
)
@options_of(PromptOptions, only=("lemmas", "hypernyms"))
@click.option("--scenes", default=None, help="Text file, one scene a line, for b  [default: the 365 Places names]")
@click.option("--limit", type=click.IntRange(min=1), default=1, show_default=True, help="Rows printed for each class.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line: wnid, class_index, scene, prompt.")
def command(classes: str, scenes: str | None, limit: int, as_json: bool, **given: Any) -> None:
    r"""Print the prompts that a template gives.

    Each class is printed with its first scenes; generation uses the same texts, every class with every scene.

    \b
    Examples:
      shardtools prompts --prompt "a photo of a c"
      shardtools prompts --prompt "c, h_c inside b" --classes imagenet-100 --limit 3
      shardtools prompts --prompt "c, d_c" --classes robin.n.02,n02123045 --lemmas first --json
    """
    options = PromptOptions(scenes=() if scenes is None else load_scenes(scenes), **given)
    template = parse_template(options.template)
    image_classes = load_classes(classes)
    check_template(template, image_classes, options)
    used_scenes = scenes_for(template, options)
    rows = _first_prompts(template, image_classes, used_scenes[:limit], options)
    if as_json:
        for entry, scene, prompt in rows:
            record = {"wnid": entry.wnid, "class_index": entry.class_index, "scene": scene, "prompt": prompt}
            click.echo(json.dumps(record, ensure_ascii=False))
        return
    from shardtools.cli.columns import format_columns, terminal_width

    cells = [[entry.wnid, entry.lemmas[0], scene or "", prompt] for entry, scene, prompt in rows]
    header = ["wnid", "class", "scene", "prompt"]
    if not template.uses_scene:
        header, cells = [*header[:2], header[3]], [[*row[:2], row[3]] for row in cells]
    lines = format_columns(header, cells, terminal_width())
    click.echo("\n".join([*lines, "", *_summary(template, image_classes, used_scenes, options)]))


def _first_prompts(
    template: Template, classes: list[ImageClass], scenes: tuple[str, ...], options: PromptOptions
) -> Iterator[tuple[ImageClass, str | None, str]]:
    from shardtools.prompts import fill_template

    for entry, scene in itertools.product(classes, scenes or (None,)):
        yield entry, scene, fill_template(template, entry, scene, options)


def _summary(
    template: Template, classes: list[ImageClass], scenes: tuple[str, ...], options: PromptOptions
) -> list[str]:
    """How many distinct prompts there are, and which classes cannot be told apart by theirs."""
    prompt_to_classes: dict[str, list[ImageClass]] = {}
    for entry, _, prompt in _first_prompts(template, classes, scenes[:1], options):
        prompt_to_classes.setdefault(prompt, []).append(entry)
    # two classes share all their prompts or none: what they put into the template does not depend on the scene
    distinct = len(prompt_to_classes) * max(1, len(scenes))
    factors = counted(len(classes), "class", "classes", spec=",")
    if scenes:
        factors += f" x {counted(len(scenes), 'scene', spec=',')}"
    lines = [f"{factors}: {counted(distinct, 'distinct prompt', spec=',')}"]
    shared = [entries for entries in prompt_to_classes.values() if len(entries) > 1]
    if shared:
        named = "; ".join(
            f"{' and '.join(entry.wnid for entry in entries)} ({entries[0].lemmas[0]})" for entries in shared[:3]
        )
        more = f" and {len(shared) - 3:,} more" if len(shared) > 3 else ""
        lines.append(f"the same prompt for different classes: {named}{more}; d_c or h_c may tell them apart")
    return lines
