"""Tiny random encoders of texts on disk: real classes of transformers, real files, a vocabulary of a few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

WORDS = ("a", "photo", "of", "red", "blue", "shoe", "shirt", "fish", "tench", ",", "-", "the")
SIDE = 16
DIM = 8
MAX_TOKENS = 12
PREPROCESSING: dict[str, Any] = {
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "rescale_factor": 1 / 255,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
}


def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "[CLS]", *WORDS, "[SEP]"))}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    found = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[PAD]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        model_max_length=MAX_TOKENS,
    )
    found.save_pretrained(str(folder))
    return found


_TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_VISION = {**_TOWER, "image_size": SIDE, "patch_size": 8}
_TEXT = {
    **_TOWER,
    "vocab_size": len(WORDS) + 4,
    "max_position_embeddings": MAX_TOKENS,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": len(WORDS) + 3,
}


def clip(folder: Path, seed: int = 0, preprocessing: dict[str, Any] | None = None) -> str:
    """A dual encoder of 8 dimensions that sees 16 x 16 pixels."""
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=DIM))
    for parameter in model.parameters():
        # As drawn they are so small that all images look alike.
        parameter.data.normal_(std=0.3)
    model.save_pretrained(str(folder))
    tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing or PREPROCESSING))
    return str(folder)


def siglip(folder: Path) -> str:
    """One whose images are squeezed into a square, and whose texts are filled up."""
    torch.manual_seed(1)
    SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION)).save_pretrained(str(folder))
    tokenizer(folder)
    square = {**PREPROCESSING, "size": {"height": SIDE, "width": SIDE}, "resample": 2}
    del square["do_center_crop"], square["crop_size"]
    (folder / "preprocessor_config.json").write_text(json.dumps(square))
    return str(folder)


def sentences(folder: Path) -> str:
    """An encoder of texts alone, of 16 dimensions."""
    torch.manual_seed(2)
    BertModel(BertConfig(**_TEXT)).save_pretrained(str(folder))
    tokenizer(folder)
    return str(folder)
