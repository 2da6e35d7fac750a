"""AdamW over stacked weights, the learning-rate schedule, and clipping per member."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.config import LearningRate, Optimizer
from pipeline.training.model import EnsembleLlama


def learning_rate(schedule: LearningRate, step: int, steps: int) -> float:
    """Rate of `step` (1 … `steps`): linear warm-up, plateau, then decay over the last `lr_decay_fraction` of the steps.

    `lr_decay_fraction: 1` with `cosine` is the usual cosine schedule; with a smaller fraction it is warmup-stable-decay (Hu et al.
    2024, arXiv 2404.06395).
    """
    peak, low = schedule.learning_rate, schedule.min_decay_lr
    if step <= schedule.lr_warmup_steps:
        return peak * step / schedule.lr_warmup_steps
    decay_steps = min(round(steps * schedule.lr_decay_fraction), steps - schedule.lr_warmup_steps)
    gone = step - (steps - decay_steps)
    if decay_steps <= 0 or gone <= 0:
        return peak
    share = gone / (decay_steps + 1)  # the last step still trains
    factor = {"linear": 1 - share, "cosine": 0.5 * (1 + math.cos(math.pi * share)), "1-sqrt": 1 - math.sqrt(share)}
    return low + (peak - low) * factor[schedule.lr_decay_style]


def build(model: EnsembleLlama, config: Optimizer) -> torch.optim.AdamW:
    """Fused AdamW; weight decay on matrices and embeddings, none on norms."""
    norms = [weight for name, weight in model.named_parameters() if name == "norms"]
    others = [weight for name, weight in model.named_parameters() if name != "norms"]
    groups = [{"params": others, "weight_decay": config.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    rate = config.learning_rate_scheduler.learning_rate
    return torch.optim.AdamW(groups, lr=rate, betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_eps, fused=True)


@torch.no_grad()
def clip(model: EnsembleLlama, limit: float, alive_e: Tensor) -> Tensor:
    """Scale each member's gradient to a norm of at most `limit`, in place; returns the norms before, `[E]`.

    A member whose norm is not finite, or that is not `alive_e` (bool `[E]`), gets a gradient of zero: it cannot harm its neighbours.
    """
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]).norm(dim=0)
    healthy = torch.isfinite(norms) & alive_e
    scale = torch.where(healthy, (limit / (norms + 1e-6)).clamp(max=1.0), torch.zeros_like(norms))
    for gradient in gradients:
        shape = (-1, *[1] * (gradient.dim() - 1))
        gradient.mul_(scale.view(shape))
        if not gradient.is_cuda and not bool(healthy.all()):
            gradient[~healthy] = 0.0  # 0 x inf is not 0
        elif gradient.is_cuda:
            gradient.copy_(torch.where(healthy.view(shape), gradient, 0.0))
    return norms
