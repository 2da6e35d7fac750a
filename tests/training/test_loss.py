"""The chunked loss is cross-entropy, its gradients are cross-entropy's, however the rows are cut."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from pipeline.training import loss


@pytest.mark.parametrize("chunk_bytes", [1, 3 * 2 * 2 * 40, 2**20])
def test_loss_and_gradients_are_those_of_cross_entropy(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(loss, "CHUNK_BYTES", {"cpu": chunk_bytes})
    members, batch, length, width, vocabulary = 2, 3, 5, 8, 40
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, (members, batch, length), generator=generator, dtype=torch.int32)
    hidden = torch.randn(members, batch * length, width, generator=generator, requires_grad=True)
    table = torch.randn(members, vocabulary, width, generator=generator, requires_grad=True)
    weights = torch.tensor([1.0, 0.5])  # members' losses need not count alike

    found = loss.next_token_loss(hidden, table, tokens)
    (found * weights).sum().backward()
    grads = [tensor.grad.clone() for tensor in (hidden, table) if tensor.grad is not None]
    hidden.grad = table.grad = None
    logits = torch.bmm(hidden, table.mT).view(members, batch, length, vocabulary)[:, :, :-1]
    expected = torch.stack([cross_entropy(logits[e].flatten(0, 1), tokens[e, :, 1:].flatten().long()) for e in range(members)])
    (expected * weights).sum().backward()

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grads, [hidden.grad, table.grad])
