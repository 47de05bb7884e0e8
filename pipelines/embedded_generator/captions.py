"""The captions the generator is trained on, and the scene table they name scenes from.

Owns the ten classes' WordNet 3.0 facts (lemmas, definition, direct hypernyms), the four
prompt templates, and the random wording around them. The prompts a user writes follow
the templates exactly; the wording here is wider so that one lemma, the definition alone
or "a photo of a ..." are obeyed too. The price is that a tenth of the captions (one
hypernym, dropped words) fit several classes.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

import shardtools

Generator = np.random.Generator
SCENE_TABLE = Path(shardtools.__file__).resolve().parent / "models" / "scene_groups.csv"
TEMPLATES = ("c", "c, h_c", "c, d_c", "c, h_c inside b")
_SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassText:
    """One class: WordNet 3.0 synset, lemmas, gloss, and the parents' lemmas."""

    wnid: str
    lemmas: tuple[str, ...]
    definition: str
    hypernyms: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    @property
    def c(self) -> str:
        """All lemmas, as the templates join them."""
        return ", ".join(self.lemmas)

    @property
    def h(self) -> str:
        """The lemmas of all direct hypernyms."""
        return ", ".join(self.hypernyms)


CLASSES: tuple[ClassText, ...] = (
    ClassText(
        wnid="n03595614",
        lemmas=("jersey", "T-shirt", "tee shirt"),
        definition="a close-fitting pullover shirt",
        hypernyms=("shirt",),
        aliases=("tee", "t-shirt top"),
    ),
    ClassText(
        wnid="n04489008",
        lemmas=("trouser", "pant"),
        definition=(
            "(usually in the plural) a garment extending from the waist to the knee or ankle, "
            "covering each leg separately"
        ),
        hypernyms=("garment",),
        aliases=("trousers", "pants"),
    ),
    ClassText(
        wnid="n04021028",
        lemmas=("pullover", "slipover"),
        definition="a sweater that is put on by pulling it over the head",
        hypernyms=("sweater", "jumper"),
    ),
    ClassText(
        wnid="n03236735",
        lemmas=("dress", "frock"),
        definition="a one-piece garment for a woman; has skirt and bodice",
        hypernyms=("woman's clothing",),
    ),
    ClassText(
        wnid="n03057021",
        lemmas=("coat",),
        definition=("an outer garment that has sleeves and covers the body from shoulder down; worn outdoors"),
        hypernyms=("overgarment", "outer garment"),
    ),
    ClassText(
        wnid="n04133789",
        lemmas=("sandal",),
        definition="a shoe consisting of a sole fastened by straps to the foot",
        hypernyms=("shoe",),
        aliases=("sandals",),
    ),
    ClassText(
        wnid="n04197391",
        lemmas=("shirt",),
        definition="a garment worn on the upper half of the body",
        hypernyms=("garment",),
    ),
    ClassText(
        wnid="n03472535",
        lemmas=("gym shoe", "sneaker", "tennis shoe"),
        definition="a canvas shoe with a pliable rubber sole",
        hypernyms=("shoe",),
        aliases=("sneakers",),
    ),
    ClassText(
        wnid="n02774152",
        lemmas=("bag", "handbag", "pocketbook", "purse"),
        definition=(
            "a container used for carrying money and small personal items or accessories (especially by women)"
        ),
        hypernyms=("container",),
    ),
    ClassText(
        wnid="n02872752",
        lemmas=("boot",),
        definition="footwear that covers the whole foot and lower leg",
        hypernyms=("footwear", "footgear"),
        aliases=("ankle boot", "boots"),
    ),
)

_PREFIXES = (
    "a photo of a",
    "a photo of the",
    "a picture of a",
    "a picture of the",
    "an image of a",
    "a photograph of a",
    "a product photo of a",
    "a good photo of a",
    "a close-up photo of a",
    "photo of",
    "picture of",
    "one",
    "a",
    "the",
    "my",
    "this is a",
)
_SUFFIXES = (
    "in a shop",
    "for sale",
    "on a black background",
    "as a product photo",
    "seen from the front",
    "worn by a woman",
    "worn by a man",
    "in colour",
    "made of wool",
)


def read_scene_table(path: Path = SCENE_TABLE) -> dict[str, list[tuple[str, str]]]:
    """Scenes by group: group name to `(scene, qualifier)` pairs, 365 in all."""
    table: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            table[row["group"]].append((row["scene"], row["qualifier"]))
    return dict(table)


def scene_wordings(scene: str, qualifier: str) -> tuple[str, ...]:
    """The ways a prompt may name one scene; the first is the usual one."""
    if not qualifier:
        return (scene,)
    return (f"{scene} {qualifier}", f"{scene} ({qualifier})", scene)


