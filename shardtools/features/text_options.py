"""What may be asked of features of class texts."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import option, same
from shardtools.prompts import PromptOptions
from shardtools.taxonomy import DEFAULT_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTextOptions:
    """Texts of which classes, by what, and where to.

    Attributes:
        classes: As `taxonomy.load_classes` takes them.
        encoder: Local folder of a dual encoder or a sentence encoder of transformers.
        out: A folder or s3:// address for the features alone.
        prompt_templates: Templates of `prompts.template`, without scenes; several are averaged.
        lemmas: "all" or "first"; see `PromptOptions`.
        hypernyms: Likewise.
        replace: Whether features that are there are written anew.

    Raises:
        OptionError: A value is out of range.
    """

    classes: str = field(default=DEFAULT_CLASSES, metadata=option("Class set, wnids and synset names, .txt or .csv."))
    encoder: str = field(metadata=option("Local folder of transformers.", metavar="FOLDER"))
    out: str = field(metadata=option("Where the features are written (path or s3://).", metavar="FOLDER"))
    prompt_templates: tuple[str, ...] = field(
        default=("c, d_c",),
        metadata=option("Template with c, h_c, d_c; several are averaged.", flag="--prompt"),
    )
    lemmas: str = same(PromptOptions, "lemmas")
    hypernyms: str = same(PromptOptions, "hypernyms")
    replace: bool = field(default=False, metadata=option("Write anew what is there."))

    def __post_init__(self) -> None:
        if not self.prompt_templates or len(set(self.prompt_templates)) != len(self.prompt_templates):
            raise OptionError(f"prompt templates are different ones, at least one, found {list(self.prompt_templates)}")
        PromptOptions(lemmas=self.lemmas, hypernyms=self.hypernyms)
