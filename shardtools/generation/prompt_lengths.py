"""How long prompts are for the text encoder that reads them, before anything is drawn.

Owns the count. An encoder reads a fixed number of tokens and drops the rest without a word, so that two classes whose
descriptions begin alike become one condition. The tokenizer is read from the model's files; the price: a folder whose
tokenizer is neither `tokenizer.json` nor CLIP's two files is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardtools.generation.plan import Plan
from shardtools.words import counted

_NO_LIMIT = 100_000
"""Files say so where they mean no limit."""

_PIPELINE_LIMITS = {"StableDiffusion3Pipeline": 256}
"""What a pipeline reads by default where its encoder would read more."""

_MOST_PROMPTS = 100_000
"""Prompts that are counted; more would take longer than all else that is looked at before a run."""

_BATCH = 4096
_SHOWN = 3
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP cuts a text into words."""


@dataclass(frozen=True, slots=True)
class PromptReader:
    """What one pipeline reads of a prompt.

    Attributes:
        limit: Tokens that it reads, those of the start and the end among them.
    """

    limit: int
    _tokenizer: Any

    def tokens(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """The tokens of each prompt, all of them."""
        return [tuple(one.ids) for one in self._tokenizer.encode_batch(list(prompts))]

    def reason(self, prompt: str) -> str | None:
        """What a row says of a prompt that is not read to its end; `None` for one that is."""
        [tokens] = self.tokens([prompt])
        if len(tokens) <= self.limit:
            return None
        return f"prompt cut: it has {len(tokens)} tokens, of which the text encoder reads {self.limit}"


def prompt_reader(model_path: Path) -> PromptReader | None:
    """Reads a pipeline's tokenizer, the one that reads most where it has several; `None` where it cannot be read."""
    try:
        import tokenizers  # noqa: F401  # only asked whether it is there
    except ImportError:
        # Without it nothing is drawn either: what draws needs transformers, which needs it.
        return None
    found = []
    for number in ("", "_2", "_3", "_4"):
        folder = model_path / f"tokenizer{number}"
        tokenizer = _tokenizer(folder) if folder.is_dir() else None
        limit = _limit(folder, model_path / f"text_encoder{number}")
        if tokenizer is not None and limit is not None:
            found.append(PromptReader(limit, tokenizer))
    if not found:
        return None
    reader = max(found, key=lambda one: one.limit)
    cap = _PIPELINE_LIMITS.get(str(_json(model_path / "model_index.json").get("_class_name")), reader.limit)
    return PromptReader(min(reader.limit, cap), reader._tokenizer)


def cut_prompts(plan: Plan, model_path: Path) -> str | None:
    """One line on the prompts of a plan that are not read to their ends; `None` where all are."""
    reader = prompt_reader(model_path)
    if reader is None:
        return None
    classes_of_prompt = _prompts(plan)
    prompts = list(classes_of_prompt)
    cut: dict[str, int] = {}
    heads: dict[tuple[int, ...], set[str]] = {}
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        for prompt, tokens in zip(batch, reader.tokens(batch), strict=True):
            if len(tokens) > reader.limit:
                cut[prompt] = len(tokens)
                heads.setdefault(tokens[: reader.limit - 1], set()).add(classes_of_prompt[prompt])
    if not cut:
        return None
    named = ", ".join(f"{classes_of_prompt[prompt]} ({length})" for prompt, length in list(cut.items())[:_SHOWN])
    alike = sorted(wnid for wnids in heads.values() if len(wnids) > 1 for wnid in wnids)
    same = (
        f"; {len(alike)} classes become the same as another ({', '.join(alike[:_SHOWN])}{', ...' * (len(alike) > 3)})"
        if alike
        else ""
    )
    return (
        f"{len(cut)} of {counted(len(prompts), 'prompt')} {'has' if len(cut) == 1 else 'have'} more than the "
        f"{reader.limit} tokens that the text encoder reads, and what follows is cut off: {named}"
        f"{', ...' * (len(cut) > _SHOWN)}{same}; the rows say so in the column reason; shorten them by another --prompt"
    )


def _prompts(plan: Plan) -> dict[str, str]:
    """Distinct prompt -> the class that it is of; rows go round the classes, so the first ones hold them all."""
    found: dict[str, str] = {}
    most = min(plan.num_rows, len(plan.options.classes) * max(1, len(plan.options.prompts.scenes)))
    for start in range(0, most, _MOST_PROMPTS):
        table = plan.table(start, min(start + _MOST_PROMPTS, most))
        for prompt, wnid in zip(table["prompt"].to_pylist(), table["wnid"].to_pylist(), strict=True):
            found.setdefault(prompt, wnid)
            if len(found) == _MOST_PROMPTS:
                return found
    return found


def _limit(tokenizer: Path, encoder: Path) -> int | None:
    said = [
        _json(tokenizer / "tokenizer_config.json").get("model_max_length"),
        _json(encoder / "config.json").get("max_position_embeddings"),
    ]
    limits = [int(limit) for limit in said if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT]
    return min(limits, default=None)


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            tokenizer = _clip(folder)
        else:
            return None
    except Exception:
        # The library raises plain exceptions for a damaged file; loading the model will say what is wrong with it.
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _clip(folder: Path) -> Any:
    """CLIP's tokenizer out of its vocabulary and merges, as transformers builds it."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    special = _json(folder / "special_tokens_map.json")
    texts = {name: special.get(name) for name in ("bos_token", "eos_token")}
    start, end = (
        str(value["content"] if isinstance(value, dict) else value or default)
        for value, default in zip(texts.values(), ("<|startoftext|>", "<|endoftext|>"), strict=True)
    )
    tokenizer = Tokenizer(
        models.BPE.from_file(
            str(folder / "vocab.json"), str(folder / "merges.txt"), end_of_word_suffix="</w>", unk_token=end
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([start, end])
    # Added above, so both have numbers.
    numbers = {word: int(tokenizer.token_to_id(word) or 0) for word in (start, end)}
    tokenizer.post_processor = processors.RobertaProcessing((end, numbers[end]), (start, numbers[start]), False, False)
    return tokenizer


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
