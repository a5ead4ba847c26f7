"""What goes wrong, as exceptions: one class for each code of the C library, its sentence as the message."""
from __future__ import annotations

from ._lib import lib


class Error(Exception):
    """A call failed. `code` is the C library's (a cpa_error); the message is its sentence."""
    code = 0

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:  # KeyError would show it in quotes
        return self.message


class BadArgument(Error, ValueError):
    """An argument is missing or out of bounds."""
    code = -1


class NoKey(Error, KeyError):
    """There is no checkpoint under that key."""
    code = -2


class Mismatch(Error, ValueError):
    """A variable differs from the checkpoint in type, count or shape, or is not in it. Nothing was written."""
    code = -3


class Full(Error):
    """The arena's budget, or the memory behind it, is spent. The version before stands."""
    code = -4


class Corrupt(Error):
    """No version of the key is whole."""
    code = -5


class Broken(Error):
    """The arena is damaged, or the file is no arena."""
    code = -6


class WrongFormat(Error):
    """The arena was made by another version of the library."""
    code = -7


class NotHeld(Error):
    """That level does not hold it, or no agent is there to carry it."""
    code = -8


class Timeout(Error, TimeoutError):
    """It did not happen in time."""
    code = -9


class Busy(Error):
    """The key is being written by the code that this call interrupted."""
    code = -10


class Denied(Error, PermissionError):
    """Another user's arena, or one that may only be read."""
    code = -11


class NoMemory(Error, MemoryError):
    """Out of memory."""
    code = -12


class SystemRefused(Error, OSError):
    """The system refused something; the message says what."""
    code = -13


class NoRegion(Error, KeyError):
    """A protected region was moved or freed, or there is none of that name."""
    code = -14


_BY_CODE = {c.code: c for c in (BadArgument, NoKey, Mismatch, Full, Corrupt, Broken, WrongFormat, NotHeld, Timeout,
                                Busy, Denied, NoMemory, SystemRefused, NoRegion)}


def error(code: int) -> Error:
    """The exception for what a call returned last in this thread."""
    text = lib.cpa_strerror(code).decode("utf-8", "replace")
    kind = _BY_CODE.get(code)
    if kind is None:
        e = Error(text)
        e.code = code
        return e
    return kind(text)


def check(code: int) -> int:
    """The result of a call, or its exception."""
    if code < 0:
        raise error(code)
    return code
