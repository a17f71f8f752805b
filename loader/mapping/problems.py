"""What pydantic finds, in the words of the mapping file: each problem at its place, none of pydantic's own jargon."""

from __future__ import annotations

import copy
import difflib
import typing
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from loader.mapping.document import Document, Node, Place, kind_of

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "names with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "none_required": "nothing",
}


def validate(
    model: type[Model], data: object, document: Document, path: Place = (), extra: Collection[str] = ()
) -> Model | None:
    """The model of the `data` at `path`; every problem goes to `document`.

    Where there are problems, what is left without the wrong parts is returned if that is a model still, so that the
    rest can be checked as well. `extra`: keys that may stand here beside those of the model.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        _report(error, model, document, path, extra)
        return _without_wrong_parts(model, data, error)


def _without_wrong_parts(model: type[Model], data: object, error: ValidationError) -> Model | None:
    data = copy.deepcopy(data)
    for _ in range(5):
        for detail in error.errors(include_url=False):
            if not _cut(data, detail["loc"]):
                return None
        try:
            return model.model_validate(data)
        except ValidationError as again:
            error = again
    return None


def _cut(data: Any, loc: Place) -> bool:
    """Take out the innermost member of `data` that lies on `loc`; False where there is none."""
    holder, key = None, None
    for part in loc:
        if isinstance(data, dict) and part in data:
            holder, key, data = data, part, data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
    if holder is not None and key in holder:
        del holder[key]
    return holder is not None


def _report(
    error: ValidationError, model: type[BaseModel], document: Document, path: Place, extra: Collection[str]
) -> None:
    expected: dict[int, tuple[Node, list[str]]] = {}
    told: set[int] = set()
    for detail in error.errors(include_url=False, include_input=False):
        loc, kind = (*path, *detail["loc"]), detail["type"]
        if kind == "extra_forbidden":
            known = [*_keys(model, detail["loc"]), *extra]
            document.problem(document.find_key(loc), unknown_key(str(loc[-1]), known))
        elif kind == "missing":
            document.problem(document.find(loc[:-1]), f"'{loc[-1]}' is missing")
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            _report_tag(model, document, loc)
        elif kind in _EXPECTED:
            node = document.find(loc)
            words = expected.setdefault(id(node), (node, []))[1]
            if _EXPECTED[kind] not in words:
                words.append(_EXPECTED[kind])
        else:
            node = document.find(loc)
            told.add(id(node))
            document.problem(node, _words(detail))
    for node, words in expected.values():
        # A choice of types says both what it is not and what is wrong with it as one of them; the latter says more.
        if id(node) not in told:
            document.problem(node, f"expected {' or '.join(words)}, found {kind_of(node)}")


def _report_tag(model: type[BaseModel], document: Document, loc: Place) -> None:
    """A block whose `type` does not say what it is."""
    field = model.model_fields[str(loc[-1])]
    tags = [typing.get_args(one.model_fields["type"].annotation)[0] for one in _models(field.annotation)]
    node, known = document.find(loc), ", ".join(tags)
    given = node.get("type")
    if given is None:
        document.problem(node, f"'type' is missing; one of {known}")
        return
    close = difflib.get_close_matches(given.text, tags, 1, 0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"the types are {known}"
    document.problem(given, f"no {loc[-1]} of type '{given.text}'; {hint}")


def unknown_key(key: str, known: Collection[str]) -> str:
    """What to say about a key that nobody knows."""
    close = difflib.get_close_matches(key, known, 1, 0.6)
    return f"unknown key '{key}'; " + (f"did you mean '{close[0]}'?" if close else "the keys are " + ", ".join(known))


def _words(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"expected {context['expected']}".replace("'", "")
        case "greater_than_equal":
            return f"expected at least {context['ge']}"
        case "greater_than":
            return f"expected more than {context['gt']:g}"
        case "less_than_equal":
            return f"expected at most {context['le']}"
        case "too_short":
            return "expected at least one"
        case "string_too_short":
            return (
                "expected text, found none"
                if context["min_length"] == 1
                else f"expected at least {context['min_length']} characters"
            )
        case "string_too_long":
            return f"expected at most {context['max_length']} character{'s' if context['max_length'] > 1 else ''}"
        case "string_pattern_mismatch":
            return _PATTERNS.get(context["pattern"], f"expected text of the form {context['pattern']}")
    return detail["msg"][0].lower() + detail["msg"][1:]


_PATTERNS = {
    r"^https?://\S+$": "expected an address that starts with https:// or http://",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": "expected at most 64 letters, digits, '_', '.' and '-', "
    "the first a letter or digit",
}


def _keys(model: type[BaseModel], loc: Place) -> list[str]:
    """The keys of the block in which `loc` ends."""
    for at, part in enumerate(loc[:-1]):
        fields = {f.alias or name: f.annotation for name, f in model.model_fields.items()}
        if part in fields:
            blocks = list(_models(fields[part]))
        elif model.model_config.get("extra") == "allow":
            blocks = list(_models(typing.get_type_hints(model, include_extras=True)["__pydantic_extra__"]))
        else:
            continue
        tag = loc[at + 1]
        tagged = [
            b for b in blocks if "type" in b.model_fields and tag in typing.get_args(b.model_fields["type"].annotation)
        ]
        model = next(iter(tagged or blocks), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation mentions, in order."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
