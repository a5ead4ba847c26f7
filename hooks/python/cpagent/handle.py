"""The handle that the call families share: an open arena, and what to do before it is closed."""
from __future__ import annotations

import os
import sys
from ctypes import byref, c_void_p
from typing import Any, Callable, List, Optional, TypeVar, Union

from ._lib import lib
from ._pack import text, whole
from .errors import check

Path = Union[str, "os.PathLike[str]"]
_Self = TypeVar("_Self", bound="Handle")


def program_name() -> str:
    """The script's name; an interpreter runs many programs."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    if name in ("", "-c", "-m", "-"):
        return "python"
    return name.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")


class Handle:
    def __init__(self, where: Optional[Path] = None, name: Optional[str] = None, budget: int = 0) -> None:
        self._cp: Optional[int] = None
        self._where = where
        self._before_close: List[Callable[[], None]] = []
        self._after_close: List[Callable[[], None]] = []
        handle = c_void_p()
        check(lib.cpa_open_named(byref(handle), None if where is None else os.fsencode(where),
                                 text(program_name() if name is None else name), whole("budget", budget, 0, 1 << 63)))
        self._cp = handle.value

    def close(self) -> None:
        """What was checkpointed stays. Call it when no other thread is in a call. Twice is allowed."""
        if self._cp is None:
            return
        for step in self._before_close:
            step()
        cp, self._cp = self._cp, None
        lib.cpa_close(cp)
        for step in self._after_close:
            step()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A copy would be closed twice; another process has no such memory."""
        raise TypeError("a cpagent handle cannot be copied or pickled: a fork()ed child shares it, any other process "
                        "calls cpagent.open() itself")

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        """What is protected must not be freed while the library still knows of it."""
        if getattr(self, "_cp", None) is not None:
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._cp is None else "open" if self._where is None else "in %s" % os.fspath(self._where)
        return "<cpagent.Checkpoints, %s>" % state
