"""Keys that a server repeats in its answer must not reach the checkpoint, a report or a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

# Characters of a key that may be shown where an answer was cut inside it: too few to be of use.
LONGEST_HINT = 4


def sent_forms(secrets: Iterable[str], headers: Mapping[str, str]) -> list[str]:
    """`secrets` in all the forms in which they leave (as they are, in a path, in `headers`), the longest first."""
    known = set(secrets)
    in_paths = {quote(secret, safe="") for secret in known}
    in_headers = {value.split()[-1] for name, value in headers.items() if name.lower().endswith("authorization")}
    return sorted(known | in_paths | in_headers, key=len, reverse=True)


def without(words: str, secrets: Sequence[str]) -> str:
    """`words` without `secrets`, and without the beginning of one at their end, for long answers are cut."""
    for secret in secrets:
        words = words.replace(secret, "***")
    for secret in secrets:
        for length in range(len(secret) - 1, LONGEST_HINT, -1):
            if words.endswith(secret[:length]):
                return f"{words[:-length]}***"
    return words
