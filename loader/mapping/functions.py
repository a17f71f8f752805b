"""The functions of polars' SQL, by what they do to rows. A test proves that polars knows each of them."""

from __future__ import annotations

ROW_BY_ROW = frozenset([
    "abs", "acos", "acosd", "array_contains", "array_dot_product", "array_get", "array_inner_product",
    "array_length", "array_lower", "array_mean", "array_reverse", "array_sum", "array_to_string",
    "array_unique", "array_upper", "asin", "asind", "atan", "atan2", "atan2d", "atand", "bit_and", "bit_count",
    "bit_length", "bit_not", "bit_or", "bit_xor", "bitand", "bitcount", "bitor", "bitxor", "cbrt", "ceil",
    "ceiling", "char_length", "character_length", "coalesce", "concat", "concat_ws", "cos", "cosd", "cot",
    "cotd", "date", "date_part", "date_trunc", "datetime", "day", "dayofmonth", "dayofweek", "dayofyear",
    "degrees", "div", "ends_with", "erf", "exp", "extract", "floor", "generate_series", "greatest", "hour",
    "if", "ifnull", "initcap", "least", "left", "length", "ln", "log", "log10", "log1p", "log2", "lower",
    "lpad", "ltrim", "minute", "mod", "month", "normalize", "nullif", "octet_length", "pi", "pow", "power",
    "quarter", "radians", "range", "regexp_like", "regexp_replace", "replace", "reverse", "right", "round",
    "rpad", "rtrim", "second", "sign", "sin", "sind", "split_part", "sqrt", "starts_with", "strftime",
    "string_to_array", "strpos", "strptime", "substr", "substring", "tan", "tand", "time", "timestamp", "trim",
    "trunc", "truncate", "upper", "week", "xor", "year",
])  # fmt: skip

AGGREGATES = frozenset([
    "approx_quantile", "array_agg", "avg", "corr", "count", "covar", "covar_pop", "covar_samp", "first",
    "group_concat", "grouping", "grouping_id", "last", "max", "median", "min", "quantile_cont", "quantile_disc",
    "stddev", "stddev_samp", "stdev", "stdev_samp", "string_agg", "sum", "var", "var_samp", "variance",
])  # fmt: skip

WINDOWS = frozenset([
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank",
    "rank", "row_number",
])  # fmt: skip

# Words that give the time of the run; most of them are called without parentheses.
CLOCKS = frozenset([
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "now",
])  # fmt: skip

# Names for which SQL of other databases is often written, and what does the same here.
ELSEWHERE = {
    "date_format": "STRFTIME(x, format)",
    "format_date": "STRFTIME(x, format)",
    "to_char": "STRFTIME(x, format)",
    "to_date": "DATE(x, format), or the option as: date",
    "to_timestamp": "STRPTIME(x, format), or the option as: datetime",
    "parse_timestamp": "STRPTIME(x, format), or the option as: datetime",
    "from_unixtime": "the options as: datetime and unit: s",
    "sha256": "the option hash: sha256",
    "sha2": "the option hash: sha256",
    "md5": "the option hash: sha256",
    "split": "STRING_TO_ARRAY(x, separator)",
    "regexp_extract": "REGEXP_REPLACE(x, pattern, '$1')",
    "nvl": "COALESCE(x, y)",
    "isnull": "x IS NULL",
    "iff": "IF(condition, x, y)",
    "decode": "CASE WHEN … THEN … END, or the option lookup",
    "instr": "STRPOS(x, text)",
    "len": "LENGTH(x)",
    "safe_cast": "TRY_CAST(x AS type)",
}
