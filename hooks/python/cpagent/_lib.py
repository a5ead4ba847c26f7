"""The C library: where it lies, and its functions with their types. The rest of the package calls it through `lib`."""
from __future__ import annotations

import ctypes
import os
import struct
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint32, c_uint64,
                    c_void_p)
from typing import Any, Iterator

NAMES = ("libcpagent.so.1", "libcpagent.so")
HERE = os.path.dirname(os.path.abspath(__file__))


class Var(Structure):
    """struct cpa_var"""
    _fields_ = [("name", c_char_p), ("data", c_void_p), ("count", c_uint64), ("type", c_uint32)]


class Entry(Structure):
    """struct cpa_entry"""
    _fields_ = [("key", c_char_p), ("version", c_uint64), ("level", c_int), ("bytes", c_uint64), ("time_ns", c_int64),
                ("n", c_size_t), ("vars", POINTER(Var)), ("how", c_char_p)]


class MemoStats(Structure):
    """struct cpa_memo_stats"""
    _fields_ = [("name", c_char_p), ("hits", c_uint64), ("misses", c_uint64), ("results", c_uint64),
                ("bytes", c_uint64)]


# One struct cpa_var as bytes: a table of them is made with one join, which is far quicker than filling ctypes
# structures field by field. The 0P pads the end as C does.
ROW = struct.Struct("PPQI0P")
assert ROW.size == ctypes.sizeof(Var)

INIT_FN = CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)
RESTART_FN = CFUNCTYPE(None, c_void_p, c_int, c_void_p)

_P, _S, _T = c_void_p, c_char_p, c_char_p  # a handle, a string, a table of variables
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    # name: result, arguments
    "cpa_strerror": (_S, c_int),
    "cpa_type_name": (_S, c_int),
    "cpa_open_named": (c_int, POINTER(_P), _S, _S, c_uint64),
    "cpa_close": (None, _P),
    "cpa_checkpoint_vars": (c_int, _P, _S, c_int, _T, c_size_t),
    "cpa_restore_vars": (c_int, _P, _S, c_int, _T, c_size_t),
    "cpa_restore_version": (c_int, _P, _S, c_uint64, _T, c_size_t),
    "cpa_keep": (c_int, _P, _S, c_int),
    "cpa_wait": (c_int, _P, _S, c_int, c_double),
    "cpa_list": (c_int, _P, POINTER(POINTER(Entry))),
    "cpa_query": (c_int, _P, _S, POINTER(POINTER(Entry))),
    "cpa_list_free": (None, POINTER(Entry)),
    "cpa_reset": (c_int, _P, _S),
    "cpa_protect": (c_int, _P, _S, _P, c_uint64, c_int),
    "cpa_unprotect": (c_int, _P, _S),
    "cpa_checkpoint_protected": (c_int, _P, _S, c_int),
    "cpa_checkpoint_regions": (c_int, _P, _S, c_int, POINTER(_S), c_size_t),
    "cpa_restore_protected": (c_int, _P, _S, c_int),
    "cpa_restore_regions": (c_int, _P, _S, c_int, POINTER(_S), c_size_t),
    "cpa_tracking": (c_int, _P, _S, POINTER(_S)),
    "cpa_route_file": (c_int, _P, _S, _P, c_size_t),
    "cpa_file_done": (c_int, _P, _S, c_int),
    "cpa_restore_file": (c_int, _P, _S, c_int, _P, c_size_t),
    "cpa_memo_begin": (c_int, _P, POINTER(_P), _S, _T, c_size_t, _T, c_size_t),
    "cpa_memo_end": (c_int, _P),
    "cpa_memo_drop": (None, _P),
    "cpa_memo_set": (c_int, _P, c_int, c_uint64),
    "cpa_memo_enable": (c_int, _P, _S, c_int),
    "cpa_memo_list": (c_int, _P, POINTER(POINTER(MemoStats))),
    "cpa_memo_list_free": (None, POINTER(MemoStats)),
    "cpa_memo_reset": (c_int, _P, _S),
    "cpa_incarnation": (c_int, _P, POINTER(c_int)),
    "cpa_on_init": (c_int, _P, INIT_FN, _P),
    "cpa_on_restart": (c_int, _P, RESTART_FN, _P),
    "cpa_should_checkpoint": (c_int, _P),
    "cpa_set_due": (c_int, _P, c_double, c_double),
    "cpa_get_due": (c_double, _P),
    "cpa_snapshot": (c_int, _P, POINTER(c_uint64), c_double),
    "cpa_set_interval": (c_int, _P, c_double, c_double),
    "cpa_get_interval": (c_int, _P, POINTER(c_double), POINTER(c_double)),
    "cpa_start": (c_int, _P),
    "cpa_stop": (c_int, _P),
    "cpa_register": (c_int, _P, _S, c_double),
    "cpa_version_of": (c_int64, _P, _S, _S),
    "cpa_version_within": (c_int64, _P, _S, _S, c_double),
    "cpa_save": (c_int, _P, _S),
    "cpa_load": (c_int, _P, _S),
}


def _places() -> Iterator[str]:
    """Where the library may be: where $CPAGENT_LIB says and nowhere else, or beside the package, below the prefix
    that the package is installed under, and where the loader looks."""
    asked = os.environ.get("CPAGENT_LIB")
    if asked:
        if os.path.isdir(asked):
            yield from (os.path.join(asked, n) for n in NAMES)
        else:
            yield asked
        return
    folders = [HERE]
    prefix = HERE
    while os.path.basename(prefix) not in ("lib", ""):
        prefix = os.path.dirname(prefix)
    if os.path.basename(prefix) == "lib":
        folders.append(prefix)
    for folder in folders:
        yield from (path for path in (os.path.join(folder, n) for n in NAMES) if os.path.exists(path))
    yield from NAMES
    yield os.path.join("/usr/local/lib", NAMES[0])


def _load() -> ctypes.CDLL:
    tried = []
    for place in _places():
        try:
            return ctypes.CDLL(place)
        except OSError as e:
            tried.append("%s: %s" % (place, e))
    raise ImportError("cpagent: the library libcpagent.so.1 cannot be loaded; install it, or set CPAGENT_LIB to its "
                      "path (tried: %s)" % "; ".join(tried))


class _Library:
    """The functions, each with its types from its first use on."""

    def __init__(self) -> None:
        self._dll = _load()

    def __getattr__(self, name: str) -> Any:
        prototype = _PROTOTYPES[name]
        function = getattr(self._dll, name)
        function.restype, function.argtypes = prototype[0], prototype[1:]
        setattr(self, name, function)
        return function


lib = _Library()
