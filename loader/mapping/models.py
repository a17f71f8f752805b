"""The mapping file's language as pydantic models: what may stand where, in the words of the file."""

from __future__ import annotations

import difflib
import math
import zoneinfo
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from loader.settings import ColumnType, Settings, SourceSettings, TimeUnit

Scalar = str | bool | int | float


def check_timezone(name: str) -> str:
    """`name` if it is a time zone that polars knows. Raises ValueError with the nearest name."""
    try:
        if name and not name.startswith(("+", "-")):
            pl.select(pl.lit(None, pl.Datetime("us")).dt.replace_time_zone(name))
            return name
    except pl.exceptions.PolarsError:
        pass
    names = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    near = difflib.get_close_matches(name.lower(), names, 1, 0.6)
    hint = f"did you mean '{names[near[0]]}'?" if near else "expected a name such as Europe/Paris or UTC"
    raise ValueError(f"no time zone '{name}'; {hint}")


Timezone = Annotated[str, AfterValidator(check_timezone)]


def _scalar(value: object) -> object:
    if value is None or isinstance(value, (str, bool, int, float)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("expected a finite number")
        return value
    raise ValueError("expected text, a number or a boolean, not a list or a map")


ScalarOrNull = Annotated[Any, BeforeValidator(_scalar, json_schema_input_type=Scalar | None)]


class Value(Settings):
    """How one value is made: a SQL expression over the row's columns with options, or a constant.

    `const` or `expr`, never both. `default` was written if it is in `model_fields_set`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    const: Any = Field(None, description="A constant: text, a number, a boolean or a list, sent as it is.")
    expr: str | None = Field(None, min_length=1, description="A SQL expression over the columns of the row.")
    lookup: dict[str, ScalarOrNull] | None = Field(
        None, min_length=1, description="Replaces values, compared as text; others take the default or reject the row."
    )
    default: ScalarOrNull = Field(
        None, description="Stands in for null and for what is not in the lookup; null leaves out."
    )
    as_: ColumnType | None = Field(None, alias="as", description="The type to convert to.")
    format: str | None = Field(
        None, min_length=1, description="The strftime format of a time or a date written as text."
    )
    unit: TimeUnit | None = Field(None, description="Reads numbers as times since 1970.")
    timezone: Timezone | None = Field(None, description="The zone of times that carry none, instead of the mapping's.")
    hash: Literal["sha256"] | None = Field(
        None, description="Replaces the value by the hash (hex) of its text in UTF-8."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"expr": value}
        if isinstance(value, (bool, int, float)):
            return {"const": value}
        if value is None:
            raise ValueError("a value is missing; expected a SQL expression such as a column's name, or {const: …}")
        if isinstance(value, list):
            raise ValueError("expected one value, found a list")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Value:
        given = self.model_fields_set
        if "const" in given and "expr" in given:
            raise ValueError("expected either 'const' or 'expr', found both")
        if not given & {"const", "expr"}:
            raise ValueError("expected 'const' or 'expr'")
        if "const" in given:
            if len(given) > 1:
                options = ", ".join(sorted(name.rstrip("_") for name in given - {"const"}))
                raise ValueError(f"a constant takes no options (found {options}); write it as it shall be sent")
            _check_constant(self.const)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler.resolve_ref_schema(handler(schema))
        keys = full["properties"]
        constant: dict[str, Any] = {"type": "object", "properties": {"const": keys.pop("const")}, "required": ["const"]}
        options: dict[str, Any] = {"type": "object", "properties": dict(keys), "required": ["expr"]}
        for one in (constant, options):
            one["additionalProperties"] = False
        keys.clear()
        full.clear()
        full.update(
            description="A SQL expression over the columns of the row, a number, a boolean, {const: …} or {expr: …}.",
            anyOf=[{"type": "string", "minLength": 1}, {"type": "number"}, {"type": "boolean"}, constant, options],
        )
        return full


def _check_constant(value: object) -> None:
    if value is None:
        raise ValueError("a constant null is no value; leave the field out instead")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a finite number")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if part is not None:
            _check_constant(part)


def _list_or_value(value: object) -> str:
    return "<list>" if isinstance(value, list) else "<value>"


def _shape(value: object) -> str:
    return "<map>" if isinstance(value, dict) else "<list>" if isinstance(value, list) else "<all>"


def _all(value: object) -> object:
    if value != "*":
        raise ValueError('expected names with values, a list of columns, or "*" for all columns that are left')
    return value


FieldValue = Annotated[
    Annotated[Value, Tag("<value>")] | Annotated[list[Value], Tag("<list>")], Discriminator(_list_or_value)
]
Properties = Annotated[
    Annotated[dict[str, Value], Tag("<map>")]
    | Annotated[list[str], Tag("<list>")]
    | Annotated[Literal["*"], BeforeValidator(_all), Tag("<all>")],
    Discriminator(_shape),
]


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("nothing stands here; fill it in or take the key out")
    return value


OptionalValue = Annotated[Value | None, BeforeValidator(_not_null)]


class EventBlock(Settings):
    """`event:`, where a provider's fields stand beside the common ones; and `customer:`, without `id` and `name`."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)
    __pydantic_extra__: dict[str, FieldValue]

    id: OptionalValue = Field(None, description="This event's identity: delivered at most once per destination.")
    user: OptionalValue = Field(None, description="The provider's main id of the user.")
    ids: Annotated[dict[str, Value] | None, BeforeValidator(_not_null)] = Field(
        None, min_length=1, description="Other ids of the user, by their type."
    )
    name: OptionalValue = Field(None, description="The event's name; a fixed one is {const: purchase}.")
    time: OptionalValue = Field(None, description="When it happened: ISO 8601 text, a time, or a number with its unit.")
    properties: Annotated[Properties | None, BeforeValidator(_not_null)] = Field(
        None, description='Names with values, a list of columns, or "*" for all columns that are left.'
    )


class MappingFile(Settings):
    """A mapping file. Each destination is checked against its provider's own settings."""

    source: SourceSettings = Field(description="Where rows come from.")
    timezone: Annotated[Timezone | None, BeforeValidator(_not_null)] = Field(
        None, description="The zone of times that carry none, such as Europe/Paris."
    )
    where: Annotated[str | None, BeforeValidator(_not_null)] = Field(
        None, min_length=1, description="A SQL condition; rows that fail it are filtered."
    )
    event: EventBlock | None = Field(None, description="What a row becomes.")
    customer: EventBlock | None = Field(None, description="The profile that a row updates, instead of an event.")
    destinations: list[dict[str, Any]] = Field(min_length=1, description="Where events go.")
