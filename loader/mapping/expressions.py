"""SQL expressions of a mapping file → polars expressions, and what is wrong with them.

An expression must give each row its own value, whatever the other rows are and whenever it is computed: aggregates,
windows, sub-selects, the clock and whatever changes the number of rows are refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import polars as pl
from polars.exceptions import ColumnNotFoundError, PanicException, PolarsError, StructFieldNotFoundError

from loader.mapping.functions import AGGREGATES, CLOCKS, ELSEWHERE, ROW_BY_ROW, WINDOWS

# Polars' planner recurses: beyond a few thousand operators it overflows the stack and takes the process along.
MAX_LENGTH = 20_000
MAX_OPERATORS = 400

# What polars raises while it computes; a panic is a BaseException.
FAILURES = (PolarsError, PanicException, TypeError, ValueError, OverflowError)

_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<text>[eExXnN]?'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
      | (?P<word>[^\W\d]\w*)
      | (?P<number>\d[\w.]*|\.\d[\w.]*)
      | (?P<sign>::|\|\||->>|->|[<>!=]=|<>|.)""",
    re.VERBOSE | re.DOTALL,
)
_OPERATOR_WORDS = {"and", "or", "when", "not", "between", "like", "ilike", "is"}
_PARTS = {"(", ")", ",", "."}
_LITERALS = {"null", "true", "false"}


@dataclass(frozen=True)
class Finding:
    """Something wrong in an expression: `part` stands at `offset` of its text ("" and 0: the whole)."""

    message: str
    part: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    offset: int


def tokens(sql: str) -> list[Token]:
    """The words, names, texts, numbers and signs of `sql`, without blanks and comments."""
    found = (Token(str(match.lastgroup), match[0], match.start()) for match in _TOKEN.finditer(sql))
    return [token for token in found if token.kind != "blank"]


