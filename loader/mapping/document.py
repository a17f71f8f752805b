"""The tree of a mapping file: every key and value with its place, so that each problem can say where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from loader.errors import MappingError, Problem

# The core schema of YAML 1.2: `NO`, `on` and `yes` are text.
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

Place = tuple[str | int, ...]


@dataclass(eq=False)
class Node:
    """A part of the file. `line` and `column` count from 1; `start` and `end` are offsets in the text.

    `members`: key → (key node, value node). `size`: nodes in it, aliases counted in full.
    """

    kind: Literal["scalar", "map", "list"]
    line: int
    column: int
    start: int
    end: int
    text: str = ""
    plain: bool = False
    tag: str | None = None
    members: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    size: int = 1
    stand_in: bool = False
    # A variable in it has no value: reported once, and what follows from it is not.
    unresolved: bool = False

    def get(self, key: str) -> Node | None:
        """The value of `key` in a map."""
        return self.members[key][1] if key in self.members else None

    def plain_data(self) -> Any:
        """Text, numbers, booleans, None, lists and dicts with text keys (as they are written)."""
        if self.kind == "map":
            return {key: value.plain_data() for key, (_, value) in self.members.items()}
        if self.kind == "list":
            return [item.plain_data() for item in self.items]
        return _scalar(self)


def key_of(node: Node) -> str:
    """Keys are text as it is written; only a boolean has one spelling."""
    if node.plain and (_TRUE.fullmatch(node.text) or _FALSE.fullmatch(node.text)):
        return node.text.lower()
    return node.text


def _scalar(node: Node) -> Any:
    text, tag = node.text, node.tag
    if tag == "str" or (tag is None and not node.plain):
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INTEGER.fullmatch(text) and tag != "float" and len(text) <= 400:
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


class Document:
    """A mapping file's tree, and the problems found in it so far."""

    def __init__(self, file: str, text: str, root: Node) -> None:
        self.file = file
        self.text = text
        self.root = root
        self.problems: list[Problem] = []

    def problem(self, node: Node, message: str) -> None:
        """Report `message` at the start of `node`."""
        if node.unresolved:
            return
        self.problems.append(Problem(self.file, node.line, node.column, message))

    def problem_in(self, node: Node, part: str, offset: int, message: str) -> None:
        """Report `message` at `part`, which stands at `offset` of the value of a scalar; else at the scalar's start."""
        raw = self.text[node.start : node.end]
        if part and not (node.stand_in or node.unresolved) and raw.count(part) == node.text.count(part) > 0:
            at = -1
            for _ in range(node.text.count(part, 0, offset) + 1):
                at = raw.find(part, at + 1)
            before = self.text[: node.start + at]
            line = before.count("\n") + 1
            self.problems.append(Problem(self.file, line, len(before) - before.rfind("\n"), message))
        else:
            self.problem(node, message)

    def find(self, path: Iterable[str | int]) -> Node:
        """The node at `path`; parts that cannot be followed are passed over."""
        node = self.root
        for part in path:
            node = step(node, part) or node
        return node

    def find_key(self, path: Sequence[str | int]) -> Node:
        """The key node that `path` ends with, or the node at `path` where it is no key."""
        parent = self.find(path[:-1])
        member = parent.members.get(str(path[-1])) if path else None
        return self.find(path) if member is None else member[0]

    def stop(self) -> None:
        """Raise `MappingError` if there are problems."""
        if self.problems:
            raise MappingError(self.problems)


def step(node: Node, part: str | int) -> Node | None:
    """The member or item `part` of `node`, or None."""
    if node.kind == "list" and isinstance(part, int) and part < len(node.items):
        return node.items[part]
    return node.get(part) if isinstance(part, str) else None


def kind_of(node: Node) -> str:
    """What a node holds, in words."""
    if node.kind != "scalar":
        return "a list" if node.kind == "list" else "keys with values"
    value = _scalar(node)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    return "text" if isinstance(value, str) else f"the number {node.text}"
