#!/usr/bin/env python3
"""import cpagent: keys, errors, handles."""
import os
import subprocess
import sys
import threading
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import raises

if __name__ == "__main__":
    harness.as_tests_need()

import numpy as np

import cpagent


def test_keys_are_listed_queried_and_forgotten(scratch):
    with cpagent.open(scratch) as cp:
        assert cp.list() == [] and cp.keys() == []
        cp.checkpoint("b", x=1)
        cp.checkpoint("a", x=1)
        cp.checkpoint("a", x=2, u=np.zeros((2, 3)))
        assert cp.keys() == ["a", "b"] and "a" in cp and "c" not in cp
        e = cp.query("a")
        assert (e.key, e.version, e.level, e.how) == ("a", 2, 1, "")
        assert e.vars == (("x", "i64", 1), ("u", "f64", 6), ("u.shape", "i64", 2)) and e.bytes >= 72
        assert abs(e.time - os.stat(scratch).st_mtime) < 3600 and cp.list()[0] == e
        cp.reset("a")
        assert cp.keys() == ["b"]
        cp.reset()
        assert cp.keys() == []
        cp.reset()


def test_a_missing_key_is_a_key_error_or_the_default(scratch):
    with cpagent.open(scratch) as cp:
        e = raises(KeyError, lambda: cp.restore("nothing"), "nothing")
        assert isinstance(e, cpagent.NoKey) and e.code == -2 and not str(e).startswith("'")
        assert cp.restore("nothing", default=None) is None
        raises(cpagent.NoKey, lambda: cp.query("nothing"))
        raises(cpagent.NoKey, lambda: cp.restore_into("nothing", u=np.zeros(1)))
        assert cp.restore_into("nothing", u=np.zeros(1), default={"step": 0}) == {"step": 0}


def test_bad_keys_are_refused(scratch):
    with cpagent.open(scratch) as cp:
        for bad in ("", "x" * 256, "\u00e9" * 128, "a\0b"):
            raises(cpagent.BadArgument, lambda: cp.checkpoint(bad, x=1))
        raises(TypeError, lambda: cp.checkpoint(b"bytes", x=1), "str")
        raises(cpagent.BadArgument, lambda: cp.checkpoint("nothing in it"))
        raises(ValueError, lambda: cp.checkpoint("k", x=1, level=99), "level")
        cp.checkpoint("\u00e9" * 127, x=1)
        assert cp.restore("\u00e9" * 127) == {"x": 1}


def test_versions_are_kept_and_can_be_restored(scratch):
    with cpagent.open(scratch) as cp:
        cp.keep("k", 3)
        for i in range(1, 6):
            cp.checkpoint("k", x=i)
        assert [cp.restore("k", version=v)["x"] for v in (3, 4, 5)] == [3, 4, 5]
        raises(cpagent.NoKey, lambda: cp.restore("k", version=1))
        raises(cpagent.BadArgument, lambda: cp.keep("k", 0))


def test_a_full_arena_says_so_and_the_version_before_stands(scratch):
    with cpagent.open(scratch, budget=1 << 20) as cp:
        cp.checkpoint("k", u=np.ones(1000))
        e = raises(cpagent.Full, lambda: cp.checkpoint("k", u=np.zeros(1 << 20)))
        assert e.code == -4 and cp.restore("k")["u"].all()


def test_a_damaged_version_is_passed_over_with_a_warning(scratch):
    with cpagent.open(scratch, name="hurt", budget=1 << 20) as cp:
        cp.keep("k", 2)
        cp.checkpoint("k", mark=b"the first of the versions")
        cp.checkpoint("k", mark=b"another one after that !!")
    path = os.path.join(scratch, "hurt.arena")
    with open(path, "r+b") as f:
        data = f.read()
        f.seek(data.index(b"another one"))
        f.write(b"A")
    with cpagent.open(path) as cp, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cp.restore("k") == {"mark": b"the first of the versions"}
        assert "1 damaged version was passed over" in str(caught[0].message) and caught[0].filename == __file__
    with open(path, "r+b") as f:
        f.seek(data.index(b"the first of"))
        f.write(b"T")
    with cpagent.open(path) as cp:
        raises(cpagent.Corrupt, lambda: cp.restore("k"))


def test_an_arena_that_is_none_is_refused(scratch):
    path = os.path.join(scratch, "file")
    with open(path, "wb") as f:
        f.write(b"no arena" * 10000)
    raises(cpagent.Broken, lambda: cpagent.open(path), path)
    raises(ValueError, lambda: cpagent.open(scratch, name="a/b"))


def test_a_closed_handle_refuses_and_can_be_closed_again(scratch):
    cp = cpagent.open(scratch)
    cp.close()
    cp.close()
    assert "closed" in repr(cp)
    raises(cpagent.BadArgument, lambda: cp.checkpoint("k", x=1), "handle")
    raises(cpagent.BadArgument, lambda: cp.list())


def test_what_one_handle_keeps_another_finds(scratch):
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", x=1)
    with cpagent.open(scratch) as cp:
        assert cp.restore("k") == {"x": 1}


def test_the_arena_has_the_scripts_name(scratch):
    script = os.path.join(scratch, "solver.py")
    with open(script, "w") as f:
        f.write("import cpagent, sys\nwith cpagent.open(sys.argv[1]) as cp: cp.checkpoint('k', x=1)\n")
    subprocess.run([sys.executable, script, scratch], check=True)
    subprocess.run([sys.executable, "-c", open(script).read(), scratch], check=True)
    assert sorted(f for f in os.listdir(scratch) if f.endswith(".arena")) == ["python.arena", "solver.py.arena"]


def test_a_key_can_be_made_from_where_the_call_stands(scratch):
    assert cpagent.key("a", "b c", 123) == "test_python_test_a_key_can_be_made_from_where_the_call_stands_a_bc_123"


def test_threads_and_children_share_a_handle(scratch):
    with cpagent.open(scratch) as cp:
        def work(n):
            for i in range(300):
                cp.checkpoint("thread %d" % n, i=i, u=np.full(50, float(i)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        pid = os.fork()
        if pid == 0:
            work(9)
            os._exit(0)
        for thread in threads:
            thread.join()
        assert os.waitpid(pid, 0)[1] == 0
        for n in (0, 1, 2, 3, 9):
            back = cp.restore("thread %d" % n)
            assert back["i"] == 299 and (back["u"] == 299).all()


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
