"""Computations that need not be done again, in this run or a later one: a decorator.

The C library wants to know the size of a result before it is computed; Python does not know it. So a call leaves two
memos: under its name, found by the inputs, the layout of the result and a random token; under the name and " data",
found by the token, the result itself."""
from __future__ import annotations

import array
import ctypes
import functools
import inspect
import json
import os
import sys
import types
import warnings
from ctypes import POINTER, byref, c_void_p
from typing import Any, Callable, Dict, Generic, Iterator, List, NamedTuple, Optional, Tuple, TypeVar, cast

from ._lib import ROW, MemoStats as _Stats, lib
from ._pack import _name, describe, function, pack, text, whole
from ._unpack import Place
from . import _types as t
from .errors import BadArgument, check, error
from .handle import Handle

_R = TypeVar("_R")  # what the function returns

DATA = " data"
_TOKEN, _LAYOUT = 16, 512  # bytes


class MemoStats(NamedTuple):
    name: str
    hits: int     #: since the arena was made, by all processes
    misses: int
    results: int  #: kept now …
    bytes: int    #: … and what they take


_KINDS: Dict[type, str] = {int: "q", float: "d"}


def _flat(name: str, value: Any) -> Iterator[Tuple[str, Any]]:
    """An argument as variables: tuples and lists one by one, but numbers of one kind together."""
    if isinstance(value, (tuple, list)):
        yield name + " is a " + type(value).__name__, len(value)
        letter = _KINDS.get(type(value[0])) if value else None
        if letter and all(type(item) is type(value[0]) for item in value):
            try:
                yield name + "[:]", array.array(letter, value)
                return
            except OverflowError:  # one of them will be named
                pass
        for i, item in enumerate(value):
            yield from _flat("%s[%d]" % (name, i), item)
    elif value is None:
        yield name + " is None", 0
    else:
        yield name, value


