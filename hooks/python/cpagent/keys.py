"""Checkpoints of variables by key."""
from __future__ import annotations

import ctypes
import threading
import time
import warnings
from ctypes import POINTER, byref, c_int64
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import _types as t
from ._lib import ROW, Entry as _Entry, lib
from ._pack import _name, pack, text, whole
from ._unpack import Place, Shape, Target, Var, fits, shape_names
from .errors import Mismatch, NoKey, Timeout, check, error
from .handle import Handle

_RAISE: Any = object()
_VERSIONS = (1 << 63) - 1
_TURN = 1.0  # seconds
_RETRIES = 5  # while another process commits versions of other sizes


class Entry(NamedTuple):
    """A key's newest version."""
    key: str
    version: int   #: grows by one with each checkpoint of the key
    level: int     #: highest level that holds this version
    bytes: int
    time: float    #: seconds since 1970
    vars: Tuple[Var, ...]
    how: str       #: "" for variables, "whole copy" or "dirty pages" for protected regions


def _entry(e: _Entry) -> Entry:
    variables = (e.vars[i] for i in range(e.n))
    return Entry(e.key.decode("utf-8", "replace"), e.version, e.level, e.bytes, e.time_ns / 1e9,
                 tuple(Var((v.name or b"").decode("utf-8", "replace"), t.NAMES.get(v.type, "?"), v.count)
                       for v in variables), (e.how or b"").decode())


