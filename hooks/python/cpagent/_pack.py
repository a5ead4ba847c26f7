"""Python's values as variables of a checkpoint, on the way in: addresses, counts, types. See cpagent_python(3) for what
becomes what."""
from __future__ import annotations

import functools
import operator
import sys
from ctypes import addressof, c_bool, c_char, c_char_p, c_double, c_int64, c_void_p, cast
from typing import Any, Callable, Mapping, Optional, Tuple

from . import _types as t
from ._buffer import Buffer
from ._lib import ROW
from .errors import BadArgument

SHAPE = ".shape"

# What has to live as long as the address is used, the address, count, type, and the shape if it is not one dimension
Described = Tuple[Any, int, int, int, Optional[Tuple[int, ...]]]


@functools.lru_cache(maxsize=4096)
def text(word: str) -> bytes:
    """A key or a name for the C library."""
    if not isinstance(word, str):
        raise TypeError("a key or a name is a str, not %s" % type(word).__name__)
    data = word.encode()
    if b"\0" in data:
        raise BadArgument("a key or a name with a NUL in it: %r" % word)
    return data


def whole(what: str, value: Any, least: int = -0x80000000, most: int = 0x7fffffff) -> int:
    """A level, a version and so on for the C library, which would be given something else instead."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError("%s is a whole number, not %r" % (what, value)) from None
    if not least <= number <= most:
        raise BadArgument("%s: %d is out of bounds" % (what, number))
    return number


def function(what: str, fn: Any) -> Any:
    if not callable(fn):
        raise TypeError("%s takes a function, not %r" % (what, fn))
    return fn


@functools.lru_cache(maxsize=4096)
def _name(word: str) -> Tuple[c_char_p, int]:
    holder = c_char_p(text(word))
    return holder, _address(holder)


def _address(pointer: c_char_p) -> int:
    return cast(pointer, c_void_p).value or 0


def _int(name: str, value: int) -> Described:
    if not -0x8000000000000000 <= value <= 0x7fffffffffffffff:
        raise OverflowError("variable %s: %d does not fit into 64 bits; keep it as a str or as bytes" % (name, value))
    c = c_int64(value)
    return c, addressof(c), 1, t.I64, None


def _float(name: str, value: float) -> Described:
    c = c_double(value)
    return c, addressof(c), 1, t.F64, None


def _bool(name: str, value: bool) -> Described:
    c = c_bool(value)
    return c, addressof(c), 1, t.BOOL, None


def _complex(name: str, value: complex) -> Described:
    c = (c_double * 2)(value.real, value.imag)
    return c, addressof(c), 1, t.C64, None


def _bytes(name: str, value: bytes) -> Described:
    c = c_char_p(value)
    return c, _address(c), len(value), t.BYTE, None


def _str(name: str, value: str) -> Described:
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as e:
        raise BadArgument("variable %s: %s; keep it as bytes" % (name, e)) from None
    if b"\0" in data:
        raise BadArgument("variable %s: a text with a NUL in it; keep it as bytes" % name)
    c = c_char_p(data)
    return c, _address(c), len(data), t.CHAR, None


def _bytearray(name: str, value: bytearray) -> Described:
    b = Buffer(value)
    return b, b.address, b.bytes, t.BYTE, None


def _shape(shape: Tuple[int, ...]) -> Optional[Tuple[int, ...]]:
    """A shape that has to be kept: without one, one element is a scalar, and several have one dimension."""
    return None if len(shape) == 1 and shape[0] != 1 else shape


def no_type(name: str, what: str, instead: str = "") -> TypeError:
    return TypeError("variable %s: %s has no type in a checkpoint; %s" % (
        name, what, instead or "there are int, float, complex, bool, str, bytes and arrays of numbers"))


# What can be kept instead of an array that cannot, by its dtype's kind
_INSTEAD = {"M": "keep x.view('i8'), and its unit", "m": "keep x.view('i8'), and its unit", "f": "keep x.view('u2')",
            "U": "keep numpy.char.encode(x, 'utf-8')", "V": "keep its fields, x['name'], one by one"}


def _instead(dtype: Any) -> str:
    return _INSTEAD.get(dtype.kind, "") if dtype.isnative else "keep x.astype(x.dtype.newbyteorder('='))"


_NUMPY: dict[Any, int] = {}  # the types of the dtypes met so far
_held = c_char.from_buffer


def _is_more_than_an_array(array: Any) -> bool:
    """A masked array would come back without its mask; a matrix as an array, whose * is another one."""
    numpy = sys.modules["numpy"]
    return isinstance(array, (numpy.ma.MaskedArray, numpy.matrix))


def array_type(name: str, array: Any) -> int:
    """The element type of a NumPy array."""
    dtype = array.dtype
    if _is_more_than_an_array(array):
        raise no_type(name, "a " + type(array).__name__, "keep numpy.asarray(x), and a masked array's mask")
    code = t.of_format(dtype.char, dtype.itemsize) if dtype.isnative else None
    if code is None:
        raise no_type(name, "an array of dtype %s" % dtype, _instead(dtype))
    if code != t.CHAR:
        _NUMPY[dtype] = code
    return code


def array_address(array: Any) -> Tuple[Any, int]:
    """A C-contiguous NumPy array's address, and what has to be held meanwhile."""
    try:
        holder = _held(array)  # four times as quick as asking the array
        return holder, addressof(holder)
    except (TypeError, ValueError):  # read-only, or empty
        return array, array.__array_interface__["data"][0]


