"""The memory of an object that has the buffer protocol: its address, held until this lets go of it. The interpreter's
own call, since a memoryview tells everything but the address, and that of a read-only object has no other way."""
from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_ssize_t, c_void_p, py_object
from typing import Any, Optional


class _Py_buffer(Structure):
    _fields_ = [("buf", c_void_p), ("obj", py_object), ("len", c_ssize_t), ("itemsize", c_ssize_t), ("readonly", c_int),
                ("ndim", c_int), ("format", c_char_p), ("shape", POINTER(c_ssize_t)), ("strides", POINTER(c_ssize_t)),
                ("suboffsets", POINTER(c_ssize_t)), ("internal", c_void_p)]


_get = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = [py_object, POINTER(_Py_buffer), c_int]
_release = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = [POINTER(_Py_buffer)]
_WRITABLE, _FORMAT, _C_CONTIGUOUS, _ANY_CONTIGUOUS = 0x1, 0x4, 0x38, 0x98


class Buffer:
    """While it lives, the object neither moves nor is freed (a bytearray refuses to be resized, and so on)."""
    __slots__ = ("_view", "address", "bytes", "itemsize", "format", "shape", "__weakref__")

    def __init__(self, obj: Any, writable: bool = False, any_order: bool = False) -> None:
        """BufferError: it has no memory in one piece, or none that may be written."""
        self._view: Optional[_Py_buffer] = None
        view = _Py_buffer()
        _get(obj, ctypes.byref(view),
             (_ANY_CONTIGUOUS if any_order else _C_CONTIGUOUS) | _FORMAT | (_WRITABLE if writable else 0))
        self._view = view
        self.address: int = view.buf or 0
        self.bytes: int = view.len
        self.itemsize: int = view.itemsize
        self.format: str = (view.format or b"B").decode()
        self.shape = tuple(view.shape[i] for i in range(view.ndim))

    def release(self) -> None:
        if self._view is not None:
            _release(ctypes.byref(self._view))
            self._view = None

    def __del__(self) -> None:
        self.release()
