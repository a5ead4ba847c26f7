"""Variables of a checkpoint as Python's values, on the way out: memory of the right size, then the value it holds.
See cpagent_python(3) for what becomes what."""
from __future__ import annotations

import array
import ctypes
import importlib
import sys
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from . import _types as t
from ._buffer import Buffer
from ._lib import ROW
from ._pack import SHAPE, _name, array_address, array_type, no_type
from .errors import Mismatch


class Var(NamedTuple):
    """What a checkpoint says of one variable; type as C's names have it (i64, f64, char, …)."""
    name: str
    type: str
    count: int  # type: ignore[assignment]  # a tuple has a method of that name


Shape = Tuple[int, ...]


def _numpy(needed: bool) -> Any:
    """NumPy, if the program has imported it, or if nothing else can hold such a variable."""
    numpy = sys.modules.get("numpy")
    if numpy is None and needed:
        try:
            numpy = importlib.import_module("numpy")
        except ImportError:
            return None
    return numpy


class Place:
    """Memory for one variable while it is restored, and what becomes of it."""

    def __init__(self, name: str, code: int, count: int, shape: Optional[Shape]) -> None:
        self.name, self.code, self.count, self.shape = name, code, count, shape
        self.label = _name(name)
        self.make: Any
        if code in (t.CHAR, t.BYTE) and (shape is None or code == t.BYTE):
            self._text()
        elif shape is None and count == 1 and code in t.SCALARS:
            self.memory = t.SCALARS[code]()
            self.make = lambda: self.memory.value
        elif shape is None and count == 1 and code in (t.C32, t.C64):
            self.memory = ((ctypes.c_float if code == t.C32 else ctypes.c_double) * 2)()
            self.make = lambda: complex(*self.memory)
        else:
            self._array()

    def row(self) -> bytes:
        return ROW.pack(self.label[1], self.address(), self.count, self.code)

    def address(self) -> int:
        if isinstance(self.memory, Buffer):
            return self.memory.address
        if hasattr(self.memory, "__array_interface__"):
            return array_address(self.memory)[1]
        return ctypes.addressof(self.memory)

    def _text(self) -> None:
        self.memory = ctypes.create_string_buffer(self.count)
        if self.code == t.BYTE:
            self.make = lambda: self.memory.raw
        else:  # C's texts end at the first NUL, Python's have none
            self.make = lambda: self.memory.raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")

    def _array(self) -> None:
        scalar = self.shape is None and self.count == 1
        plain = self.code in t.ARRAYS and (self.shape is None or len(self.shape) == 1)
        numpy = _numpy(not plain)
        if numpy is not None and (self.code in t.DTYPES or self.code == t.CHAR):
            self._numpy_array(numpy, scalar)
        elif self.code in t.ARRAYS or self.code == t.BOOL:
            self._plain_array()
        else:
            raise no_type(self.name, "%s of %s%s" % ("a scalar" if scalar else "an array", t.NAMES[self.code],
                                                      " without NumPy" if numpy is None else ""))

    def _numpy_array(self, numpy: Any, scalar: bool) -> None:
        if self.code == t.CHAR:
            assert self.shape is not None
            made = numpy.empty(self.shape[:-1], "S%d" % self.shape[-1])
        else:
            made = numpy.empty((self.count,) if self.shape is None else self.shape, t.DTYPES[self.code])
        self.memory = made
        self.make = (lambda: made[0]) if scalar else lambda: made

    def _plain_array(self) -> None:
        letter = t.ARRAYS.get(self.code, "?")
        size = ctypes.sizeof(t.SCALARS[self.code])
        holder: Any = bytearray(self.count * size) if letter == "?" else array.array(letter, bytes(self.count * size))
        made = holder
        if letter == "?" or (self.shape is not None and len(self.shape) != 1):
            view = memoryview(holder).cast("B")
            made = view.cast(letter, self.shape if self.shape is not None else [self.count])
        self.memory = Buffer(holder, writable=True)
        self.make = lambda: self._let_go(made)

    def _let_go(self, made: Any) -> Any:
        self.memory.release()  # an array that is held cannot grow
        return made


class Target:
    """An array that a variable is restored into."""

    def __init__(self, name: str, value: Any, shape: Optional[Shape]) -> None:
        self.name, self.value, self.aside = name, value, None
        self.label = _name(name)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            self._numpy(shape)
        else:
            self._buffer()
        if shape is not None and self.shape != shape:
            raise Mismatch("variable %s: the checkpoint has shape %r, the program %r" % (name, shape, self.shape))

    def _numpy(self, shape: Optional[Shape]) -> None:
        value = self.value
        self.code = array_type(self.name, value)
        if not value.flags.writeable:
            raise ValueError("variable %s: the array is read-only" % self.name)
        if not value.flags.c_contiguous:
            self.aside = value = value.copy("C")
        self.memory, self.address = array_address(value)
        self.shape: Shape = value.shape
        self.count = value.size
        if self.code == t.CHAR:
            self.shape, self.count = value.shape + (value.itemsize,), value.nbytes

    def _buffer(self) -> None:
        try:
            self.memory = b = Buffer(self.value, writable=True)
        except TypeError:
            raise TypeError("variable %s: of type %s, which cannot be restored into; leave it out, and take it "
                            "from the result" % (self.name, type(self.value).__name__)) from None
        except BufferError as e:
            raise ValueError("variable %s: %s" % (self.name, e)) from None
        code = t.BYTE if isinstance(self.value, bytearray) else t.of_format(b.format, b.itemsize)
        if code is None:
            raise no_type(self.name, "a buffer of format %r" % b.format)
        self.code, self.address, self.shape, self.count = code, b.address, b.shape, b.bytes // b.itemsize

    def row(self) -> bytes:
        return ROW.pack(self.label[1], self.address, self.count, self.code)

    def finish(self) -> None:
        if self.aside is not None:
            self.value[...] = self.aside


def shape_names(variables: Sequence[Var]) -> Dict[str, str]:
    """The variables that are shapes of others, and whose."""
    names = {v.name for v in variables}
    return {v.name: v.name[:-len(SHAPE)] for v in variables
            if v.name.endswith(SHAPE) and v.name[:-len(SHAPE)] in names and v.type == "i64" and v.count <= 64}


def fits(shape: Shape, count: int) -> bool:
    """A shape comes from an arena that anybody may have written."""
    product = 1
    for n in shape:
        if n < 0:
            return False
        product *= n
    return product == count
