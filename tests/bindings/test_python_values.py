#!/usr/bin/env python3
"""import cpagent: which value is what in a checkpoint, there and back. With NumPy, and in a second interpreter without."""
import array
import ctypes
import os
import subprocess
import sys
import tracemalloc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import raises

if __name__ == "__main__":
    harness.as_tests_need()

import numpy as np

import cpagent

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "g", "c8", "c16", "G", "S5", "l", "q"]


def there_and_back(cp, **values):
    cp.checkpoint("back", **values)
    return cp.restore("back")


def same(a, b):
    return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- values ------------------------------------------------------------------------------------------
def test_arrays_of_every_type_and_shape_come_back_as_they_were(scratch):
    with cpagent.open(scratch) as cp:
        for dtype in DTYPES:
            for shape in [(), (0,), (1,), (7,), (3, 4), (2, 3, 4), (1, 1), (0, 5)]:
                n = int(np.prod(shape))
                a = np.arange(n).astype(dtype).reshape(shape)
                assert same(there_and_back(cp, a=a)["a"], a), (dtype, shape)


def test_an_array_in_pieces_is_put_together(scratch):
    base = np.arange(60.0).reshape(6, 10)
    with cpagent.open(scratch) as cp:
        for a in (base.T, base[::2], base[:, 3], base[::-1], np.asfortranarray(base), np.broadcast_to(3.5, (4, 4))):
            assert same(there_and_back(cp, a=a)["a"], np.ascontiguousarray(a))
        m = memoryview(bytes(range(100)))[::3]
        assert there_and_back(cp, m=m)["m"].tobytes() == m.tobytes()


def test_a_read_only_array_can_be_checkpointed(scratch):
    a = np.arange(5)
    a.flags.writeable = False
    with cpagent.open(scratch) as cp:
        assert same(there_and_back(cp, a=a)["a"], np.arange(5))


def test_a_large_array_is_not_copied_on_the_way(scratch):
    a = np.ones((1024, 4096))
    with cpagent.open(scratch) as cp:
        cp.checkpoint("a", a=a)
        tracemalloc.start()
        cp.checkpoint("a", a=a)
        cp.restore_into("a", a=a)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < a.nbytes / 16, peak


def test_scalars_come_back_as_themselves(scratch):
    values = dict(i=-5, big=2**63 - 1, small=-2**63, f=0.1, nan=float("inf"), c=1 - 2j, t=True, u=False, s="h\u00e9llo \U0001f600",
                  e="", b=b"a\0b\xff", n=b"", odd="\udcff is no text")
    with cpagent.open(scratch) as cp:
        back = there_and_back(cp, **values)
        assert back == values
        assert [type(v) for v in back.values()] == [type(v) for v in values.values()]


def test_numpy_scalars_come_back_as_pythons(scratch):
    with cpagent.open(scratch) as cp:
        back = there_and_back(cp, f=np.float64(0.1), g=np.float32(0.5), i=np.int16(-3), u=np.uint64(2**64 - 1),
                              b=np.bool_(True), c=np.complex64(1j), s=np.str_("text"), y=np.bytes_(b"bytes"),
                              l=np.longdouble(1) / 3)
        assert back == dict(f=0.1, g=0.5, i=-3, u=2**64 - 1, b=True, c=1j, s="text", y=b"bytes", l=np.longdouble(1) / 3)
        assert [type(back[n]) for n in "fgiubcsy"] == [float, float, int, int, bool, complex, str, bytes]
        assert {v.name: v.type for v in cp.query("back").vars}["g"] == "f32"


def test_an_int_beyond_64_bits_is_refused_by_name(scratch):
    with cpagent.open(scratch) as cp:
        for n in (2**63, -2**63 - 1, 10**100):
            raises(OverflowError, lambda: cp.checkpoint("k", steps=n), "steps", "64 bits")


