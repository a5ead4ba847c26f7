#!/usr/bin/env python3
"""import cpagent: protected regions, files and archives."""
import array
import gc
import os
import sys
import weakref

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import raises

if __name__ == "__main__":
    harness.as_tests_need()

import numpy as np

import cpagent


# ---- protected regions -------------------------------------------------------------------------------
def test_protected_arrays_are_restored_in_place(scratch):
    u, v, b = np.arange(300000.0).reshape(300, 1000), array.array("i", range(10)), bytearray(b"bytes")
    with cpagent.open(scratch) as cp:
        cp.protect("u", u)
        cp.protect("v", v)
        cp.protect("b", b)
        for i in range(1, 5):
            u[i * 7, i] = -i
            v[0] = i
            cp.checkpoint_protected("state")
        was = u.copy()
        u[:], v[0] = 0, 99
        b[:] = b"?????"
        assert cp.restore_protected("state") == 0
        assert (u == was).all() and v[0] == 4 and b == b"bytes"
        e = cp.query("state")
        assert {x.name: (x.type, x.count) for x in e.vars} == {"u": ("f64", 300000), "v": ("i32", 10), "b": ("bytes", 5)}
        assert e.how in ("dirty pages", "whole copy")
        assert (cp.restore("state")["u"] == was.ravel()).all()


def test_some_regions_can_be_named(scratch):
    u, v = np.ones(1000), np.ones(1000)
    with cpagent.open(scratch) as cp:
        cp.protect("u", u)
        cp.protect("v", v)
        cp.checkpoint_protected("both")
        cp.checkpoint_protected("one", ["v"])
        assert [x.name for x in cp.query("one").vars] == ["v"]
        u[:], v[:] = 2, 2
        cp.restore_protected("both", ["u"])
        assert u[0] == 1 and v[0] == 2
        raises(cpagent.NoRegion, lambda: cp.checkpoint_protected("one", ["w"]))


def test_a_protected_array_lives_until_it_is_let_go(scratch):
    class Array(np.ndarray):
        pass

    with cpagent.open(scratch) as cp:
        u = np.ones(100000).view(Array)
        gone = weakref.ref(u)
        cp.protect("u", u)
        del u
        gc.collect()
        assert gone() is not None
        cp.checkpoint_protected("state")
        cp.unprotect("u")
        gc.collect()
        assert gone() is None
        cp.protect("u", np.ones(5).view(Array))
        cp.protect("u", np.ones(6))  # another array under that name: the one before is let go
        cp.unprotect()
        raises(cpagent.NoRegion, lambda: cp.unprotect("u"))


def test_a_handle_that_is_forgotten_lets_go_of_its_arrays(scratch):
    b = bytearray(100000)
    cp = cpagent.open(scratch)
    cp.protect("b", b)
    cp.checkpoint_protected("state")
    del cp
    gc.collect()
    b.extend(b"more")
    with cpagent.open(scratch) as cp:
        assert cp.query("state").version == 1


def test_what_is_protected_cannot_be_resized(scratch):
    b = bytearray(100)
    with cpagent.open(scratch) as cp:
        cp.protect("b", b)
        raises(BufferError, lambda: b.extend(b"more"))
        cp.unprotect("b")
        b.extend(b"more")
        cp.protect("b", b)
    b.extend(b"more")  # closed: nothing is held


def test_what_cannot_be_protected_is_refused_by_name(scratch):
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    with cpagent.open(scratch) as cp:
        for bad in (np.zeros((4, 4))[::2, ::2], frozen, bytes(10), 3.0, "text", np.zeros(3, "f2"), np.zeros(3, ">i4"),
                    np.array([None])):
            raises((TypeError, ValueError, BufferError), lambda: cp.protect("wrong", bad), "wrong")
        cp.protect("fortran's order", np.asfortranarray(np.ones((3, 4))))


def test_tracking_says_how_and_why(scratch):
    with cpagent.open(scratch) as cp:
        machine = cp.tracking()
        assert isinstance(machine.dirty_pages, bool) and machine.why
        cp.protect("small", np.ones(3))
        assert cp.tracking("small").why
        raises(cpagent.NoRegion, lambda: cp.tracking("nothing"))


# ---- files -----------------------------------------------------------------------------------------------
def test_a_file_is_complete_or_absent(scratch):
    with cpagent.open(scratch) as cp:
        with cp.route_file("mesh") as path:
            with open(path, "w") as f:
                f.write("version 1")
        assert not os.path.exists(path)

        def fails():
            with cp.route_file("mesh") as path:
                with open(path, "w") as f:
                    f.write("half of vers")
                raise RuntimeError("in the middle")

        raises(RuntimeError, fails, "middle")
        back = cp.restore_file("mesh")
        assert open(back).read() == "version 1"
        assert cp.query("mesh").vars == (("file", "bytes", 9),) and cp.query("mesh").version == 1
        raises(cpagent.NoKey, lambda: cp.restore_file("nothing"))

        def unwritten():
            with cp.route_file("mesh"):
                pass

        raises(cpagent.NoKey, unwritten)
    assert not os.path.exists(back)


# ---- archives --------------------------------------------------------------------------------------------
def test_an_archive_carries_keys_and_memos_to_another_arena(scratch):
    file = os.path.join(scratch, "all.tar.zst")
    with cpagent.open(os.path.join(scratch, "a")) as cp:
        @cp.memo("m")
        def twice(x):
            return 2 * x

        cp.checkpoint("k", u=np.arange(12.0).reshape(3, 4), s="text")
        twice(4)
        assert cp.save(file) >= 1
    with cpagent.open(os.path.join(scratch, "b")) as cp:
        assert cp.load(file) >= 1
        back = cp.restore("k")
        assert back["s"] == "text" and (back["u"] == np.arange(12.0).reshape(3, 4)).all()
        twice = cp.memo("m")(lambda x: 1 / 0)
        assert twice(4) == 8
        raises(cpagent.Error, lambda: cp.load(os.path.join(scratch, "nothing")), "nothing")


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
