"""cpagent: checkpoints from inside a program, at the speed of memory.

    import cpagent, numpy

    with cpagent.open() as cp:
        state = cp.restore("state", default={"step": 0, "u": numpy.zeros(1000)})
        step, u = state["step"], state["u"]
        while step < 100000:
            advance(u)
            step += 1
            if cp.should_checkpoint():
                cp.checkpoint("state", step=step, u=u)

Under `cpagent run` an agent keeps the checkpoints and carries them to other machines; without it they lie in a file of
the program's own, which its next run finds again. Thin over the C library: cpagent(3) says more of each call. Nothing is
pickled. cpagent_python(3) says which Python value is what in a checkpoint."""
from __future__ import annotations

import os as _os
import sys as _sys
from typing import Any, Callable, Optional, TypeVar

from ._unpack import Var
from .errors import (BadArgument, Broken, Busy, Corrupt, Denied, Error, Full, Mismatch, NoKey, NoMemory, NoRegion, NotHeld,
                     SystemRefused, Timeout, WrongFormat)
from .files import Files as _Files
from .handle import Path
from .job import Incarnation, Job as _Job, Snapshot
from .keys import Entry, Keys as _Keys
from .memo import Memoized, Memos as _Memos, MemoStats, memo_of
from .regions import Regions as _Regions, Tracking

_R = TypeVar("_R")
__version__ = "0.1.0"


class Checkpoints(_Keys, _Regions, _Files, _Job, _Memos):
    """An open arena: use it in a with statement, or close() it. Threads and fork()ed children may share it."""


def open(where: Optional[Path] = None, name: Optional[str] = None, budget: int = 0) -> Checkpoints:
    """Open this job's arena. where: None for the one the launcher made ($CPAGENT_ARENA), or without a launcher a private
    one of this program, which its next run finds again; a directory for a private arena there; an arena file.
    name: a private arena's name, instead of the script's. budget: bytes that it may take, if it has to be made; 0: half of
    the machine's memory."""
    return Checkpoints(where, name, budget)


_default: Optional[Checkpoints] = None


def default() -> Checkpoints:
    """The handle of the whole program: open(), once."""
    global _default
    if _default is None or _default._cp is None:
        _default = open()
    return _default


def memo(name: str) -> Callable[[Callable[..., _R]], Memoized[_R]]:
    """Checkpoints.memo() in default(), which is opened with the first call of the function."""
    return memo_of(default, name)


def key(*words: Any) -> str:
    """A key made from where the call stands: "file_function_a_b_123" for key("a", "b", 123) in function() of file.py."""
    code = _sys._getframe(1).f_code
    file = _os.path.splitext(_os.path.basename(code.co_filename))[0]
    function = "main" if code.co_name == "<module>" else code.co_name
    joined = "_".join([file, function, *("".join(str(w).split()) for w in words)])
    return joined.encode()[:255].decode("utf-8", "ignore")


__all__ = ["BadArgument", "Broken", "Busy", "Checkpoints", "Corrupt", "Denied", "Entry", "Error", "Full", "Incarnation",
           "Memoized", "MemoStats", "Mismatch", "NoKey", "NoMemory", "NoRegion", "NotHeld", "Snapshot", "SystemRefused",
           "Timeout", "Tracking", "Var", "WrongFormat", "default", "key", "memo", "open"]