def fill_template(template: str, text: ClassText, scene: str = "") -> str:
    """A template of `TEMPLATES` filled for one class, all lemmas, all hypernyms."""
    if template == "c":
        return text.c
    if template == "c, h_c":
        return f"{text.c}, {text.h}"
    if template == "c, d_c":
        return f"{text.c}, {text.definition}"
    if template == "c, h_c inside b":
        return f"{text.c}, {text.h} inside {scene}"
    raise ValueError(f"expected one of {TEMPLATES}, found {template!r}")


def _pick(options: tuple[str, ...], rng: Generator) -> str:
    return options[int(rng.integers(0, len(options)))]


def _subject(text: ClassText, rng: Generator) -> str:
    """The words for the class itself: all lemmas most often, then one lemma or less."""
    draw = rng.random()
    if draw < 0.38:
        return text.c
    if draw < 0.72:
        return _pick(text.lemmas, rng)
    if draw < 0.82:
        return text.definition
    if draw < 0.86:
        return text.h if rng.random() < 0.5 else text.hypernyms[0]
    if draw < 0.90 and text.aliases:
        return _pick(text.aliases, rng)
    shuffled = [text.lemmas[i] for i in rng.permutation(len(text.lemmas))]
    return ", ".join(shuffled[: int(rng.integers(1, len(shuffled) + 1))])


def _drop_words(caption: str, rng: Generator) -> str:
    words = caption.split()
    kept = [word for word in words if rng.random() > 0.15]
    return " ".join(kept or words)


def draw_caption(class_index: int, scene: tuple[str, str] | None, rng: Generator) -> str:
    """One training caption of a class, inside a scene or on black; never empty."""
    text = CLASSES[class_index]
    caption = _subject(text, rng)
    extra = rng.random()
    if extra < 0.26:
        caption += f", {text.h if rng.random() < 0.7 else text.hypernyms[0]}"
    elif extra < 0.5 and text.definition not in caption:
        caption += f", {text.definition}"
    if rng.random() < 0.3:
        caption = f"{_pick(_PREFIXES, rng)} {caption}"
    if rng.random() < 0.06:
        caption += f" {_pick(_SUFFIXES, rng)}"
    if rng.random() < 0.08:
        caption = _drop_words(caption, rng)
    # After words were dropped: the scene is what such a caption teaches, so it stays whole.
    if scene is not None:
        wording = scene_wordings(*scene)
        name = wording[0] if rng.random() < 0.6 else _pick(wording, rng)
        link = "inside" if rng.random() < 0.85 else _pick(("inside a", "inside the", "in a", "at the"), rng)
        caption += f" {link} {name}"
    if rng.random() < 0.03:
        caption = caption.replace(",", "")
    return caption


def longest_prompts() -> list[str]:
    """Every template with every class and scene wording, plus definition and scene together."""
    scenes = [pair for pairs in read_scene_table().values() for pair in pairs]
    prompts = [fill_template(template, text) for template in TEMPLATES[:3] for text in CLASSES]
    for text in CLASSES:
        for scene in scenes:
            for wording in scene_wordings(*scene):
                prompts.append(fill_template("c, h_c inside b", text, wording))
                prompts.append(f"a photo of a {text.c}, {text.h}, {text.definition} inside {wording}")
    return prompts


def train_tokenizer(*, vocabulary_size: int, max_length: int, seed: int) -> CLIPTokenizer:
    """A CLIP tokenizer (lower-cased byte-level BPE, `</w>` ends a word) fit to the captions."""
    rng = np.random.default_rng(seed)
    scenes = [pair for pairs in read_scene_table().values() for pair in pairs]
    corpus = longest_prompts()
    for _ in range(20_000):
        scene = scenes[int(rng.integers(0, len(scenes)))] if rng.random() < 0.3 else None
        corpus.append(draw_caption(int(rng.integers(0, len(CLASSES))), scene, rng))
    blank = CLIPTokenizer()
    rules = blank.backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=_SPECIAL_TOKENS[1]))
    learner.normalizer, learner.pre_tokenizer = rules.normalizer, rules.pre_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=list(_SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    return _as_clip_tokenizer(learner, max_length)


def _as_clip_tokenizer(learner: Tokenizer, max_length: int) -> CLIPTokenizer:
    """The learned pieces in a CLIPTokenizer, with every byte also known as a word's end."""
    model = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = dict(model["vocab"])
    for symbol in sorted(ByteLevel.alphabet()):
        vocabulary.setdefault(f"{symbol}</w>", len(vocabulary))
    merges = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)
