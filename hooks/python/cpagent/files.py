"""Checkpoints that a program writes as files, and archives of everything."""
from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any, Iterator

from ._lib import lib
from ._pack import text, whole
from .errors import check
from .handle import Handle, Path

_PATH_MAX = 4096


class Files(Handle):
    @contextlib.contextmanager
    def route_file(self, key: str, *, level: int = 1) -> Iterator[str]:
        """A path to write the next version of key to. The file is committed when the block ends, and forgotten when it
        ends with an exception:

            with cp.route_file("mesh") as path:
                numpy.save(path + ".npy", mesh)     # any program's file; here one with a suffix of its own ...
                os.rename(path + ".npy", path)      # ... under the name that is committed
        """
        path = self._path(lib.cpa_route_file, key)
        try:
            yield path
        except BaseException:
            try:
                os.unlink(path)
            except OSError:
                pass
            raise
        check(lib.cpa_file_done(self._cp, text(key), whole("level", level)))

    def restore_file(self, key: str, *, level: int = 0) -> str:
        """Write key's newest version into a file again and return its path. The file is the caller's: rename it, or
        remove it; close() removes what is left."""
        return self._path(lib.cpa_restore_file, key, whole("level", level))

    def _path(self, call: Any, key: str, *level: int) -> str:
        path = ctypes.create_string_buffer(_PATH_MAX)
        check(call(self._cp, text(key), *level, path, _PATH_MAX))
        return os.fsdecode(path.value)

    def save(self, file: Path) -> int:
        """Write every key and memo into one archive, a .tar.zst: complete, or not at all. Returns the number of keys."""
        return check(lib.cpa_save(self._cp, os.fsencode(file)))

    def load(self, file: Path) -> int:
        """Take the keys of an archive: each becomes the next version of its key. Returns the number of keys."""
        return check(lib.cpa_load(self._cp, os.fsencode(file)))
