"""The rate that a provider bears where it publishes none: found by going faster until it refuses, as TCP does.

Additive increase, multiplicative decrease. What was taken since the last refusal, divided by that time with the wait
that the provider asks for, is what it bears. From there the rate grows by the same step each second until the next one.
"""

from __future__ import annotations

# Fewer requests than these say nothing: somebody else may have used up what the provider allows.
ENOUGH = 20
# The step, as a share of the rate that was borne.
GROWTH = 0.01


class FoundRate:
    """`rate`: requests a second that may leave; None, for any number, until enough were taken and one was refused."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self.borne: float | None = None
        self._taken = 0
        self._since: float | None = None

    def leaves(self, now: float) -> None:
        """A request leaves."""
        if self._since is None:
            self._since = now

    def taken(self) -> None:
        """A request was taken."""
        self._taken += 1
        if self.rate is not None and self.borne is not None:
            # That many a second are taken, so that all together are a step.
            self.rate += self.borne * GROWTH / self.rate

    def refused(self, now: float, wait: float) -> None:
        """A request was refused for load; the next one leaves in `wait` seconds."""
        if self._since is not None and self._taken >= ENOUGH:
            self.borne = self._taken / (now - self._since + wait)
            self.rate = self.borne
        elif self.rate is not None:
            self.rate /= 2
        self._taken, self._since = 0, now + wait
