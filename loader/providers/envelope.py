"""The body of a request from the events of a chunk: what stands around them, and the users before theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Envelope:
    """What stands around the events of a request: `before`, the events with commas between them, `after`.

    Where a user stands once in a body, with all its events, `user` is the text before the user, that between the user
    and its events, and that after them.
    """

    before: str = ""
    after: str = ""
    user: tuple[str, str, str] | None = None

    def __len__(self) -> int:
        """Bytes of a body around its events and users; a comma between two events comes on top."""
        return len(f"{self.before}{self.after}".encode())

    @property
    def user_bytes(self) -> int:
        """Bytes around the events of one user, the user's own JSON text apart."""
        return len("".join(self.user or ()).encode())

    def bodies(self, events: pl.DataFrame) -> pl.DataFrame:
        """`chunk` and `body` (Binary) of events with the columns `chunk`, `user` and `event` (JSON texts, String).

        The events of a chunk, and those of a user inside it, stand together. Same input, same bytes.
        """
        if self.user is None:
            joined = _joined(events.lazy().select("chunk", text="event"), ",")
            body = pl.concat_str(pl.lit(self.before), "text", pl.lit(self.after))
        else:
            # With all that stands around it, so that the bytes of an event are copied twice and not four times.
            opening, middle, closing = self.user
            first, last, nothing = _changes("chunk", 1), _changes("chunk", -1), pl.lit("")
            opens = first | _changes("user", 1)
            text = pl.concat_str(
                pl.when(first)
                .then(pl.lit(self.before + opening))
                .when(opens)
                .then(pl.lit(f"{closing},{opening}"))
                .otherwise(pl.lit(",")),
                pl.when(opens).then("user").otherwise(nothing),
                pl.when(opens).then(pl.lit(middle)).otherwise(nothing),
                "event",
                pl.when(last).then(pl.lit(closing + self.after)).otherwise(nothing),
            )
            joined, body = _joined(events.lazy().select("chunk", text=text), ""), pl.col("text")
        return joined.select("chunk", body=body.cast(pl.Binary)).collect(engine="in-memory")

    def body(self, users: Sequence[str | None], events: Sequence[str]) -> bytes:
        """The body of one request."""
        columns = {"user": pl.Series(users, dtype=pl.String), "event": pl.Series(events, dtype=pl.String)}
        found: bytes = self.bodies(pl.DataFrame(columns).with_columns(chunk=pl.lit(1))).item(0, "body")
        return found


def _changes(column: str, back: int) -> pl.Expr:
    """Whether the row `back` rows before (below 0: behind) has another value in `column`, or there is none."""
    end = 0 if back > 0 else pl.len() - 1
    return pl.col(column).ne_missing(pl.col(column).shift(back)) | (pl.int_range(pl.len()) == end)


def _joined(texts: pl.LazyFrame, between: str) -> pl.LazyFrame:
    """The `text`s of each `chunk` in one, with `between` between them."""
    return texts.group_by("chunk", maintain_order=True).agg(pl.col("text").str.join(between))
