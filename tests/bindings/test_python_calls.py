#!/usr/bin/env python3
"""import cpagent: protected regions, files, memos, callbacks, and what a program hears of its agent when it has none."""
import array
import gc
import os
import signal
import subprocess
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
        assert {x.name: (x.type, x.count) for x in e.vars} == {"u": ("f64", 300000), "v": ("i32", 10), "b": ("byte", 5)}
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
        assert cp.query("mesh").vars == (("file", "byte", 9),) and cp.query("mesh").version == 1
        raises(cpagent.NoKey, lambda: cp.restore_file("nothing"))

        def unwritten():
            with cp.route_file("mesh"):
                pass

        raises(cpagent.NoKey, unwritten)
    assert not os.path.exists(back)


# ---- memos ------------------------------------------------------------------------------------------------
def test_a_memo_answers_what_it_was_asked_before(scratch):
    calls = []
    with cpagent.open(scratch) as cp:
        @cp.memo("power 1")
        def power(signal, k=2):
            """Of a signal."""
            calls.append(k)
            return signal ** k

        x = np.arange(6.0).reshape(2, 3)
        for again in range(3):
            assert (power(x) == x ** 2).all() and (power(x, k=3) == x ** 3).all()
        assert calls == [2, 3] and (power.hits, power.misses) == (4, 2)
        assert power(x, 3).shape == power(signal=x, k=2).shape == (2, 3) and calls == [2, 3]  # the same, written otherwise
        x[1, 1] = 99
        power(x)
        power(x.reshape(3, 2))
        power(x.astype("f4"))
        assert calls == [2, 3, 2, 2, 2]
        assert power.__name__ == "power" and power.__doc__ == "Of a signal." and "power 1" in repr(power)
        stats = cp.memos()
        assert [(s.name, s.hits, s.misses, s.results) for s in stats] == [("power 1", 6, 5, 5)]
        assert stats[0].bytes >= 5 * 48


def test_results_of_every_kind_are_kept(scratch):
    results = [1, 2.5, True, 3j, "text", "", b"bytes\0", None, np.arange(5), np.ones((2, 3), "c8"), np.array([7]), np.array(2.0),
               np.zeros((0, 4)), np.array([b"ab", b"c"]), (1, None, np.arange(3.0)), (), (5,), np.float32(0.5)]
    with cpagent.open(scratch) as cp:
        @cp.memo("kinds")
        def result(i):
            return results[i]

        for i, wanted in enumerate(results):
            first, again = result(i), result(i)
            assert repr(first) == repr(wanted) and type(again) is type(wanted) or i == len(results) - 1, again
            assert repr(again) == repr(wanted), (again, wanted)
        assert result.hits == result.misses == len(results)


def test_arguments_of_every_kind_are_told_apart(scratch):
    arguments = [1, 1.0, True, "1", b"1", None, (1,), [1], (1, 1), ((1,), 1), (1, (1,)), np.array([1]), np.array(1), np.array([[1]]),
                 [], (), "", b"", 1j]
    with cpagent.open(scratch) as cp:
        @cp.memo("arguments")
        def number(x, *rest, **more):
            return len(numbers)

        numbers = []
        for again in range(2):
            for i, argument in enumerate(arguments):
                assert number(argument) == i
                if not again:
                    numbers.append(i)
        assert number.hits == len(arguments)
        assert number(1, 2) == number(1, a=2) == number(1, 2, a=2) == len(numbers)
        assert number.misses == len(arguments) + 3
        raises(TypeError, lambda: number(object()), "variable x")
        raises(TypeError, lambda: number(), "x")


def test_a_memo_outlives_the_process_and_can_be_forgotten(scratch):
    def ask(cp, **settings):
        cp.memo_set(**settings)

        @cp.memo("slow")
        def slow(x):
            return x * 2

        assert slow(21) == 42
        return slow.hits

    with cpagent.open(scratch) as cp:
        assert ask(cp, compare=True) == 0
    with cpagent.open(scratch) as cp:
        assert ask(cp, compare=True) == 1 and ask(cp, limit=1 << 20) == 1
        cp.memo_reset("slow")
        assert ask(cp) == 0 and ask(cp) == 1
        cp.memo_reset()
        assert cp.memos() == [] and ask(cp) == 0 and cp.keys() == []


def test_a_memo_can_be_turned_off(scratch):
    with cpagent.open(scratch) as cp:
        @cp.memo("off")
        def twice(x):
            return 2 * x

        twice.off = True
        assert twice(1) == 2 and cp.memos() == []
        twice.off = False
        cp.memo_enable("off", False)
        assert twice(1) == 2 and cp.memos() == []
        cp.memo_enable("off")
        assert twice(1) == 2 and twice(1) == 2 and twice.hits == 1


def test_what_raises_or_cannot_be_kept_is_not(scratch):
    with cpagent.open(scratch) as cp:
        @cp.memo("fails")
        def fails(x):
            if x == 1:
                raise KeyError("mine")
            return {} if x == 2 else x

        for again in range(2):
            raises(KeyError, lambda: fails(1), "mine")
            raises(TypeError, lambda: fails(2), "fails", "dict")
        assert fails(3) == fails(3) == 3 and fails.hits == 1


