"""YAML 1.2 text → plain data, where each part keeps its place in the file. The only importer of ruamel.yaml.

Only the parser's events are taken from the library; the tree is built here, so that all duplicate keys are found at
once, every key and value has a position, and neither aliases nor nesting can grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from loader.errors import MappingError, Problem
from loader.mapping.document import Document, Node, key_of, kind_of
from loader.mapping.environment import expand, missing_message

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 200_000

_TAGS = {**dict.fromkeys(("str", "int", "float", "bool", "null"), "scalar"), "map": "map", "seq": "list"}


def parse(file: str, raw: bytes) -> Document:
    """The tree of a mapping file's bytes; duplicate keys and unknown tags are among its problems.

    Raises `MappingError` for what is no YAML at all.
    """

    def fail(line: int, column: int, message: str) -> MappingError:
        return MappingError([Problem(file, line, column, message)])

    if len(raw) > MAX_BYTES:
        raise fail(1, 1, f"the file has {len(raw):,} bytes; a mapping has at most {MAX_BYTES:,}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = error.start - before.rfind(b"\n")
        raise fail(before.count(b"\n") + 1, column, "the file is not UTF-8; save it as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    builder = _Builder(file, text)
    try:
        root = builder.build()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        raise fail(line, column, _readable(error)) from None
    except YAMLError:
        bad = re.search("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
        at = bad.start() if bad else 0
        line = text.count("\n", 0, at) + 1
        raise fail(line, at - text.rfind("\n", 0, at), "a control character stands here; take it out") from None
    if root is None:
        raise fail(1, 1, "the file is empty; a mapping needs at least source, event and destinations")
    document = Document(file, text, root)
    document.problems = builder.problems
    if root.kind != "map":
        document.stop()
        raise fail(root.line, root.column, f"expected keys such as 'source:' and 'event:', found {kind_of(root)}")
    return document


_WORDS = {
    "mapping values are not allowed here": "a ':' that starts a value is not expected here; quote the text, "
    "or check the indentation",
    "could not find expected ':'": "a key without ':'; write 'key: value'",
    "found unexpected end of stream": "a quote is opened and never closed",
}


def _readable(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "not YAML")
    if "'\\t'" in problem:
        return "a tab stands here; YAML is indented with blanks"
    if "cannot start any token" in problem:
        character = problem.split("'")[1]
        return f"a value cannot start with '{character}'; put it in quotes"
    if problem in _WORDS:
        return _WORDS[problem]
    if "but got '{'" in problem or "but found '{'" in problem:
        return f"{problem}; inside {{…}} a ${{NAME}} needs quotes"
    return f"this is not YAML: {problem}"


@dataclass
class _Open:
    """A list or map under construction, and the key that waits for its value."""

    node: Node
    anchor: str | None
    key: Node | None = None


class _Builder:
    """Builds the tree from the parser's events, which come one by one, so that bounds hold while they are read."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.nodes = 0

    def build(self) -> Node | None:
        documents = 0
        for event in YAML(typ="safe", pure=True).parse(self.text):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._fail(event, "a second document starts here; a mapping file holds one")
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                done = self.stack.pop()
                node = done.node
                node.end = event.end_mark.index
                node.size += sum(1 + value.size for _, value in node.members.values())
                node.size += sum(item.size for item in node.items)
                self._add(node, done.anchor)
            elif isinstance(event, AliasEvent):
                target = self.anchors.get(event.anchor)
                if target is None:
                    raise self._fail(event, f"no anchor &{event.anchor} stands complete above this *{event.anchor}")
                self._count(event, target.size)
                self._add(target, None)
            elif isinstance(event, NodeEvent):
                self._node(event)
        return self.root

    def _fail(self, event: Any, message: str) -> MappingError:
        mark = event.start_mark
        return MappingError([*self.problems, Problem(self.file, mark.line + 1, mark.column + 1, message)])

    def _node(self, event: Any) -> None:
        self._count(event, 1)
        mark = event.start_mark
        kind: Literal["scalar", "map", "list"] = "scalar"
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            kind = "map" if isinstance(event, MappingStartEvent) else "list"
        node = Node(kind, mark.line + 1, mark.column + 1, mark.index, event.end_mark.index)
        node.tag = self._tag(event, kind)
        if isinstance(event, ScalarEvent):
            node.text, node.plain = event.value, event.style is None
            self._add(node, event.anchor)
            return
        if len(self.stack) >= MAX_DEPTH:
            raise self._fail(event, f"nested more than {MAX_DEPTH} deep")
        self.stack.append(_Open(node, event.anchor))

    def _tag(self, event: Any, kind: str) -> str | None:
        if event.tag is None or event.tag == "!":
            return "str" if event.tag == "!" else None
        name = str(event.tag).removeprefix("tag:yaml.org,2002:")
        if _TAGS.get(name) == kind:
            return name
        mark, message = event.start_mark, f"unknown tag '{event.tag}'; take it out"
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, message))
        return None

    def _count(self, event: Any, size: int) -> None:
        self.nodes += size
        if self.nodes > MAX_NODES:
            raise self._fail(event, f"the file holds more than {MAX_NODES:,} values, aliases counted in full")

    def _add(self, node: Node, anchor: str | None) -> None:
        """Hang a complete node into the one above it."""
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        above = self.stack[-1]
        if above.node.kind == "list":
            above.node.items.append(node)
        elif above.key is None:
            above.key = node
        else:
            self._member(above.node, above.key, node)
            above.key = None

    def _member(self, parent: Node, key: Node, value: Node) -> None:
        if key.kind != "scalar" or not key.text:
            what = "is missing before the ':'" if key.kind == "scalar" else "is text, not a list or a map"
            message = f"a key {what}"
            self.problems.append(Problem(self.file, key.line, key.column, message))
            return
        name = key_of(key)
        if name in parent.members:
            line = parent.members[name][0].line
            message = f"duplicate key '{key.text}'; it stands on line {line} already"
            self.problems.append(Problem(self.file, key.line, key.column, message))
            return
        if value.kind == "scalar" and value.start == value.end:
            # Nothing was written: the place of nothing is its key.
            value.line, value.column = key.line, key.column
        parent.members[name] = (key, value)


def expand_environment(
    document: Document, env: Mapping[str, str], placeholders: Iterable[Node] = (), placeholder: str = ""
) -> None:
    """Put environment variables into all texts of the tree; a missing one is a problem.

    Only values are expanded, never keys, and what comes out is text whatever it looks like. In the nodes
    `placeholders` a missing variable makes the whole text `placeholder` instead.
    """
    forgiving = {id(node) for node in placeholders}
    seen: set[int] = set()
    rest = [document.root]
    while rest:
        node = rest.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        rest.extend(value for _, value in node.members.values())
        rest.extend(node.items)
        if node.kind != "scalar" or "${" not in node.text or node.stand_in:
            continue
        result = expand(node.text, env)
        node.text = result.text
        node.plain, node.tag = False, "str"
        if result.broken:
            document.problem(node, "'${' starts an environment variable such as ${NAME}; write $${ for the text itself")
        if result.missing and id(node) in forgiving:
            node.text = placeholder
        else:
            for name in dict.fromkeys(result.missing):
                document.problem(node, missing_message(name, env))
            node.unresolved = bool(result.missing)