def test_what_has_no_type_is_refused_by_name(scratch):
    with cpagent.open(scratch) as cp:
        for bad in (None, [1, 2], {}, object(), np.array([None]), np.zeros(3, "f2"), np.zeros(3, "U4"), np.zeros(3, ">f8"),
                    np.zeros(3, "M8[s]"), np.zeros(3, "i4,f8"), np.float16(1), array.array("u", "abc")):
            raises(TypeError, lambda: cp.checkpoint("k", fine=1, wrong=bad), "variable wrong")
        assert "k" not in cp


def test_a_text_with_a_nul_is_refused_and_one_from_c_ends_there(scratch):
    with cpagent.open(scratch) as cp:
        raises(ValueError, lambda: cp.checkpoint("k", s="a\0b"), "variable s", "NUL")
        cp.checkpoint("k", s=np.array(b"name\0\0\0\0garbage"))
        cp.checkpoint("k", {"s": np.frombuffer(b"name\0\0\0\0", "S8")[0]})
        c = (ctypes.c_char * 8)(*b"name")
        row = cpagent._lib.ROW.pack(ctypes.addressof(n := ctypes.create_string_buffer(b"s")), ctypes.addressof(c), 8, 18)
        assert cpagent._lib.lib.cpa_checkpoint_vars(cp._cp, b"c", 1, row, 1) == 0 and n
        assert cp.restore("c") == {"s": "name"}


def test_other_buffers_go_in_and_come_back_as_arrays(scratch):
    with cpagent.open(scratch) as cp:
        back = there_and_back(cp, a=array.array("d", [1.5, 2.5]), h=array.array("H", [7]), y=bytearray(b"xyz"),
                              m=memoryview(array.array("i", [1, 2, 3])), c=(ctypes.c_double * 3)(1, 2, 3),
                              g=((ctypes.c_int16 * 3) * 2)((1, 2, 3), (4, 5, 6)), e=array.array("d"))
        assert same(back["a"], np.array([1.5, 2.5])) and same(back["h"], np.array([7], "u2"))
        assert back["y"] == b"xyz" and same(back["m"], np.array([1, 2, 3], "i4"))
        assert same(back["c"], np.arange(1.0, 4)) and same(back["g"], np.array([[1, 2, 3], [4, 5, 6]], "i2"))
        assert same(back["e"], np.array([]))


def test_names_that_no_argument_can_have(scratch):
    with cpagent.open(scratch) as cp:
        values = {"level": 1, "u of t": 2, "": 3, "\u03b1": 4, "self": 5, "key": 6, "values": 7}
        cp.checkpoint("k", values, x=8)
        assert cp.restore("k") == {**values, "x": 8}
        raises(TypeError, lambda: cp.checkpoint("k", {1: 2}), "str")
        raises(ValueError, lambda: cp.checkpoint("k", {"u": np.zeros((2, 2)), "u.shape": 1}), "u.shape")
        cp.checkpoint("k", {"u": np.zeros(2), "u.shape": 1})
        assert cp.restore("k")["u.shape"] == 1  # not a shape of u: it is the program's own


# ---- restoring into what is there ------------------------------------------------------------------------
def test_arrays_are_restored_in_place_and_the_rest_is_returned(scratch):
    u, v = np.arange(12.0).reshape(3, 4), array.array("i", [1, 2, 3])
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", u=u, v=v, y=bytearray(b"abc"), step=9, name="x")
        a, b, y = np.zeros((3, 4)), array.array("i", [0, 0, 0]), bytearray(3)
        at = a.ctypes.data
        assert cp.restore_into("k", u=a, v=b, y=y) == {"step": 9, "name": "x"}
        assert same(a, u) and a.ctypes.data == at and b == v and y == b"abc"
        f, holes = np.zeros((3, 4), order="F"), np.zeros((6, 8))[::2, ::2]
        cp.restore_into("k", u=f)
        cp.restore_into("k", {"u": holes})
        assert (f == u).all() and (holes == u).all()


