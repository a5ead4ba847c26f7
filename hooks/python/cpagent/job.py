"""A program and its agent: how this life began, what to call at its end, when to checkpoint, snapshots of itself."""
from __future__ import annotations

import atexit
import os
import signal
import threading
from ctypes import byref, c_double, c_int, c_uint64
from typing import Any, Callable, List, NamedTuple, Optional, Tuple, TypeVar

from ._lib import INIT_FN, RESTART_FN, lib
from ._pack import function, text
from .errors import NoKey, check
from .handle import Handle


class Incarnation(NamedTuple):
    """Which life of the program this is."""
    number: int  #: 0 on the first start; grows by one with each restart or restore
    began: str   #: "fresh", "snapshot" (the process came back) or "keys" (started anew, its keys are there)


class Snapshot(NamedTuple):
    """What became of snapshot(): it returns twice, like fork()."""
    restored: bool   #: True in the process that came back from it
    generation: int  #: the snapshot's number; 0 in the process that came back


# Callbacks, which decorators give back as they are
_Init = TypeVar("_Init", bound=Callable[[Any, str], Any])
_Number = TypeVar("_Number", bound=Callable[[Any, int], Any])

_RAISE: Any = object()
BEGAN = ("fresh", "snapshot", "keys")


class _Ends:
    """What to call before this process ends, by the interpreter's own means: a handler in C would run Python in the
    middle of the interpreter."""

    def __init__(self) -> None:
        self.calls: List[Tuple[int, Any, Callable[[int], Any]]] = []
        self.before: Any = None
        self.installed = False

    def add(self, owner: Any, call: Callable[[int], Any]) -> None:
        if not self.installed:
            atexit.register(self.run, 0)
            self.installed = True
        if self.before is None and threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self.on_signal) or signal.SIG_DFL
        self.calls.append((os.getpid(), owner, call))

    def drop(self, owner: Any) -> None:
        self.calls = [c for c in self.calls if c[1] is not owner]

    def run(self, number: int) -> None:
        while self.calls:
            pid, _, call = self.calls.pop()
            if pid == os.getpid():  # a fork()ed child has none
                call(number)

    def on_signal(self, number: int, frame: Any) -> None:
        try:
            self.run(number)
        finally:
            if callable(self.before):
                self.before(number, frame)
            elif self.before == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)


_ends = _Ends()


class Job(Handle):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._thunks: List[Any] = []  # what C may call has to live as long as the handle
        self._before_close.append(lambda: _ends.drop(self))
        self._after_close.append(self._thunks.clear)

    def incarnation(self) -> Incarnation:
        how = c_int()
        number = check(lib.cpa_incarnation(self._cp, byref(how)))
        return Incarnation(number, BEGAN[how.value])

    def on_init(self, fn: _Init) -> _Init:
        """Call fn(cp, began) at once, and say that this program can go on from its keys: its job may be restarted by
        starting the command anew. Usable as a decorator."""
        raised: List[BaseException] = []

        def call(_cp: Any, how: int, _arg: Any) -> int:
            try:
                fn(self, BEGAN[how])
            except BaseException as e:
                raised.append(e)
            return 0

        rc = lib.cpa_on_init(self._cp, INIT_FN(call), None)
        if raised:
            raise raised[0]
        check(rc)
        return fn

    def on_restart(self, fn: _Number) -> _Number:
        """Call fn(cp, incarnation) after this process was restored from a snapshot, from within the first call that
        notices. What it raises is printed, not passed on. Usable as a decorator."""
        def call(_cp: Any, incarnation: int, _arg: Any) -> None:
            fn(self, incarnation)

        function("on_restart()", fn)
        thunk = RESTART_FN(call)
        check(lib.cpa_on_restart(self._cp, thunk, None))
        self._thunks.append(thunk)
        return fn

    def on_term(self, fn: _Number) -> _Number:
        """Call fn(cp, signal) before this process ends: at its normal end (signal 0) and on SIGTERM, which then does
        what it did before. It runs between two steps of the interpreter, in the main thread, and may do anything. The
        last one added runs first; a fork()ed child has none. Call it in the main thread, or SIGTERM is not heard of.
        SIGKILL, os._exit() and the fatal signals (SIGSEGV, …) call nothing in Python. Usable as a decorator."""
        function("on_term()", fn)
        _ends.add(self, lambda number: fn(self, number))
        return fn

    # ---- when ------------------------------------------------------------------------------------
    def should_checkpoint(self) -> bool:
        """Is a checkpoint due? By set_due(); without it by what the checkpoints of this handle have cost and the mean
        time between failures. The first one is due at once."""
        return check(lib.cpa_should_checkpoint(self._cp)) == 1

    def set_due(self, every: float = 0.0, mtbf: float = 0.0) -> None:
        """every: seconds from one checkpoint to the next; 0: by cost and failure rate. mtbf: mean seconds between
        failures; 0: what the agent has seen, else $CPAGENT_MTBF, else a day."""
        check(lib.cpa_set_due(self._cp, every, mtbf))

    def get_due(self) -> float:
        """The interval that should_checkpoint() goes by now, in seconds."""
        return float(lib.cpa_get_due(self._cp))

    # ---- groups ----------------------------------------------------------------------------------
    def version(self, key: Optional[str] = None, group: Optional[str] = None, timeout: Optional[float] = None, *,
                default: Any = _RAISE) -> Any:
        """The newest version of key that every rank of a group has, for restore(key, version=...); without a key, of every
        key; without a group, this job's own, or the program alone. There is none that all have: default, else NoKey. Ranks that are
        lost or starting are waited for: so many seconds (a minute), negative: for ever; Timeout names one."""
        of = (self._cp, None if group is None else text(group), None if key is None else text(key))
        found = lib.cpa_version_of(*of) if timeout is None else lib.cpa_version_within(*of, timeout)
        return default if found == NoKey.code and default is not _RAISE else check(found)

    # ---- the agent -------------------------------------------------------------------------------
    def snapshot(self, timeout: Optional[float] = None) -> Snapshot:
        """Ask the agent for a process snapshot of this job, and wait for it: at most so many seconds, if not None. NotHeld: there is
        no agent."""
        generation = c_uint64()
        rc = check(lib.cpa_snapshot(self._cp, byref(generation), -1.0 if timeout is None else timeout))
        return Snapshot(rc == 1, generation.value)

    def set_interval(self, update: float = 0.0, save: float = 0.0) -> None:
        """This job's own intervals of updates and saves in seconds; 0: as the agents are configured."""
        check(lib.cpa_set_interval(self._cp, update, save))

    def get_interval(self) -> Tuple[float, float]:
        update, save = c_double(), c_double()
        check(lib.cpa_get_interval(self._cp, byref(update), byref(save)))
        return update.value, save.value

    def start(self) -> None:
        """Periodic updates and saves of this job on."""
        check(lib.cpa_start(self._cp))

    def stop(self) -> None:
        """Periodic updates and saves of this job off: only what is asked for is carried up."""
        check(lib.cpa_stop(self._cp))

    def register(self, url: str, timeout: float = 30.0) -> None:
        """Register this job's agent with a higher one (tcp://HOST:PORT). Only the superuser and the agent's own user
        may."""
        check(lib.cpa_register(self._cp, text(url), timeout))
