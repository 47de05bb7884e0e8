"""Batch norm whose statistics are those of the whole batch, over all processes of a run.

Owns the one that also works on a CPU: torch's `SyncBatchNorm` refuses anything but a GPU. Forward and backward go
through torch's fused kernels with one small collective each; the price is a backward that cannot be differentiated
again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

Model = TypeVar("Model", bound=nn.Module)


class _Normalize(torch.autograd.Function):
    """Batch norm with given statistics, whose gradient knows that all processes' samples are in them."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor,
        variance: torch.Tensor,
        count: torch.Tensor,
        eps: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(images, weight, mean, variance, count)
        ctx.eps = eps
        return functional.batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight, mean, variance, count = ctx.saved_tensors
        # As if the statistics were constants. The other two are the sums that the rest of the gradient needs, and
        # stay this process's own as gradients of weight and bias: those are averaged with all other gradients.
        through, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, images, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias])
        dist.all_reduce(sums)
        scale = torch.rsqrt(variance + ctx.eps) / count
        if weight is not None:
            scale = scale * weight
        slope, shift = (-scale * sums).to(mean.dtype)
        through += functional.batch_norm(images, mean, variance, slope, shift, training=False, eps=ctx.eps)
        affine = weight is not None
        return through, of_weight if affine else None, of_bias if affine else None, None, None, None, None


def _statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and variance of each channel over all processes, both `[C]`, and the number of values behind them.

    Chan, Golub and LeVeque's formula for joining groups (1979): exact for groups of any size, and without the
    cancellation of a mean of squares.
    """
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    dims = [dim for dim in range(images.dim()) if dim != 1]
    variance, mean = torch.var_mean(wide, dim=dims, correction=0)
    count = torch.full_like(mean[:1], images.numel() / images.shape[1])
    own = torch.cat([mean, variance, count])
    gathered = own.new_empty(dist.get_world_size(), own.numel())
    dist.all_gather(list(gathered.unbind()), own)
    # The same sum in every process, from the same numbers: no two have other running statistics.
    means, variances, counts = gathered.double().split([len(mean), len(mean), 1], dim=1)
    total = counts.sum()
    joint_mean = (means * counts).sum(0) / total
    joint_variance = ((variances + (means - joint_mean).square()) * counts).sum(0) / total
    return joint_mean.to(mean.dtype), joint_variance.to(mean.dtype), total.to(mean.dtype)


class SyncBatchNorm(_BatchNorm):
    """Batch norm over all processes of the run, on any device; torch's own where there is one process.

    In training every process must call it the same number of times, with its part of the batch: parts may differ in
    size. In evaluation it uses the running statistics, like any batch norm.

    Attributes:
        drop: What follows it; timm keeps a dropout and an activation inside of its batch norms.
        act: Likewise, after `drop`.
    """

    def __init__(self, num_features: int, **arguments: Any) -> None:
        super().__init__(num_features, **arguments)
        self.drop: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any number of dimensions from two on: `[N, C, ...]`."""
        if input.dim() < 2:
            raise ValueError(f"batch norm takes [N, C, ...], found {list(input.shape)}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        synchronised = self.training and dist.is_initialized() and dist.get_world_size() > 1
        output = self._synchronised(input) if synchronised else super().forward(input)
        result: torch.Tensor = self.act(self.drop(output))
        return result

    def _synchronised(self, images: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(images)
        with torch.no_grad():
            mean, variance, count = _statistics(images)
            self._track(mean, variance, count)
        normalized: torch.Tensor = _Normalize.apply(images, self.weight, self.bias, mean, variance, count, self.eps)
        return normalized

    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Moves the running statistics; the variance without bias, as torch does."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked or 1) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


def convert_sync_batch_norm(model: Model, device_type: str) -> Model:
    """The model with synchronised batch norms; parameters and buffers keep their names, and their memory.

    Args:
        model: Changed in place; no batch norm itself.
        device_type: "cuda" for torch's own, anything else for `SyncBatchNorm`.

    Returns:
        The model.
    """
    if device_type != "cuda":
        return cast(Model, _converted(model))
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    if any(hasattr(module, "act") for module in model.modules() if isinstance(module, _BatchNorm)):
        from timm.layers.norm_act import convert_sync_batchnorm as convert  # the norms are timm's, and hold activations
    return cast(Model, convert(model))


def _converted(module: nn.Module) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return module if isinstance(module, SyncBatchNorm) else _like(module)
    for name, child in module.named_children():
        setattr(module, name, _converted(child))
    return module


def _like(norm: _BatchNorm) -> SyncBatchNorm:
    """A synchronised norm around the tensors of a plain one."""
    made = SyncBatchNorm(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
        device="meta",
    )
    for name, parameter in norm.named_parameters(recurse=False):
        made.register_parameter(name, parameter)
    for name, buffer in norm.named_buffers(recurse=False):
        made.register_buffer(name, buffer)
    for name in ("drop", "act"):
        if isinstance(getattr(norm, name, None), nn.Module):
            setattr(made, name, getattr(norm, name))
    return made.train(norm.training)
