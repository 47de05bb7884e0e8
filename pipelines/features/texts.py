"""Texts through an encoder of this machine: names and definitions of classes, and what one searches images with.

    shardtools text-features --classes imagenet-1k --encoder models/all-MiniLM-L6-v2 --out class-texts
    shardtools index search DATASET --text "a red shoe"

Hardware: any; runs on the CPU, some hundred texts a second. Metric: none.

Owns the two kinds of encoders: a dual encoder's text tower, whose features lie in the space of its images, and sentence
encoders, whose tokens are averaged as sentence-transformers does it (Reimers and Gurevych: "Sentence-BERT", 2019,
section 3). The price of doing without that library: pooling other than by mean or first token, and layers after it but
a normalisation, are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from shardtools.arrays import Float32s
from shardtools.documents import read_json
from shardtools.errors import OptionError, first_line
from shardtools.features import ClassTextOptions
from shardtools.features.class_texts import (
    ClassTexts,
    TextEncoderFacts,
    averaged,
    check_target,
    class_texts,
    write_class_texts,
)
from shardtools.pipelines.encoders.local_models import (
    is_dual,
    load_model,
    local_folder,
    model_name,
    pooled,
    weights_digest,
)

TEXTS_PER_BATCH = 32
_POOLING_FILE = "1_Pooling/config.json"
_MODULES_FILE = "modules.json"
_SENTENCE_FILE = "sentence_bert_config.json"
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
"""Files that hold a tokenizer's words; without any of them transformers makes a tokenizer that knows none."""

_NO_LIMIT = 1 << 20
"""Tokenizers that know no limit give a larger number."""


