"""Keys that a server repeats in its answer must not reach the checkpoint, a report or a log."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

# Characters of the beginning of a key that may be shown: too few to be of use. Where an answer ends with them, it was
# cut inside the key; elsewhere they may be a word of their own.
LONGEST_HINT = 4
_LONGEST_WORD = 7
# Where an answer holds more of a long key than this, all that follows is hidden.
_LONGEST_CUT = 64
# The Base64 text of less than this is found in any text.
_SHORTEST_BASE64 = 8
_HTML = {'"': "&quot;", "&": "&amp;", "'": "&apos;", "<": "&lt;", ">": "&gt;"}
# What is left of a character that was cut.
_CUT = r"(?:%\w?|\\(?:u\w{0,3}|x\w?)?|&#?\w{0,5})?$"


def sent_forms(secrets: Iterable[str], headers: Mapping[str, str]) -> tuple[str, ...]:
    """`secrets` as they are, in Base64 (inside longer texts, too) and as they stand in `headers`; the longest first."""
    forms = set(secrets)
    forms |= {text for secret in forms if len(secret) >= _SHORTEST_BASE64 for text in _base64(secret)}
    forms |= {value.split()[-1] for name, value in headers.items() if name.lower().endswith("authorization")}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


@lru_cache
def without(words: str, secrets: tuple[str, ...]) -> str:
    """`words` without `secrets`, however URLs, JSON or HTML write them, and without the beginning of one, for answers
    are cut."""
    return _pattern(secrets).sub("***", words) if _hint(secrets).search(words) else words


def _base64(secret: str) -> Iterable[str]:
    """What of the Base64 text of anything with `secret` in it does not depend on what stands around it."""
    for before in range(3):
        known = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        # The characters that the neighbours share.
        inner = known[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


@lru_cache
def _hint(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """What each match of `_pattern` begins with: made and searched for in a fraction of the time."""
    begun = dict.fromkeys("".join(characters[: LONGEST_HINT + 1]) for characters in _written(secrets))
    return re.compile("|".join(begun) or r"(?!)", re.IGNORECASE)


@lru_cache
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    written = _written(secrets)
    whole = ["".join(characters) for characters in written]
    begun = [_beginning(characters, _LONGEST_WORD + 1) for characters in written]
    cut = [_beginning(characters, LONGEST_HINT + 1) + _CUT for characters in written]
    return re.compile("|".join([*whole, *begun, *cut]) or r"(?!)", re.IGNORECASE)


def _written(secrets: tuple[str, ...]) -> list[list[str]]:
    """The characters of each secret, as `_character` gives them."""
    return [[_character(character) for character in secret] for secret in secrets if secret]


def _character(character: str) -> str:
    """One character of a secret in all the ways in which it can be written."""
    code = ord(character)
    named = [_HTML[character]] if character in _HTML else []
    ways = [character, f"%{code:02x}", f"u{code:04x}", f"x{code:02x}", *named]
    # Backslashes double each time that a text is quoted.
    return rf"\\*(?:{'|'.join(map(re.escape, ways))}|&#0*{code};|&#x0*{code:x};)"


def _beginning(characters: list[str], least: int) -> str:
    """At least so many of the first characters of a secret, or all."""
    rest = r"\S*" if len(characters) > _LONGEST_CUT else ""
    for character in reversed(characters[least:_LONGEST_CUT]):
        rest = f"(?:{character}{rest})?"
    return "".join(characters[:least]) + rest
