"""Batches out of a stream of Arrow's C interface, one at a time.

polars reads such a stream, but keeps Python's lock while it waits for rows: no other thread and no signal comes
through. A call by ctypes lets go of it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import polars as pl


class StreamError(Exception):
    """What the stream says of its failure."""


class _Stream(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("schema", "next", "error", "release", "private")]


_NEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_ERROR = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class _Batch:
    """A batch as polars takes it."""

    def __init__(self, schema: Any, array: Any) -> None:
        self._schema = schema
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        return self._schema, _capsule(self._array.address, b"arrow_array", None)


def next_batch(stream: Any) -> pl.DataFrame | None:
    """The next batch of `stream` (an ArrowArrayStreamHandle of ADBC), None at its end. Raises StreamError."""
    from adbc_driver_manager import ArrowArrayHandle  # noqa: PLC0415 - an optional part

    functions = _Stream.from_address(stream.address)
    # It frees itself what polars does not take over.
    array = ArrowArrayHandle()
    if _NEXT(functions.next)(stream.address, array.address):
        words = _ERROR(functions.error)(stream.address)
        raise StreamError((words or b"no reason is given").decode(errors="replace"))
    if not array.is_valid:
        return None
    rows = pl.from_arrow(_Batch(stream.__arrow_c_schema__(), array))
    assert isinstance(rows, pl.Series)
    return rows.struct.unnest()
