"""Protected regions: arrays that are named once, and of which a checkpoint copies what changed."""
from __future__ import annotations

import sys
from ctypes import byref, c_char_p
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from . import _types as t
from ._buffer import Buffer
from ._lib import lib
from ._pack import array_type, no_type, text, whole
from .errors import check
from .handle import Handle


class Tracking(NamedTuple):
    """Are changes tracked by the kernel's dirty pages, or is a region copied whole?"""
    dirty_pages: bool
    why: str


def _names(names: Sequence[str]) -> Tuple[Any, int]:
    if isinstance(names, str):
        names = [names]
    return (c_char_p * len(names))(*map(text, names)), len(names)


class Regions(Handle):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: Dict[str, Buffer] = {}
        self._after_close.append(self._held.clear)

    def protect(self, name: str, array: Any) -> None:
        """Protect an array's memory under a name, from now until unprotect(). It is held meanwhile: it is not freed
        when the last variable goes, and what can be resized (bytearray, array.array) refuses to be. Again with the same
        name: the region is another array now. NumPy arrays in one piece (in C's order or Fortran's), bytearray,
        array.array and other writable buffers."""
        numpy = sys.modules.get("numpy")
        code: Optional[int] = None
        if isinstance(array, bytearray):
            code = t.BYTE
        elif numpy is not None and isinstance(array, numpy.ndarray):
            code = array_type(name, array)
        try:
            buffer = Buffer(array, writable=True, any_order=True)
        except (BufferError, TypeError, ValueError) as e:
            raise type(e)("region %s: %s; protect an array that is writable and in one piece" % (name, e)) from None
        code = code or t.of_format(buffer.format, buffer.itemsize)
        if code is None:
            raise no_type(name, "a buffer of format %r" % buffer.format)
        count = buffer.bytes if code == t.CHAR else buffer.bytes // buffer.itemsize
        check(lib.cpa_protect(self._cp, text(name), buffer.address, count, code))
        self._held[name] = buffer

    def unprotect(self, name: Optional[str] = None) -> None:
        """Let a region go; without a name, all."""
        check(lib.cpa_unprotect(self._cp, None if name is None else text(name)))
        if name is None:
            self._held.clear()
        else:
            self._held.pop(name, None)

    def checkpoint_protected(self, key: str, names: Optional[Sequence[str]] = None, *, level: int = 1) -> None:
        """Commit all regions, or those named, as the next version of key."""
        if names is None:
            check(lib.cpa_checkpoint_protected(self._cp, text(key), whole("level", level)))
        else:
            check(lib.cpa_checkpoint_regions(self._cp, text(key), whole("level", level), *_names(names)))

    def restore_protected(self, key: str, names: Optional[Sequence[str]] = None, *, level: int = 0) -> int:
        """Copy the newest version of key into all regions, or those named. Returns how many newer versions were
        damaged and passed over."""
        if names is None:
            return check(lib.cpa_restore_protected(self._cp, text(key), whole("level", level)))
        return check(lib.cpa_restore_regions(self._cp, text(key), whole("level", level), *_names(names)))

    def tracking(self, name: Optional[str] = None) -> Tracking:
        """How a region's changes are found; without a name, what this machine can do."""
        why = c_char_p()
        tracked = check(lib.cpa_tracking(self._cp, None if name is None else text(name), byref(why)))
        return Tracking(bool(tracked), (why.value or b"").decode("utf-8", "replace"))