def quote(column: str) -> str:
    """A column's name as SQL: as it is where it is a plain word, else in double quotes."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", column) and column not in CLOCKS
    return column if plain else '"' + column.replace('"', '""') + '"'


def near(name: str, names: Collection[str]) -> str | None:
    """The name in `names` that is nearest to `name`, if one is near; capitals count little."""
    folded = {other.casefold(): other for other in names}
    if name.casefold() in folded:
        return folded[name.casefold()]
    found = difflib.get_close_matches(name.casefold(), folded, 1, 0.7)
    return folded[found[0]] if found else None


def parse(sql: str) -> tuple[pl.Expr | None, list[Finding]]:
    """The polars expression of `sql` (None where it cannot be), and all that can be told without columns."""
    words = tokens(sql)
    operators = sum(_is_operator(token) for token in words)
    if len(sql) > MAX_LENGTH or operators > MAX_OPERATORS:
        wide = f"{MAX_LENGTH:,} characters and {MAX_OPERATORS} operators"
        better = "a long CASE is better written as a lookup"
        return None, [Finding(f"the expression is too long; at most {wide} ({better})")]
    findings = list(_refused(words))
    if findings:
        return None, findings
    # Alone, even a word of SQL such as `user` or `order` is a column.
    alone = len(words) == 1 and words[0].kind == "word" and words[0].text.lower() not in _LITERALS
    try:
        expression = pl.sql_expr(f'"{words[0].text}"' if alone else _with_quoted_objects(sql, words))
    except FAILURES as error:
        return None, [_unparsable(sql, words, error)]
    if expression.meta.has_multiple_outputs():
        return None, [Finding("this stands for more than one column; name one (* and ^a.*$ are patterns)")]
    alias = _alias(expression)
    if alias is not None:
        offset = words[-1].offset
        hint = f"a text in single quotes, and {constant(sql)} sends it as it is"
        what = f"'{alias}' follows an expression that is complete; a column name with blanks stands in double quotes"
        return None, [Finding(f"{what}, {hint}", words[-1].text, offset)]
    if not _row_by_row(expression):
        return None, [Finding(_guessing(words) or "the value of a row would depend on other rows; that is refused")]
    return expression, []


def _with_quoted_objects(sql: str, words: list[Token]) -> str:
    """`sql` with the columns quoted whose members it takes: in `user.id` the word of SQL is a column too."""
    for token, after in reversed(list(pairwise(words))):
        if token.kind == "word" and after.text == "." and after.offset == token.offset + len(token.text):
            end = token.offset + len(token.text)
            sql = f'{sql[: token.offset]}"{token.text}"{sql[end:]}'
    return sql


def _is_operator(token: Token) -> bool:
    return (token.kind == "sign" and token.text not in _PARTS) or token.text.lower() in _OPERATOR_WORDS


def constant(sql: str) -> str:
    """How the text of an expression would be written as a constant."""
    return f"{{const: {sql.strip()}}}"


def _refused(words: list[Token]) -> Iterator[Finding]:
    """What is refused by its name."""
    if not words:
        yield Finding("the expression is empty")
    if [t.text for t in words] == ["*"]:
        yield Finding("'*' is no value; properties: \"*\" takes all columns")
    for at, token in enumerate(words):
        if token.kind != "word" or (at and words[at - 1].text == "."):
            continue
        name = token.text.lower()
        called = at + 1 < len(words) and words[at + 1].text == "("
        shown = token.text.upper()
        if name in CLOCKS and (called or name != "now"):
            what = f"{shown} takes the time of the run, so that a resend would differ"
            yield Finding(f"{what}; a column of this name stands in double quotes", token.text, token.offset)
        elif called and (name in WINDOWS or name == "over"):
            what = f"{shown} looks at other rows; an expression is computed row by row"
            yield Finding(what, token.text, token.offset)
        elif called and name in AGGREGATES:
            instead = {"max": "GREATEST", "min": "LEAST"}.get(name)
            hint = f"; {instead}(a, b) compares columns" if instead else ""
            what = f"{shown} sums up many rows; an expression is computed row by row{hint}"
            yield Finding(what, token.text, token.offset)
        elif called and name == "unnest":
            yield Finding("UNNEST changes the number of rows; that is refused", token.text, token.offset)
        elif called and name == "columns":
            yield Finding("COLUMNS takes more than one column; write one expression", token.text, token.offset)
        elif name == "select":
            what = "a SELECT inside an expression is refused; join in the source's query"
            yield Finding(what, token.text, token.offset)
        elif called and name in ROW_BY_ROW - {"pi"} and at + 2 < len(words) and words[at + 2].text == ")":
            yield Finding(f"{shown} needs at least one argument", token.text, token.offset)


def _alias(expression: pl.Expr) -> str | None:
    """The name that the expression gives its value with AS, or None."""
    name = expression.meta.output_name(raise_if_undetermined=False)
    bare = expression.meta.undo_aliases().meta.output_name(raise_if_undetermined=False)
    return name if name and name != bare else None


def _row_by_row(expression: pl.Expr) -> bool:
    try:
        return expression.meta.is_row_separable()
    except FAILURES:
        # Functions whose types are found out with the columns (such as `%`) cannot be told; the names were looked at.
        return True


def _guessing(words: list[Token]) -> str | None:
    """DATE, TIME and TIMESTAMP of a text alone guess its format from the whole frame."""
    for token in words:
        if token.text.lower() in ("date", "time", "timestamp", "datetime"):
            what = f"{token.text.upper()} without a format guesses it from other rows"
            return f"{what}; give it one, or use the option as: datetime"
    return None


def _unparsable(sql: str, words: list[Token], error: BaseException) -> Finding:
    said = first_line(error)
    if match := re.match(r"unsupported function '(.*)'", said):
        return _unknown_function(match[1], words, sql)
    if match := re.search(r"found unexpected token '(.*)'\)", said):
        token = next((t for t in words if t.text == match[1]), Token("", "", 0))
        if match[1] in (",", ";"):
            return Finding(f"'{match[1]}' is not expected here; write one expression", token.text, token.offset)
        return Finding(f"'{match[1]}' is not expected here{_as_text(words, sql)}", token.text, token.offset)
    if match := re.search(r"found '(.*)' clause", said):
        token = next((t for t in words if t.text.lower() == match[1].lower()), Token("", "", 0))
        return _reserved(token, words, sql)
    if said.startswith("unable to parse"):
        return Finding(f"this is not a complete SQL expression: {_short(sql)}")
    if match := re.match(r"no function matches the given name and arguments: `(.*)`", said):
        return Finding(f"these are not the arguments that the function takes: {match[1]}")
    if match := re.search(r'Placeholder\("(.*?)"\)', said):
        return Finding(f"'{match[1]}' is no value; only a source's query takes parameters")
    if match := re.match(r'datatype "(.*)" is not', said):
        return Finding(f"no SQL type {match[1]}; such as VARCHAR, BIGINT, DOUBLE, DECIMAL(20, 2), BOOLEAN, DATE")
    if "Unterminated" in said or "close delimiter" in said:
        return Finding(f"a quote is opened and never closed: {_short(sql)}")
    return Finding(f"polars does not take this expression: {said}")


def _as_text(words: list[Token], sql: str) -> str:
    """A hint for a text that was meant as it is."""
    return f"; to send this text itself write {constant(sql)}" if all(t.kind == "word" for t in words) else ""


def _reserved(token: Token, words: list[Token], sql: str) -> Finding:
    what = f"{token.text.upper()} is a word of SQL; a column of this name stands in double quotes"
    return Finding(what + _as_text(words, sql), token.text, token.offset)


def _unknown_function(name: str, words: list[Token], sql: str) -> Finding:
    at = next((at for at, t in enumerate(words) if t.text.lower() == name.lower()), None)
    token = Token("", "", 0) if at is None else words[at]
    if at is not None and (at + 1 == len(words) or words[at + 1].text != "("):
        return _reserved(token, words, sql)
    if name.lower() in ELSEWHERE:
        return Finding(f"no SQL function {name}; use {ELSEWHERE[name.lower()]}", token.text, token.offset)
    close = near(name, ROW_BY_ROW)
    hint = f"; did you mean {close.upper()}?" if close else ""
    return Finding(f"no SQL function {name}{hint}", token.text, token.offset)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def first_line(error: BaseException) -> str:
    """What polars says about an error, without its plan and its advice for programmers."""
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("sql parser error: ") if lines else type(error).__name__


def unknown_columns(sql: str, expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> list[Finding]:
    """The columns of `expression` that are not among `columns`, with the nearest name."""
    words = tokens(sql)
    findings = []
    for name in dict.fromkeys(expression.meta.root_names()):
        if name in columns:
            continue
        named = (t for t in words if t.kind in ("word", "quoted") and t.text.strip('"`') == name)
        token = next(named, Token("", "", 0))
        whole = sql.strip()
        close = quote(whole) if whole in columns else None
        if close is None and (found := near(name, columns)) is not None:
            close = quote(found)
        hints = []
        if close:
            hints.append(f"did you mean {close}?")
        if len(words) == 1 and token.kind == "word":
            hints.append(f"to send this text itself write {constant(sql)}")
        elif not close:
            hints.append("the columns are " + _listed(columns))
        findings.append(Finding(f"no column '{name}'; {' '.join(_sentences(hints))}", token.text, token.offset))
    return findings


def _sentences(hints: list[str]) -> list[str]:
    return [hint[0].upper() + hint[1:] if at else hint for at, hint in enumerate(hints)]


def _listed(columns: Collection[str]) -> str:
    shown = [quote(name) for name in list(columns)[:12]]
    return ", ".join(shown) + (", …" if len(columns) > len(shown) else "") if shown else "none"


def type_of(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> tuple[pl.DataType | None, str]:
    """The type of the values of `expression` over `columns`, or None and why it cannot be computed."""
    empty = pl.DataFrame(schema=dict(columns))
    try:
        dtype = empty.lazy().select(pl.lit(1).alias(""), expression.alias("value")).collect_schema()["value"]
        nulls = pl.DataFrame({name: pl.Series(name, [None], kind) for name, kind in columns.items()})
        for frame in (empty, nulls):
            # The literal beside it has one value for each row, so that a wrong height shows.
            frame.select(pl.Series("", [0] * frame.height), expression.alias("value"))
    except FAILURES as error:
        if isinstance(error, StructFieldNotFoundError):
            return None, f"no member '{first_line(error)}' in the column"
        if isinstance(error, ColumnNotFoundError):
            return None, first_line(error).split(";")[0]
        return None, f"this cannot be computed: {first_line(error)}"
    return dtype, ""
