"""Next-token loss with its gradient taken at once, a few rows of logits at a time.

Logits are the largest tensor of a small model by far (N x V against N x D). Softmax, loss and gradient of some rows are done while
these lie in cache, and logits are never kept (as in Liger Kernel, Hsu et al. 2024, arXiv 2410.10989).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = {"cpu": 2**20, "cuda": 2**28}  # of bf16 logits: half an L2 cache; on a GPU, large enough to fill it


class _Loss(torch.autograd.Function):
    """Mean loss `[E]` of hidden states `[E, N, D]` against a table `[E, V, D]`; targets `[E, N]`, below zero where there is none."""

    @staticmethod
    def forward(ctx: Any, hidden_end: Tensor, table_evd: Tensor, targets_en: Tensor, count: int, rows: int) -> Tensor:
        table = table_evd.to(hidden_end.dtype)
        words = torch.arange(table.shape[1], device=table.device)
        loss_e = torch.zeros(len(table), device=table.device)
        hidden_grads, table_grad = [], torch.zeros_like(table_evd)
        for hidden, targets in zip(hidden_end.split(rows, 1), targets_en.split(rows, 1), strict=True):
            logits = torch.bmm(hidden, table.mT).float()
            normaliser = logits.logsumexp(-1, keepdim=True)
            share = (targets >= 0).unsqueeze(-1) / count
            chosen = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1))
            loss_e = loss_e + ((normaliser - chosen) * share).sum((1, 2))
            gradient = (((logits - normaliser).exp() - (words == targets.unsqueeze(-1)).float()) * share).to(hidden.dtype)
            hidden_grads.append(torch.bmm(gradient, table))
            table_grad = table_grad + torch.bmm(gradient.mT, hidden).float()
        ctx.save_for_backward(torch.cat(hidden_grads, 1), table_grad)
        return loss_e

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, table_grad = ctx.saved_tensors
        scale = gradients[0].view(-1, 1, 1)
        return hidden_grad * scale.to(hidden_grad.dtype), table_grad * scale, None, None, None


def next_token_loss(hidden_end: Tensor, table_evd: Tensor, tokens_ebt: Tensor) -> Tensor:
    """Mean loss per member `[E]`, nats per token, of predicting each token of `[E, B, T]` from the hidden state `[E, B*T, D]` before it.

    The last token of a row predicts nothing. Products run in the precision of `hidden_end`, softmax and loss in fp32.
    """
    e, b, t = tokens_ebt.shape
    targets_ebt = torch.nn.functional.pad(tokens_ebt[:, :, 1:].long(), (0, 1), value=-1)
    rows = max(CHUNK_BYTES[hidden_end.device.type] // (2 * e * table_evd.shape[1]), 1)
    return _Loss.apply(hidden_end, table_evd, targets_ebt.view(e, b * t), b * (t - 1), rows)  # type: ignore[return-value]
