"""Online Class Means: class prototypes from a queue of embeddings, with nothing learned in the head.

Owns the queue, the averaged network that fills it, and the order of a step (thesis, section 4.3; the places where the
text is silent follow the released code, see the class). Prototypes are made once a write, not once a forward pass, so
the head costs a step what cosine softmax costs; the price of the method itself is one more forward pass of the averaged
network over a global crop of each image.
"""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn


def cosine_logits(embeddings: torch.Tensor, directions: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cosines over a temperature (thesis, equations 4.1 and 4.2), in float32 under autocast too.

    A bfloat16 of about 10, the largest logit at a temperature of 0.1, is a multiple of 1/16: too coarse for a loss.

    Args:
        embeddings: [N, D], of any length.
        directions: float32 [C, D], of length 1 (or 0, which makes a logit of 0).
        temperature: Above 0.

    Returns:
        float32 [N, C], each within +-1 / temperature.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        return functional.linear(functional.normalize(embeddings.float(), dim=1), directions) / temperature


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in the order of ranks, [N, ...] to [world size * N, ...]; without a run, the rows.

    Every process must bring the same number.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    gathered = rows.new_empty(dist.get_world_size(), *rows.shape)
    dist.all_gather(list(gathered.unbind()), rows.contiguous())
    return gathered.flatten(0, 1)


class OnlineClassMeans(nn.Module):
    """The head of Online Class Means, with its memory.

    A step is: `forward` with the memory as it is and the backward pass, then `update` with the first global crop of
    each image of the batch. Called after the optimiser's step the average takes in the new weights; before it, as in
    the released code, those that made the logits. The memory is first in, first out; of a batch that reaches past its
    end the rest is dropped, and the next batch starts at the front. It starts with Gaussian vectors of random classes.

    Everything a resumed run needs is in the state: memory, labels, position, prototypes and the averaged network. With
    several processes each holds the same memory, so there is no need for DDP to broadcast buffers.

    Attributes:
        average: Encoder, then projector: an exponential moving average of the parameters of those that are trained.
            Its batch norms work on the batch at hand (it stays in training mode) and their buffers are its own.
        memory: float32 [M, D], embeddings as they were written.
        memory_labels: int64 [M], 0 to C - 1.
        position: int64 scalar, where the next batch goes, 0 to M - 1.
        prototypes: float32 [C, D], the sum of a class's embeddings in the memory at length 1; zeros for a class of
            which there is none.
    """

    memory: torch.Tensor
    memory_labels: torch.Tensor
    position: torch.Tensor
    prototypes: torch.Tensor

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        *,
        dim: int,
        num_classes: int,
        memory_size: int = 8192,
        momentum: float = 0.999,
        temperature: float = 0.1,
        normalized: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        """Copies the network and fills the memory.

        Args:
            encoder: What is trained, [N, 3, H, W] to features; copied.
            projector: Features to [N, `dim`]; copied. It must not normalise its output where `normalized` is false.
            dim: Dimensions of an embedding, D.
            num_classes: C.
            memory_size: Embeddings in the memory, M.
            momentum: Share of the average that stays in a step, 0 to 1.
            temperature: Of the logits, above 0.
            normalized: Whether embeddings are stored at length 1 (the text of the thesis) or as the projector makes
                them (its released code), so that long ones weigh more in a prototype.
            generator: Of the first memory, on the CPU; torch's own if `None`.
        """
        super().__init__()
        self.num_classes, self.momentum, self.temperature = num_classes, momentum, temperature
        self.normalized = normalized
        self.average = nn.Sequential(copy.deepcopy(encoder), copy.deepcopy(projector)).requires_grad_(False)
        self._position: int | None = 0
        self.register_buffer("memory", self._stored(torch.randn(memory_size, dim, generator=generator)))
        self.register_buffer("memory_labels", torch.randint(num_classes, (memory_size,), generator=generator))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("prototypes", torch.zeros(num_classes, dim))
        self._refresh()

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits from the memory as it is: `[N, D]`, of any length, to float32 `[N, C]`; see `cosine_logits`."""
        return cosine_logits(embeddings, self.prototypes, self.temperature)

    def update(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Moves the average, then embeds images with it and writes them to the memory: once an optimiser step.

        Args:
            model: The trained network, with `encoder` and `projector` of the kind given at first.
            images: See `remember`.
            labels: Likewise.
        """
        self.update_average(model.get_submodule("encoder"), model.get_submodule("projector"))
        self.remember(images, labels)

    @torch.no_grad()
    def update_average(self, encoder: nn.Module, projector: nn.Module) -> None:
        """Moves the average towards the trained parameters by a share of 1 - `momentum`; buffers stay as they are.

        Args:
            encoder: As given at first.
            projector: Likewise.
        """
        trained: list[torch.Tensor | nn.Parameter] = [*encoder.parameters(), *projector.parameters()]
        get_ema_multi_avg_fn(self.momentum)(tuple(self.average.parameters()), tuple(trained), 0)

    @torch.no_grad()
    def remember(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Embeds images with the averaged network and writes them to the memory, those of all processes by rank.

        Args:
            images: float [N, 3, H, W], the first global crop of each image of this process; N alike in all processes.
            labels: int64 [N], 0 to C - 1.
        """
        self.write(gather_rows(self.average(images).float()), gather_rows(labels))

    @torch.no_grad()
    def write(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Puts embeddings, float32 `[N, D]`, with labels, int64 `[N]`, at the position; what passes the end is dropped.

        The position is then behind them, or at the front once the end is reached.
        """
        size = len(self.memory)
        # Reading a tensor on a GPU waits for all that is under way: once after a start or a checkpoint is enough.
        start = int(self.position) if self._position is None else self._position
        stop = min(start + len(labels), size)
        self.memory[start:stop] = self._stored(embeddings[: stop - start])
        self.memory_labels[start:stop] = labels[: stop - start]
        self._position = stop % size
        self.position.fill_(self._position)
        self._refresh()

    def train(self, mode: bool = True) -> OnlineClassMeans:
        """As any module, but the averaged network stays in training mode: its running statistics are nobody's."""
        super().train(mode)
        self.average.train()
        return self

    def extra_repr(self) -> str:
        size, dim = self.memory.shape
        return f"num_classes={self.num_classes}, memory={size}x{dim}, normalized={self.normalized}"

    def _stored(self, embeddings: torch.Tensor) -> torch.Tensor:
        return functional.normalize(embeddings, dim=1) if self.normalized else embeddings

    @torch.no_grad()
    def _refresh(self) -> None:
        """Makes the prototypes anew: a sum kept up to date by differences would drift from what the memory holds."""
        sums = torch.zeros_like(self.prototypes).index_add_(0, self.memory_labels, self.memory)
        # In place: a forward pass that is yet to go backward through the old ones fails instead of going wrong.
        self.prototypes.copy_(functional.normalize(sums, dim=1))

    def _load_from_state_dict(self, *arguments: object, **options: object) -> None:
        # The state brings a position of its own, which the next write reads.
        super()._load_from_state_dict(*arguments, **options)
        self._position = None
