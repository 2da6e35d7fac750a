"""A contender stands at this gate before each batch it fetches: so every tool's own training loop is timed, unchanged, slice by slice.

The parent process says `go` for a slice of `steps` batches, and reads its seconds. All contenders stay alive and warm side by side, one
running at a time: what the machine does in between (other users, clock) meets them all.
"""

from __future__ import annotations

import json
import os
import sys
import time


class Gate:
    """Counts batches: the first `warm_up` run freely (compilation), then slices of `steps` on command."""

    def __init__(self, steps: int, warm_up: int = 5) -> None:
        self.steps, self.warm_up, self.count = steps, warm_up, 0
        self.start = self.first = time.perf_counter()
        self.out = os.fdopen(os.dup(1), "w")  # the tool's own prints go elsewhere
        os.dup2(2, 1)

    def pass_one(self) -> None:
        """Called before each batch; may wait for the parent."""
        self.count += 1
        if self.count == 1:
            self.first = time.perf_counter()
        since = self.count - 1 - self.warm_up
        if since < 0 or since % self.steps:
            return
        self._synchronise()
        now = time.perf_counter()
        self._say({"ready": now - self.first} if since == 0 else {"seconds": now - self.start})
        if sys.stdin.readline().strip() != "go":
            os._exit(0)  # from within a tool's loop: nothing of it is worth cleaning up
        self.start = time.perf_counter()

    def _say(self, message: dict[str, float]) -> None:
        print(json.dumps(message), file=self.out, flush=True)

    @staticmethod
    def _synchronise() -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