_LAYOUT_LABEL = _name("layout")
_LABELS = [_name("result %d" % i) for i in range(_LAYOUT // 4)]  # more than a layout has room for


def _row(label: Tuple[Any, int], address: int, count: int, code: int) -> bytes:
    return ROW.pack(label[1], address, count, code)


def _is_numpys(value: Any) -> bool:
    """A scalar of NumPy, which comes back as one: a result is the same the second time."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic) and not isinstance(value, (str, bytes))


class _Layout:
    """A token, and what the parts of a result are, in as many bytes as every other has."""

    def __init__(self) -> None:
        self.buffer = ctypes.create_string_buffer(_LAYOUT)
        self.row = _row(_LAYOUT_LABEL, ctypes.addressof(self.buffer), _LAYOUT, t.BYTE)

    @property
    def token(self) -> bytes:
        return self.buffer.raw[:_TOKEN]

    def read(self) -> Tuple[bool, List[Any]]:
        alone, parts = json.loads(self.buffer.raw[_TOKEN:].rstrip(b"\0"))
        return alone, parts

    def write(self, alone: bool, parts: List[Any]) -> bool:
        data = json.dumps([alone, parts]).encode()
        if len(data) > _LAYOUT - _TOKEN:
            return False
        self.buffer.raw = (os.urandom(_TOKEN) + data).ljust(_LAYOUT, b"\0")
        return True


class Memoized(Generic[_R]):
    """A function whose results are kept. `hits` and `misses` count this process's calls; `off = True` turns it off."""

    def __init__(self, handle: Callable[[], Handle], name: str, function: Callable[..., _R]) -> None:
        functools.update_wrapper(self, function)
        self.name, self.function = name, function
        self.hits = self.misses = 0
        self.off = False
        self._warned = False
        self._handle = handle
        self._signature = inspect.signature(function)
        self._rest = [p.name for p in self._signature.parameters.values() if p.kind is p.VAR_KEYWORD]

    def __repr__(self) -> str:
        return "<cpagent memo %r of %r: %d hits, %d misses%s>" % (self.name, self.function, self.hits, self.misses,
                                                                 ", off" if self.off else "")

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A method, whose first argument is the instance, which is an argument like any other."""
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> str:
        """Another process finds it as it finds the function: by its name."""
        return str(self.function.__qualname__)

    def __call__(self, *args: Any, **kwargs: Any) -> _R:
        if self.off:
            return self.function(*args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        table, n, keep = pack(self._inputs(bound.arguments))
        layout, m = _Layout(), c_void_p()
        cp = self._handle()._cp
        known = lib.cpa_memo_begin(cp, byref(m), text(self.name), table, n, layout.row, 1)
        if known == 1:
            found, recalled = self._recall(cp, layout)
            if found:
                self.hits += 1
                return cast(_R, recalled)
        if known < 0:
            self._warn(str(error(known)))
        try:
            result: _R = self.function(*args, **kwargs)
            self.misses += known == 1 or bool(m)
            why = self._keep_result(cp, m, known, layout, result)
        finally:
            lib.cpa_memo_drop(m)
        if why:
            self._warn(why)
        return result

    def _warn(self, why: str) -> None:
        """The program computes as if there were no memo; once it should hear of that."""
        if not self._warned:
            self._warned = True
            warnings.warn("memo %s keeps no result: %s" % (self.name, why), RuntimeWarning, stacklevel=3)

    def _keep_result(self, cp: Any, m: c_void_p, known: int, layout: _Layout, result: Any) -> str:
        """Why it is not kept: the program loses nothing by that."""
        try:
            if known == 1:
                return self._keep(cp, layout.token, result)  # it was evicted
            return self._keep_first(cp, m, layout, result) if m else ""
        except (OverflowError, BadArgument) as e:  # the type is right, but not this value
            return str(e)

    def _inputs(self, arguments: Dict[str, Any]) -> Dict[str, Any]:
        inputs: Dict[str, Any] = {}
        for name, value in arguments.items():
            if name in self._rest:  # **kwargs
                for key in sorted(value):
                    inputs.update(_flat("%s[%r]" % (name, key), value[key]))
            else:
                inputs.update(_flat(name, value))
        return inputs or {"no arguments": 0}

    def _begin_data(self, cp: Any, m: c_void_p, token: bytes, rows: List[bytes]) -> int:
        table, n, keep = pack({"token": token})
        return int(lib.cpa_memo_begin(cp, byref(m), text(self.name + DATA), table, n, b"".join(rows), len(rows)))

    def _recall(self, cp: Any, layout: _Layout) -> Tuple[bool, Any]:
        alone, parts = layout.read()
        try:
            places = [None if part is None else
                      Place("result %d" % i, part[0], part[1], None if part[2] is None else tuple(part[2]))
                      for i, part in enumerate(parts)]
        except TypeError:  # kept where NumPy was, asked for where it is not
            return False, None
        rows, m = [p.row() for p in places if p is not None], c_void_p()
        if rows and self._begin_data(cp, m, layout.token, rows) != 1:
            lib.cpa_memo_drop(m)
            return False, None
        made: Iterator[Any] = (None if p is None else p.make() for p in places)
        values = tuple(v if part is None or "scalar" not in part else v[()] for part, v in zip(parts, made))
        return True, values[0] if alone else values

    def _keep_first(self, cp: Any, m: c_void_p, layout: _Layout, result: Any) -> str:
        parts, values = self._parts(result), result if isinstance(result, tuple) else (result,)
        if not layout.write(not isinstance(result, tuple),
                            [None if p is None else (p[3], p[2], (), "scalar") if _is_numpys(v) else (p[3], p[2], p[4])
                             for p, v in zip(parts, values)]):
            return "a result of %d parts is too long" % len(parts)
        why = self._keep(cp, layout.token, result)
        if not why:
            ended, m.value = m.value, None
            rc = lib.cpa_memo_end(ended)
            why = str(error(rc)) if rc < 0 else ""
        return why

    def _parts(self, result: Any) -> List[Any]:
        values = result if isinstance(result, tuple) else (result,)
        try:
            return [None if v is None else describe("result", v) for v in values]
        except TypeError as e:
            raise TypeError("memo %s: %s returned what cannot be kept: %s" % (self.name, self.function.__qualname__, e)
                            ) from None

    def _keep(self, cp: Any, token: bytes, result: Any) -> str:
        parts, m = self._parts(result), c_void_p()
        rows = [_row(label, p[1], p[2], p[3]) for label, p in zip(_LABELS, parts) if p is not None]
        rc = self._begin_data(cp, m, token, rows) if rows else 1
        if rc == 0 and m:
            rc = lib.cpa_memo_end(m)
        return str(error(rc)) if rc < 0 else ""


def memo_of(handle: Callable[[], Handle], name: str) -> Callable[[Callable[..., _R]], Memoized[_R]]:
    """The decorator."""
    if not isinstance(name, str):
        raise TypeError("a memo has a name: @memo('name 1')")
    return lambda fn: Memoized(handle, name, function("memo()", fn))


class Memos(Handle):
    def memo(self, name: str) -> Callable[[Callable[..., _R]], Memoized[_R]]:
        """A decorator: a function's results are kept in the arena, found by its arguments' content.

            @cp.memo("spectrum 2")
            def spectrum(signal, window=64): ...

        The name carries the algorithm's version. Arguments: what checkpoint() takes, None, and tuples and lists of
        these. Results: what checkpoint() takes, None, or a tuple of these. What the function does besides is not done
        again."""
        return memo_of(lambda: self, name)

    def memo_set(self, limit: Optional[int] = None, compare: Optional[bool] = None) -> None:
        """limit: bytes that all results may take, 0: the arena's budget. compare: keep the inputs too, and compare
        them byte by byte."""
        if limit is not None:
            check(lib.cpa_memo_set(self._cp, 1, whole("limit", limit, 0, 1 << 63)))
        if compare is not None:
            check(lib.cpa_memo_set(self._cp, 2, int(compare)))

    def memo_enable(self, name: Optional[str] = None, on: bool = True) -> None:
        """Turn a name off or on in this process; without one, all."""
        check(lib.cpa_memo_enable(self._cp, None if name is None else text(name), int(on)))

    def memos(self) -> List[MemoStats]:
        """Every name, sorted."""
        stats = POINTER(_Stats)()
        n = check(lib.cpa_memo_list(self._cp, byref(stats)))
        try:
            rows = [MemoStats(s.name.decode("utf-8", "replace"), s.hits, s.misses, s.results, s.bytes)
                    for s in (stats[i] for i in range(n))]
        finally:
            lib.cpa_memo_list_free(stats)
        data = {r.name[:-len(DATA)]: r.bytes for r in rows if r.name.endswith(DATA)}
        names = {r.name for r in rows}
        return [r._replace(bytes=r.bytes + data.get(r.name, 0)) for r in rows
                if not (r.name.endswith(DATA) and r.name[:-len(DATA)] in names)]

    def memo_reset(self, name: Optional[str] = None) -> None:
        """Forget a name's results and counts; without one, all of them."""
        if name is not None:
            check(lib.cpa_memo_reset(self._cp, text(name + DATA)))
        check(lib.cpa_memo_reset(self._cp, None if name is None else text(name)))