class TextEncoder:
    """Texts to features.

    Attributes:
        facts: What decides on a feature.
    """

    def __init__(self, folder: Path, model: Any, tokenizer: Any) -> None:
        """Takes a loaded network and its tokenizer.

        Args:
            folder: Where both are from.
            model: Of transformers.
            tokenizer: Likewise.

        Raises:
            OptionError: It is no encoder of texts.
        """
        self._model, self._tokenizer, self._is_dual = model, tokenizer, is_dual(model)
        self._pooling = "projection" if self._is_dual else _pooling(folder, model)
        # SigLIP has only seen texts that were filled up.
        self._padding = "max_length" if str(model.config.model_type).startswith("siglip") else True
        self._max_tokens = _max_tokens(folder, model, tokenizer)
        self.facts = TextEncoderFacts(
            name=model_name(model),
            weights_sha256=weights_digest(model),
            tokenizer_sha256=_tokenizer_digest(tokenizer),
            feature_dim=len(self._batch(["a"])[0]),
            pooling=self._pooling,
            max_tokens=self._max_tokens,
        )

    def features(self, texts: Sequence[str]) -> Float32s:
        """Features of some texts as the encoder gives them, [N, D].

        Raises:
            OptionError: A text is empty.
        """
        if not texts or not all(text.strip() for text in texts):
            raise OptionError(f"expected texts that are not empty, found {list(texts)[:3]}")
        # Alike lengths together: less padding; and a feature's last bits depend on it.
        order = sorted(range(len(texts)), key=lambda number: (len(texts[number]), texts[number]))
        found = np.empty((len(texts), self.facts.feature_dim), np.float32)
        for start in range(0, len(order), TEXTS_PER_BATCH):
            part = order[start : start + TEXTS_PER_BATCH]
            found[part] = self._batch([texts[number] for number in part])
        return found

    def count_cut(self, texts: Sequence[str]) -> int:
        """Texts with more tokens than are read."""
        tokens = self._tokenizer(list(texts), verbose=False)["input_ids"]
        return sum(len(own) > self._max_tokens for own in tokens)

    def _batch(self, texts: list[str]) -> Float32s:
        tokens = self._tokenizer(
            texts, padding=self._padding, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        with torch.inference_mode():
            if self._is_dual:
                own = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
                found = pooled(self._model.get_text_features(**own))
            else:
                mask = tokens["attention_mask"]
                found = pool_tokens(self._model(**tokens).last_hidden_state, mask, self._pooling)
        features: Float32s = found.float().numpy()
        return features


def pool_tokens(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One feature a text: the mean over its tokens, or the first one.

    Args:
        states: Last hidden states, [N, T, D].
        mask: 1 for a token, 0 for what fills up, [N, T].
        pooling: "mean" or "cls".
    """
    if pooling == "cls":
        first = mask.argmax(dim=1)  # where texts are filled up on the left it is not the first place
        return states[torch.arange(len(states)), first]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def load_text_encoder(name: str) -> TextEncoder:
    """The encoder of a local folder.

    Args:
        name: The folder, with or without "clip:" or "transformers:".

    Raises:
        OptionError: There is no such folder, files are missing, or it is no encoder of texts.
    """
    folder = local_folder(name if ":" in name else f"transformers:{name}")
    if folder is None:
        raise OptionError(f"text encoder {name!r}: expected a folder of transformers with config.json on this machine")
    check_vocabulary(folder)
    return text_encoder(folder, load_model(folder, unused=("pooler.",)))


def check_vocabulary(folder: Path) -> None:
    """Refuses a folder without a tokenizer, before its network is loaded.

    Raises:
        OptionError: There is none.
    """
    if not any((folder / path).is_file() for path in _VOCABULARIES):
        raise OptionError(f"{folder} has no tokenizer: expected tokenizer.json or a vocabulary beside the weights")


def text_encoder(folder: Path, model: Any) -> TextEncoder:
    """The encoder around a network that is loaded, with the tokenizer of its folder.

    Raises:
        OptionError: The tokenizer cannot be loaded, or it is no encoder of texts.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise OptionError(
            f"{folder} has no tokenizer that can be loaded ({first_line(error)}): expected tokenizer.json"
        ) from None
    return TextEncoder(folder, model, tokenizer)


def make_class_texts(options: ClassTextOptions) -> tuple[ClassTexts, int]:
    """Writes one feature a class out of its texts.

    Returns:
        What was written, and how many texts were longer than the encoder reads.

    Raises:
        OptionError: The encoder cannot be loaded.
        TaxonomyError: Unknown classes.
        PromptError: A template that they cannot fill.
        AlreadyExistsError: Features are there.
    """
    # Before the model is loaded, which takes longest.
    storage = check_target(options.out, replace=options.replace)
    classes, texts = class_texts(options)
    encoder = load_text_encoder(options.encoder)
    flat = [text for own in texts for text in own]
    found = ClassTexts(
        wnids=tuple(entry.wnid for entry in classes),
        class_indexes=tuple(entry.class_index for entry in classes),
        texts=tuple(texts),
        features=averaged(encoder.features(flat), len(options.prompt_templates)),
        encoder=encoder.facts,
        settings={
            "classes": options.classes,
            "prompts": list(options.prompt_templates),
            "lemmas": options.lemmas,
            "hypernyms": options.hypernyms,
        },
    )
    write_class_texts(storage, found)
    return found, encoder.count_cut(flat)


def _pooling(folder: Path, model: Any) -> str:
    """How a sentence encoder makes one feature of its tokens: as its folder says, else the mean."""
    if model.config.is_encoder_decoder or not hasattr(model, "get_input_embeddings") or _sees_images(model):
        raise OptionError(
            f"{folder} holds {type(model).__name__}, which is no encoder of texts: expected a dual encoder such as "
            "CLIP, or a sentence encoder such as those of sentence-transformers"
        )
    modules = _json(folder / _MODULES_FILE, [])
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise OptionError(f"{folder / _MODULES_FILE}: expected a list of modules, found something else: copy it again")
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _KNOWN_MODULES:
            raise OptionError(f"{folder} has a module {kind!r}: expected {', '.join(_KNOWN_MODULES)} only")
    fields: Any = _json(folder / _POOLING_FILE, {"pooling_mode_mean_tokens": True})
    if not isinstance(fields, dict):
        raise OptionError(f"{folder / _POOLING_FILE}: expected an object, found something else: copy the model again")
    prefix = "pooling_mode_"
    chosen = [
        name.removeprefix(prefix).removesuffix("_tokens").removesuffix("_token")
        for name in fields
        if name.startswith(prefix) and fields[name] is True
    ]
    if isinstance(fields.get("pooling_mode"), str):
        chosen = [fields["pooling_mode"]]
    if chosen not in (["mean"], ["cls"]):
        raise OptionError(
            f"{folder / _POOLING_FILE}: expected pooling by mean or cls, found {', '.join(chosen) or 'none'}"
        )
    return str(chosen[0])


def _sees_images(model: Any) -> bool:
    return model.main_input_name != "input_ids" or str(model.config.model_type).endswith("_text_model")


def _max_tokens(folder: Path, model: Any, tokenizer: Any) -> int:
    text_config = getattr(model.config, "text_config", None) or model.config
    sentences = _json(folder / _SENTENCE_FILE, {})
    said: list[Any] = [
        tokenizer.model_max_length,
        getattr(text_config, "max_position_embeddings", None),
        sentences.get("max_seq_length") if isinstance(sentences, dict) else None,
    ]
    limits = [int(limit) for limit in said if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT]
    return min(limits, default=512)


def _tokenizer_digest(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.dumps(tokenizer.get_vocab(), sort_keys=True) if backend is None else backend.to_str()
    return hashlib.sha256(content.encode()).hexdigest()


def _json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return read_json(path.read_bytes())
    except ValueError as error:
        raise OptionError(f"{path}: expected JSON, found something else ({error}): copy the model again") from None
