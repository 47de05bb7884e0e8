"""What each kind of model gives of itself, before options and protocols have their say."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from shardtools.pipelines.encoders.local_models import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A network as its source gives it.

    Attributes:
        name: In the facts.
        network: Images [N, 3, H, W] to logits [N, C].
        num_outputs: C.
        classes: Wnids of the outputs; `None` where the source does not know.
        preprocessing: Its own.
        weights_sha256: Digest; `None` has it made of the network.
    """

    name: str
    network: nn.Module
    num_outputs: int
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing
    weights_sha256: str | None = None
