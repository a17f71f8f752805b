"""Paths of a source, relative to the mapping file."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from pydantic import SecretStr

from loader.settings import SourceSettings, SqlSettings

_EMBEDDED = re.compile(r"((?:sqlite(?:\+\w+)?|duckdb):///)(?!/|:memory:|file:|[A-Za-z]:)([^?]+)(.*)", re.DOTALL)


def resolve_source(source: SourceSettings, folder: Path) -> SourceSettings:
    """`source` with absolute paths: files, SQLite and DuckDB databases relative to `folder`; other URLs as they are."""
    if isinstance(source, SqlSettings):
        match = _EMBEDDED.fullmatch(source.url.get_secret_value())
        if match is None:
            return source
        return source.model_copy(update={"url": SecretStr(match[1] + os.path.normpath(folder / match[2]) + match[3])})
    return source.model_copy(update={"path": [_absolute(path, folder) for path in source.path]})


def _absolute(path: str, folder: Path) -> str:
    if "://" in path or Path(path).is_absolute():
        return path
    # A folder with a bracket in its name is no pattern.
    base = Path(glob.escape(str(folder))) if glob.has_magic(path) else folder
    return os.path.normpath(base / path)
