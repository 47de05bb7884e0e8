"""A dual encoder as a classifier: an image is the class whose texts are nearest to it.

Logits are the cosines between an image and each class's mean text, times the model's own scale, plus its bias where it
has one (Radford et al.: "Learning transferable visual models from natural language supervision", 2021, section 3.1;
several templates are averaged as in section 3.1.4, each text at length 1). Owns that the texts are part of the model:
they are in its digest. The price: other templates are another model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from shardtools.errors import OptionError
from shardtools.evaluation import ModelOptions
from shardtools.features import ClassTextOptions
from shardtools.features.class_texts import averaged, class_texts
from shardtools.pipelines.encoders.local_models import ImageTower, load_dual_encoder, model_name, weights_digest
from shardtools.pipelines.evaluate.models.classes import IMAGENET
from shardtools.pipelines.evaluate.models.opened import Opened
from shardtools.pipelines.features.texts import check_vocabulary, text_encoder


class ZeroShot(nn.Module):
    """Images [N, 3, H, W] to logits [N, C].

    Attributes:
        texts: float32 [C, D], of length 1.
        scale: Of the cosines, above 0.
        bias: What is added to all of them.
    """

    texts: torch.Tensor

    def __init__(self, tower: nn.Module, texts: torch.Tensor, scale: float, bias: float) -> None:
        super().__init__()
        self.tower, self.scale, self.bias = tower, scale, bias
        self.register_buffer("texts", texts)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.tower(images)
        # In float32 under autocast too: a scale of 100 makes the last bits of a cosine differences of logits.
        with torch.autocast(images.device.type, enabled=False):
            return self.scale * functional.linear(functional.normalize(features.float(), dim=1), self.texts) + self.bias


def open_zero_shot(options: ModelOptions, folder: Path) -> Opened:
    """The classifier of a dual encoder's folder and of class texts.

    Args:
        options: With the templates and the classes.
        folder: Of transformers.

    Raises:
        OptionError: It is no dual encoder, or a text is longer than it reads.
        PromptError: A template that the classes cannot fill.
        TaxonomyError: Unknown classes.
    """
    if options.weights is not None or options.pretrained:
        raise OptionError(f"model {options.model!r} brings its weights: leave --weights and --pretrained out")
    wanted = ClassTextOptions(
        classes=options.classes or IMAGENET,
        encoder=options.model,
        out="",
        prompt_templates=options.prompt_templates,
        lemmas=options.lemmas,
        hypernyms=options.hypernyms,
    )
    # Before the network is loaded: a template that cannot be filled costs nothing.
    classes, texts = class_texts(wanted)
    check_vocabulary(folder)
    model, preprocessing = load_dual_encoder(folder)
    digest = weights_digest(model)
    encoder = text_encoder(folder, model)
    flat = [text for own in texts for text in own]
    if cut := encoder.count_cut(flat):
        raise OptionError(
            f"{cut} of {len(flat)} class texts are longer than the {encoder.facts.max_tokens} tokens that {folder} "
            "reads: give a shorter --prompt, or --lemmas first"
        )
    features = averaged(encoder.features(flat), len(options.prompt_templates))
    content = json.dumps([digest, encoder.facts.tokenizer_sha256, [list(own) for own in texts]])
    return Opened(
        name=model_name(model).replace("transformers:", "clip:"),
        network=ZeroShot(ImageTower(model), torch.from_numpy(features), _scale(model), _bias(model)),
        num_outputs=len(classes),
        classes=tuple(entry.wnid for entry in classes),
        preprocessing=preprocessing,
        weights_sha256=hashlib.sha256(content.encode()).hexdigest(),
    )


def _scale(model: Any) -> float:
    found = getattr(model, "logit_scale", None)
    if found is None:
        raise OptionError(f"{type(model).__name__} has no logit_scale: expected a dual encoder such as CLIP or SigLIP")
    return float(found.detach().exp())


def _bias(model: Any) -> float:
    found = getattr(model, "logit_bias", None)
    return 0.0 if found is None else float(found.detach())