def test_what_does_not_fit_is_named_and_nothing_is_written(scratch):
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", first=np.ones(4), u=np.ones((3, 4)))
        first = np.zeros(4)
        for bad, words in ((np.zeros((4, 3)), ["shape"]), (np.zeros(12), ["shape"]), (np.zeros((3, 4), "f4"), ["f32"]),
                           (np.zeros((3, 5)), ["shape"])):
            raises(cpagent.Mismatch, lambda: cp.restore_into("k", first=first, u=bad), "variable u", *words)
        raises(cpagent.Mismatch, lambda: cp.restore_into("k", first=np.zeros(5)), "variable first", "4", "5")
        raises(cpagent.Mismatch, lambda: cp.restore_into("k", first=first, gone=np.zeros(1)), "variable gone")
        raises(cpagent.Mismatch, lambda: cp.restore("k", names=["gone"]), "variable gone")
        raises(TypeError, lambda: cp.restore_into("k", first=3.0), "variable first", "float")
        frozen = np.zeros(4)
        frozen.flags.writeable = False
        raises(ValueError, lambda: cp.restore_into("k", first=frozen), "variable first", "read-only")
        raises(ValueError, lambda: cp.restore_into("k", first=bytes(32)), "variable first")
        assert not first.any() and not frozen.any()


def test_some_variables_can_be_asked_for(scratch):
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", a=1, u=np.ones((2, 2)), b=2)
        back = cp.restore("k", names=["u"])
        assert list(back) == ["u"] and same(back["u"], np.ones((2, 2)))


def test_a_version_of_another_size_in_between_is_taken_as_it_is(scratch):
    """The query tells a size, and another process commits the next version before the restore."""
    with cpagent.open(scratch) as cp, cpagent.open(scratch) as other:
        cp.checkpoint("k", u=np.zeros(10))
        query, sizes = cp.query, iter([20, 30])

        def and_then(key):
            entry = query(key)
            for n in sizes:
                other.checkpoint("k", u=np.full(n, 1.0))
                break
            return entry

        cp.query = and_then
        assert same(cp.restore("k")["u"], np.ones(30))


# ---- without NumPy --------------------------------------------------------------------------------------
WITHOUT = """
import sys
sys.modules["numpy"] = None
import array, cpagent
with cpagent.open(sys.argv[1]) as cp:
    b = cp.restore("from numpy")
    assert b["i"] == array.array("q", range(5)) and b["f"] == array.array("f", [0.5]), b
    assert b["u"].tolist() == [[0.0, 1.0], [2.0, 3.0]], b
    assert b["t"].tolist() == [True, False] and b["one"] == array.array("d", [7.0])
    for key, kind in (("z", "complex"), ("g", "long")):
        try:
            cp.restore(key)
            raise SystemExit("restored " + kind)
        except TypeError as e:
            assert "variable %s" % key in str(e) and "without NumPy" in str(e), e
    b["i"].append(5)  # it is free to grow
    cp.checkpoint("back", i=b["i"], u=b["u"], s="text", x=1.5, c=2j)
    into = array.array("q", [0] * 6)
    assert cp.restore_into("back", i=into)["c"] == 2j and into[5] == 5
"""


def test_without_numpy_arrays_are_array_arrays(scratch):
    with cpagent.open(scratch, name="python") as cp:
        cp.checkpoint("from numpy", i=np.arange(5), f=np.array([0.5], "f4"), u=np.arange(4.0).reshape(2, 2),
                      t=np.array([True, False]), one=np.array([7.0]))
        cp.checkpoint("z", z=np.zeros(3, complex))
        cp.checkpoint("g", g=np.zeros(3, "g"))
        subprocess.run([sys.executable, "-c", WITHOUT, scratch], check=True)
        assert same(cp.restore("back")["u"], np.arange(4.0).reshape(2, 2))


def test_without_the_library_the_import_says_what_to_do(scratch):
    made = subprocess.run([sys.executable, "-c", "import cpagent"], stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, CPAGENT_LIB=os.path.join(scratch, "nothing")))
    assert made.returncode == 1 and "set CPAGENT_LIB" in made.stderr and "nothing" in made.stderr


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