def _array(name: str, value: Any) -> Described:
    code = _NUMPY.get(value.dtype)
    if code is not None and value.ndim == 1:
        try:
            holder, count = _held(value), value.size
            return holder, addressof(holder), count, code, None if count != 1 else (1,)
        except (TypeError, ValueError):  # read-only, empty, or in pieces
            pass
    code = code or array_type(name, value)
    if not value.flags.c_contiguous:
        value = value.copy("C")
    shape, count = value.shape, value.size
    if code == t.CHAR:
        shape, count = shape + (value.itemsize,), value.nbytes
    holder, address = array_address(value)
    return holder, address, count, code, shape if code == t.CHAR else _shape(shape)


def _no_array(name: str, value: Any) -> Described:
    array_type(name, value)
    raise AssertionError("not reached")


def _numpy_scalar(name: str, value: Any) -> Described:
    if isinstance(value, bytes):
        return _bytes(name, bytes(value))
    return _array(name, sys.modules["numpy"].array(value))[:4] + (None,)


def _buffer(name: str, value: Any) -> Described:
    try:
        b = Buffer(value)
    except BufferError:
        view = memoryview(value)  # in pieces: put together in C's order
        b = Buffer(memoryview(view.tobytes()).cast(view.format, view.shape or ()))
    code = t.of_format(b.format, b.itemsize)
    if code is None:
        raise no_type(name, "a buffer of format %r" % b.format)
    return b, b.address, b.bytes // b.itemsize, code, _shape(b.shape)


_PACKERS: dict[type, Callable[[str, Any], Described]] = {
    int: _int, float: _float, bool: _bool, complex: _complex, bytes: _bytes, str: _str, bytearray: _bytearray,
}


def _instead_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "keep its entries one by one"
    listed = isinstance(value, (list, tuple)) or hasattr(value, "__array__")
    return "keep numpy.asarray(x), or array.array" if listed else ""


def _learn(name: str, value: Any) -> Callable[[str, Any], Described]:
    """The packer for a type that is met for the first time."""
    kind, numpy = type(value), sys.modules.get("numpy")
    packer: Callable[[str, Any], Described]
    if numpy and isinstance(value, numpy.ndarray):
        packer = _no_array if _is_more_than_an_array(value) else _array
    elif numpy and isinstance(value, numpy.generic):
        packer = _str if isinstance(value, str) else _numpy_scalar
    else:
        for base in (bool, int, float, complex, str, bytes, bytearray):
            if isinstance(value, base):
                packer = _PACKERS[base]
                break
        else:
            try:
                memoryview(value).release()
                packer = _buffer
            except TypeError:
                raise no_type(name, "a " + kind.__name__, _instead_of(value)) from None
    _PACKERS[kind] = packer
    return packer


def describe(name: str, value: Any) -> Described:
    return (_PACKERS.get(type(value)) or _learn(name, value))(name, value)


def pack(variables: Mapping[str, Any]) -> Tuple[bytes, int, list[Any]]:
    """A table of struct cpa_var, how many they are, and what has to live until the call is over. The shapes come last,
    so that a reader that goes by position finds the variables."""
    rows, shapes, keep = [], [], []
    packers, row = _PACKERS, ROW.pack
    for name, value in variables.items():
        holder, address, count, code, shape = (packers.get(type(value)) or _learn(name, value))(name, value)
        label = _name(name)
        keep.append(holder)
        keep.append(label)
        rows.append(row(label[1], address, count, code))
        if shape is not None:
            if name + SHAPE in variables:
                raise BadArgument("variable %s: the shape of %s is kept under that name" % (name + SHAPE, name))
            label = _name(name + SHAPE)
            sizes = (c_int64 * len(shape))(*shape)
            keep.append(label)
            keep.append(sizes)
            shapes.append(row(label[1], addressof(sizes), len(shape), t.I64))
    rows += shapes
    return b"".join(rows), len(rows), keep
