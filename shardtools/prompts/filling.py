"""From a template, a class and a scene to a prompt.

Owns how several lemmas and parents are written. The thesis that the templates come from does not publish that choice,
so both ways are options; the price is two more fields that every plan must carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shardtools.errors import OptionError, PromptError
from shardtools.options import option
from shardtools.prompts.places365 import PLACES365_SCENES
from shardtools.prompts.template import Template
from shardtools.taxonomy import ImageClass

CHOICES = ("all", "first")
"""What `lemmas` and `hypernyms` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """What decides a prompt besides the class.

    Attributes:
        template: See `prompts.template`.
        lemmas: "all" writes every lemma of the class joined by ", "; "first" only the first.
        hypernyms: "all" writes every lemma of every direct parent joined by ", "; "first" the first lemma of the first
            parent.
        scenes: What `b` stands for; empty means the 365 Places names where the template has a `b`.

    Raises:
        OptionError: An unknown choice, or a scene that is empty or given twice.
    """

    template: str = field(
        default="c, d_c",
        metadata=option("Template: c class names, h_c hypernyms, d_c definition, b scene.", flag="--prompt"),
    )
    lemmas: str = field(default="all", metadata=option("Names of a class in `c`.", choices=CHOICES))
    hypernyms: str = field(default="all", metadata=option("Parents in `h_c`.", choices=CHOICES))
    scenes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("lemmas", self.lemmas), ("hypernyms", self.hypernyms)):
            if value not in CHOICES:
                raise OptionError(f"{name}: expected {' or '.join(CHOICES)}, found {value!r}")
        if not all(scene.strip() for scene in self.scenes):
            raise OptionError(
                f"scenes: scene {[bool(s.strip()) for s in self.scenes].index(False)} is empty; leave it out"
            )
        if len(set(self.scenes)) != len(self.scenes):
            twice = next(scene for scene in self.scenes if self.scenes.count(scene) > 1)
            raise OptionError(f"scenes: {twice!r} is given twice; give it once")


def scenes_for(template: Template, options: PromptOptions) -> tuple[str, ...]:
    """The scenes that every class is put into: none without a `b`, the 365 Places names unless `options` has others.

    Raises:
        PromptError: `options` has scenes and the template no `b`.
    """
    if template.uses_scene:
        return options.scenes or PLACES365_SCENES
    if options.scenes:
        raise PromptError(
            f"{len(options.scenes)} scenes are given but the prompt template {template.text!r} has no b; "
            f"write one, as in '{template.text} inside b', or leave the scenes out"
        )
    return ()


def check_template(template: Template, classes: Sequence[ImageClass], options: PromptOptions) -> None:
    """Refuse a template that could not be filled for every class.

    Raises:
        PromptError: `d_c` with classes that have no definition, `h_c` with classes that have no parent (the message
            names them), or scenes without a `b`.
    """
    scenes_for(template, options)
    if "d_c" in template.tokens:
        _refuse("d_c", "definition", [entry for entry in classes if not entry.definition])
    if "h_c" in template.tokens:
        _refuse("h_c", "hypernym", [entry for entry in classes if not entry.hypernyms])


def _refuse(token: str, what: str, lacking: list[ImageClass]) -> None:
    if not lacking:
        return
    named = ", ".join(f"{entry.wnid} ({entry.lemmas[0]})" for entry in lacking[:3])
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    raise PromptError(
        f"the template uses {token}, but no {what} is known for {named}{more}; add one or leave {token} out"
    )


def _join(names: Iterable[str], choice: str) -> str:
    # two parents may share a lemma; it is written once
    unique = list(dict.fromkeys(names))
    return ", ".join(unique if choice == "all" else unique[:1])


def fill_template(template: Template, image_class: ImageClass, scene: str | None, options: PromptOptions) -> str:
    """The prompt for one class, in a scene where the template has a `b`.

    Raises:
        PromptError: The class lacks what a token needs, or `scene` is missing, or given without a `b`.
    """
    if template.uses_scene != (scene is not None):
        found = "none" if scene is None else repr(scene)
        expected = "a scene for b" if template.uses_scene else "no scene (there is no b)"
        raise PromptError(f"prompt template {template.text!r}: expected {expected}, found {found}")
    values = {"c": _join(image_class.lemmas, options.lemmas), "b": scene or ""}
    if "d_c" in template.tokens:
        _refuse("d_c", "definition", [image_class] if not image_class.definition else [])
        values["d_c"] = image_class.definition or ""
    if "h_c" in template.tokens:
        _refuse("h_c", "hypernym", [image_class] if not image_class.hypernyms else [])
        values["h_c"] = _join((lemma for parent in image_class.hypernyms for lemma in parent), options.hypernyms)
    return "".join(values[part.text] if part.is_token else part.text for part in template.parts)
