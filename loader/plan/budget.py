"""`--max-rejected`: how many rejections a run may have before it stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loader.errors import TooManyRejections, UsageError


@dataclass(frozen=True)
class MaxRejected:
    """At most `count` rejections, or at most `percent` of the rows read."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> MaxRejected:
        """From `100` or `2.5%`. Raises UsageError."""
        try:
            if text.endswith("%"):
                percent = float(text[:-1])
                if 0 <= percent <= 100:
                    return cls(percent=percent)
            elif int(text) >= 0:
                return cls(count=int(text))
        except ValueError:
            pass
        raise UsageError(f"--max-rejected takes a number such as 100, or a share of the rows such as 2%, not '{text}'")

    def check(self, rejected: int, rows: int, reasons: Mapping[str, int] | None = None) -> None:
        """Raises TooManyRejections where `rejected` of `rows` is more than allowed."""
        most = self.count if self.count is not None else rows * (self.percent or 0) / 100
        if rejected <= most:
            return
        allowed = f"{self.count:,}" if self.count is not None else f"{self.percent:g} % of {rows:,} rows"
        listed = "".join(f"\n  {count:,} × {reason}" for reason, count in (reasons or {}).items())
        raise TooManyRejections(f"{rejected:,} rejections are more than --max-rejected allows ({allowed}){listed}")