def test_a_computation_in_place_is_found_by_what_it_was_given(scratch):
    with cpagent.open(scratch) as cp:
        @cp.memo("sorts")
        def first_before_sorting(x):
            first = x[0]
            x.sort()
            return float(first)

        assert first_before_sorting(np.array([3.0, 1.0, 2.0])) == 3
        assert first_before_sorting(np.array([1.0, 2.0, 3.0])) == 1
        assert first_before_sorting(np.array([3.0, 1.0, 2.0])) == 3 and first_before_sorting.hits == 1


def test_a_memo_that_does_not_fit_costs_nothing_but_itself(scratch):
    with cpagent.open(scratch, budget=1 << 20) as cp:
        @cp.memo("large")
        def large(n):
            return np.ones(n)

        for again in range(2):
            assert large(1 << 20).size == 1 << 20
        assert large.hits == 0 and large(10).size == large(10).size and large.hits == 1


def test_the_memo_of_the_whole_program_opens_its_arena_when_it_is_called(scratch):
    script = os.path.join(scratch, "program.py")
    with open(script, "w") as f:
        f.write("import cpagent\n@cpagent.memo('m')\ndef f(x): return x + 1\n"
                "assert cpagent._default is None\nassert f(1) == 2\nprint(f.hits)\n")
    for hits in ("0", "1"):
        made = subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, XDG_STATE_HOME=scratch))
        assert made.stdout.strip() == hits
    assert os.path.exists(os.path.join(scratch, "cpagent", "program.py.arena"))


# ---- a program's life --------------------------------------------------------------------------------------
def test_the_first_life_is_a_fresh_one(scratch):
    heard = []
    with cpagent.open(scratch) as cp:
        assert cp.incarnation() == (0, "fresh")
        cp.on_init(lambda handle, began: heard.append((handle is cp, began)))
        assert heard == [(True, "fresh")]

        @cp.on_restart
        def later(handle, incarnation):
            heard.append("restart")

        cp.checkpoint("k", x=1)
        assert len(heard) == 1

        def fails(handle, began):
            raise ZeroDivisionError("in the callback")

        raises(ZeroDivisionError, lambda: cp.on_init(fails), "in the callback")


ENDS = """
import cpagent, os, signal, sys
cp = cpagent.open(sys.argv[1])
@cp.on_term
def first_added(handle, number):
    print("last", number, flush=True)
@cp.on_term
def last_added(handle, number):
    handle.checkpoint("end", signal=number)
    print("first", number, flush=True)
if os.fork() == 0:
    sys.exit(0)
os.wait()
how = sys.argv[2]
if how == "term":
    os.kill(os.getpid(), signal.SIGTERM)
    print("not reached", flush=True)
elif how == "handled":
    pass
elif how == "closed":
    cp.close()
"""


def ends(scratch, how):
    made = subprocess.run([sys.executable, "-c", ENDS, scratch, how], stdout=subprocess.PIPE, text=True)
    return made.returncode, made.stdout.split("\n")[:-1]


def test_callbacks_run_once_at_the_end_the_last_one_first(scratch):
    assert ends(scratch, "exit") == (0, ["first 0", "last 0"])
    with cpagent.open(scratch, name="python") as cp:
        assert cp.restore("end") == {"signal": 0}


def test_callbacks_run_on_sigterm_and_the_signal_still_ends_the_program(scratch):
    assert ends(scratch, "term") == (-signal.SIGTERM, ["first 15", "last 15"])
    with cpagent.open(scratch, name="python") as cp:
        assert cp.restore("end") == {"signal": 15}


def test_a_closed_handle_has_no_callbacks(scratch):
    assert ends(scratch, "closed") == (0, [])


def test_a_handler_that_was_there_is_called_after_the_callbacks(scratch):
    program = ("import cpagent, os, signal, sys\nsignal.signal(15, lambda *_: print('handler'))\n"
               "cp = cpagent.open(sys.argv[1])\ncp.on_term(lambda *_: print('callback'))\n"
               "os.kill(os.getpid(), 15)\nprint('goes on')\n")
    made = subprocess.run([sys.executable, "-c", program, scratch], stdout=subprocess.PIPE, text=True, check=True)
    assert made.stdout.split() == ["callback", "handler", "goes", "on"]


def test_when_a_checkpoint_is_due(scratch):
    with cpagent.open(scratch) as cp:
        assert cp.should_checkpoint()
        cp.checkpoint("k", x=1)
        cp.set_due(every=3600)
        assert not cp.should_checkpoint() and cp.get_due() == 3600
        cp.set_due(mtbf=3600)
        assert 0 < cp.get_due() < 3600
        raises(ValueError, lambda: cp.set_due(every=-1))
    with cpagent.open(scratch) as cp:
        cp.set_due(every=1e-9)
        assert cp.should_checkpoint()


def test_intervals_are_kept(scratch):
    with cpagent.open(scratch) as cp:
        cp.set_interval(update=5, save=60)
        assert cp.get_interval() == (5, 60)
        cp.stop()
        cp.start()
        raises(ValueError, lambda: cp.set_interval(update=float("nan")))


def test_without_an_agent_its_calls_say_so(scratch):
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", x=1)
        for call in (lambda: cp.snapshot(1), lambda: cp.register("tcp://127.0.0.1:1", 1), lambda: cp.wait("k", 2, 1),
                     lambda: cp.restore("k", level=2)):
            assert raises(cpagent.NotHeld, call).code == -8
        cp.wait("k", 1, 0)


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
