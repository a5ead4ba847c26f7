"""Element types: the C library's numbers, and how buffers, NumPy and array.array call them."""
from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Optional

I8, U8, I16, U16, I32, U32, I64, U64, F32, F64, F80, F128, C32, C64, C80, C128, BOOL, CHAR, BYTE = range(1, 20)

NAMES = dict(enumerate("i8 u8 i16 u16 i32 u32 i64 u64 f32 f64 f80 f128 c32 c64 c80 c128 bool char bytes".split(), 1))
CODES = {name: code for code, name in NAMES.items()}

# long double as this machine has it: the x87's in 16 bytes, IEEE quad, or double
if ctypes.sizeof(ctypes.c_longdouble) == 16:
    LONG, CLONG = (F80, C80) if os.uname().machine == "x86_64" else (F128, C128)
else:
    LONG, CLONG = F64, C64

_SIGNED = {1: I8, 2: I16, 4: I32, 8: I64}
_UNSIGNED = {1: U8, 2: U16, 4: U32, 8: U64}
_OTHER = {"f": F32, "d": F64, "g": LONG, "Zf": C32, "Zd": C64, "Zg": CLONG, "F": C32, "D": C64, "G": CLONG, "?": BOOL,
          "S": CHAR}


def of_format(letters: str, itemsize: int) -> Optional[int]:
    """The type of a buffer's format, or of a NumPy dtype's letter; None if there is none (or another byte order)."""
    swapped = ">!" if sys.byteorder == "little" else "<"
    if letters[:1] in swapped:
        return None
    letters = letters.lstrip("@=<>").lstrip("0123456789")
    if letters in "bhilqn" and len(letters) == 1:
        return _SIGNED.get(itemsize)
    if letters in "BHILQN" and len(letters) == 1:
        return _UNSIGNED.get(itemsize)
    return _OTHER.get(letters)


# One element of a type, as ctypes has it
SCALARS: dict[int, Any] = {
    I8: ctypes.c_int8, U8: ctypes.c_uint8, I16: ctypes.c_int16, U16: ctypes.c_uint16, I32: ctypes.c_int32,
    U32: ctypes.c_uint32, I64: ctypes.c_int64, U64: ctypes.c_uint64, F32: ctypes.c_float, F64: ctypes.c_double,
    BOOL: ctypes.c_bool,
}
# Arrays without NumPy, as array.array has them
ARRAYS = {I8: "b", U8: "B", I16: "h", U16: "H", I32: "i", U32: "I", I64: "q", U64: "Q", F32: "f", F64: "d"}
# Arrays with NumPy
DTYPES = {I8: "i1", U8: "u1", I16: "i2", U16: "u2", I32: "i4", U32: "u4", I64: "i8", U64: "u8", F32: "f4", F64: "f8",
          C32: "c8", C64: "c16", BOOL: "?"}
if LONG != F64:
    DTYPES[LONG], DTYPES[CLONG] = "g", "G"