class Keys(Handle):
    def checkpoint(self, key: str, values: Optional[Mapping[str, Any]] = None, /, *, level: int = 1,
                   **variables: Any) -> None:
        """Commit the variables as the next version of key: all of them, or on an error none.

            cp.checkpoint("state", step=step, u=u)
            cp.checkpoint("state", {"level": 3, "u of t": u}, level=2)   # names that no argument can have

        int, float, bool, complex, str, bytes, NumPy arrays and scalars, array.array and other buffers of numbers.
        An array is copied from its own memory, once; one that is not C-contiguous is put together first. level > 1
        also asks for the version to be carried up to that level (see wait())."""
        if values is not None:
            variables = {**values, **variables}
        table, n, keep = pack(variables)
        rc = lib.cpa_checkpoint_vars(self._cp, text(key), level if type(level) is int else whole("level", level), table, n)
        if rc < 0:
            raise error(rc)

    def restore(self, key: str, *, level: int = 0, version: int = 0, names: Optional[Sequence[str]] = None,
                default: Any = _RAISE) -> Any:
        """The variables of key's newest version, or of those named, as a dict of new values. level: the newest that
        this level holds; version: this one of those that are kept. Without such a key: default, else NoKey."""
        return self._restore_or(default, key, whole("level", level), whole("version", version, 0, _VERSIONS), {}, names)

    def restore_into(self, key: str, values: Optional[Mapping[str, Any]] = None, /, *, level: int = 0,
                     version: int = 0, default: Any = _RAISE, **arrays: Any) -> Any:
        """Restore the arrays named in place, and return the other variables:

            rest = cp.restore_into("state", u=u, default={"step": 0})
            step = rest["step"]

        They must agree in type, count and shape: else Mismatch, and nothing was written. Without such a key: default,
        else NoKey."""
        return self._restore_or(default, key, whole("level", level), whole("version", version, 0, _VERSIONS),
                                {**(values or {}), **arrays}, None)

    def _restore_or(self, default: Any, *how: Any) -> Any:
        try:
            return self._restore(*how)
        except NoKey:
            if default is _RAISE:
                raise
            return default

    def _restore(self, key: str, level: int, version: int, into: Mapping[str, Any],
                 names: Optional[Sequence[str]]) -> Dict[str, Any]:
        for attempt in range(_RETRIES):
            try:
                entry = self.query(key)
            except NoKey:
                self._say_restores(key)
                raise
            try:
                return self._restore_as(entry, level, version, into, names)
            except Mismatch:
                if attempt == _RETRIES - 1 or self.query(key).version == entry.version:
                    raise
        raise AssertionError("not reached")

    def _say_restores(self, key: str) -> None:
        """That the program restores at its start tells that it can be started anew from its keys: so the library hears of
        it even when there is nothing yet."""
        nothing = c_int64()
        lib.cpa_restore_vars(self._cp, text(key), 0, ROW.pack(_name("")[1], ctypes.addressof(nothing), 1, t.I64), 1)

    def _restore_as(self, entry: Entry, level: int, version: int, into: Mapping[str, Any],
                    names: Optional[Sequence[str]]) -> Dict[str, Any]:
        shapes = self._shapes(entry, level, version)
        hidden = {name for name, owner in shape_names(entry.vars).items() if owner in shapes}
        targets = [Target(name, value, shapes.get(name)) for name, value in into.items()]
        places = [Place(v.name, t.CODES[v.type], v.count, shapes.get(v.name)) for v in entry.vars
                  if v.name not in into and v.name not in hidden and (names is None or v.name in names)]
        for name in {*into, *(names or ())} - {v.name for v in entry.vars}:
            raise Mismatch("key %s: variable %s is not in the checkpoint" % (entry.key, name))
        self._get(entry.key, level, version, [*(x.row() for x in targets), *(p.row() for p in places)])
        for target in targets:
            target.finish()
        return {p.name: p.make() for p in places}

    def _shapes(self, entry: Entry, level: int, version: int) -> Dict[str, Shape]:
        """They are read first, so that one that does not fit is known before anything is written."""
        owners = shape_names(entry.vars)
        counts = {v.name: v.count for v in entry.vars}
        held = {name: (_name(name), (c_int64 * counts[name])()) for name in owners}
        self._get(entry.key, level, version, [ROW.pack(label[1], ctypes.addressof(sizes), len(sizes), t.I64)
                                              for label, sizes in held.values()])
        shapes = {owners[name]: tuple(sizes) for name, (_, sizes) in held.items()}
        return {name: shape for name, shape in shapes.items() if fits(shape, counts[name])}

    def _get(self, key: str, level: int, version: int, rows: List[bytes]) -> None:
        if not rows:
            return
        table = b"".join(rows)
        if version:
            passed = check(lib.cpa_restore_version(self._cp, text(key), version, table, len(rows)))
        else:
            passed = check(lib.cpa_restore_vars(self._cp, text(key), level, table, len(rows)))
        if passed:
            warnings.warn("key %s: %d damaged version%s passed over" % (key, passed, " was" if passed == 1 else "s were"),
                          RuntimeWarning, stacklevel=6)

    def query(self, key: str) -> Entry:
        """What the key's newest version holds."""
        entry = POINTER(_Entry)()
        check(lib.cpa_query(self._cp, text(key), byref(entry)))
        try:
            return _entry(entry[0])
        finally:
            lib.cpa_list_free(entry)

    def list(self) -> List[Entry]:
        """Every key, sorted."""
        entries = POINTER(_Entry)()
        n = check(lib.cpa_list(self._cp, byref(entries)))
        try:
            return [_entry(entries[i]) for i in range(n)]
        finally:
            lib.cpa_list_free(entries)

    def keys(self) -> List[str]:
        return [e.key for e in self.list()]

    def __contains__(self, key: str) -> bool:
        try:
            self.query(key)
        except NoKey:
            return False
        return True

    def reset(self, key: Optional[str] = None) -> None:
        """Forget a key; without one, every key."""
        check(lib.cpa_reset(self._cp, None if key is None else text(key)))

    def keep(self, key: str, versions: int) -> None:
        """Keep that many versions of key from now on, 1 to 63."""
        check(lib.cpa_keep(self._cp, text(key), whole("versions", versions)))

    def wait(self, key: str, level: int, timeout: Optional[float] = None) -> None:
        """Until that level or a higher one holds the version that is the newest now; Timeout after so many seconds,
        None or negative: never. Other threads run meanwhile. In the main thread, Ctrl-C and other signals are noticed within a
        second."""
        timeout = -1.0 if timeout is None else float(timeout)
        name, level, until = text(key), whole("level", level), time.monotonic() + timeout
        while threading.current_thread() is threading.main_thread() and (timeout < 0 or until - time.monotonic() > _TURN):
            rc = lib.cpa_wait(self._cp, name, level, _TURN)  # the interpreter's handlers run between two turns
            if rc != Timeout.code:
                check(rc)
                return
        rc = lib.cpa_wait(self._cp, name, level, max(until - time.monotonic(), 0.0) if timeout >= 0 else timeout)
        if rc == Timeout.code:
            raise Timeout("key %s: level %d did not hold it within %g s" % (key, level, timeout))
        check(rc)
