#!/usr/bin/env python3
"""import cpagent: what programs do by mistake, or at a bad moment."""
import copy
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import raises

if __name__ == "__main__":
    harness.as_tests_need()

import numpy as np

import cpagent
from cpagent import _types
from cpagent._lib import lib


# ---- values -----------------------------------------------------------------------------------------------
def test_types_have_the_names_that_c_has_for_them(scratch):
    assert {code: lib.cpa_type_name(code).decode() for code in _types.NAMES} == _types.NAMES


def test_an_array_that_would_come_back_as_another_thing_is_refused(scratch):
    u = np.ones(3)
    with cpagent.open(scratch) as cp:
        for bad in (np.ma.array(u, mask=[0, 1, 0]), np.matrix([[1.0]])):
            raises(TypeError, lambda: cp.checkpoint("k", wrong=bad), "wrong", "numpy.asarray")
            raises(TypeError, lambda: cp.restore_into("k", wrong=bad) if "k" in cp else cp.protect("wrong", bad), "wrong")
            raises(TypeError, lambda: cp.memo("m")(lambda x: x)(bad), "x:")
            raises(TypeError, lambda: cp.memo("m")(lambda x: bad)(1), "cannot be kept")
            cp.checkpoint("k", wrong=u)


def test_a_refusal_says_what_can_be_kept_instead(scratch):
    with cpagent.open(scratch) as cp:
        for bad, instead in ((np.zeros(3, "M8[s]"), np.zeros(3, "M8[s]").view("i8")), (np.zeros(3, "f2"), None),
                             (np.array(["a"]), None), (np.zeros(3, ">i4"), None),
                             (np.zeros(3, [("a", "i4")]), np.zeros(3, [("a", "i4")])["a"])):
            raises(TypeError, lambda: cp.checkpoint("k", u=bad), "variable u", "keep ")
            raises(TypeError, lambda: cp.protect("u", bad), "keep ")
            if instead is not None:
                cp.checkpoint("k", u=instead)
        raises(cpagent.BadArgument, lambda: cp.checkpoint("k", s="\ud800"), "variable s", "bytes")


def test_numbers_and_functions_of_a_wrong_type_are_named(scratch):
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", x=1, level=np.int64(1))
        for call, word in ((lambda: cp.checkpoint("k", x=1, level=1.0), "level"), (lambda: cp.restore("k", level="1"), "level"),
                           (lambda: cp.restore("k", version=1.5), "version"), (lambda: cp.keep("k", "3"), "versions"),
                           (lambda: cpagent.open(scratch, budget=1e9), "budget"), (lambda: cp.on_term(None), "on_term()"),
                           (lambda: cp.on_restart(5), "on_restart()"), (lambda: cp.memo("m")(5), "memo()"),
                           (lambda: cp.memo(lambda x: x), "@memo('name 1')"), (lambda: cpagent.memo(len), "@memo('name 1')"),
                           (lambda: cp.checkpoint("k", x=[1, 2]), "numpy.asarray"), (lambda: cp.checkpoint("k", x={}), "entries")):
            raises(TypeError, call, word)
        for call, word in ((lambda: cp.restore("k", version=-1), "version: -1"), (lambda: cp.memo_set(limit=-1), "limit: -1"),
                           (lambda: cpagent.open(scratch, budget=-1), "budget: -1")):
            raises(cpagent.BadArgument, call, word)
        assert cp.restore("k", version=np.uint8(1)) == {"x": 1}
        cp.wait("k", 1, None)


# ---- handles ----------------------------------------------------------------------------------------------
def test_a_handle_is_not_copied_nor_sent_to_another_process(scratch):
    with cpagent.open(scratch) as cp:
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            raises(TypeError, lambda: make(cp), "cpagent.open()")


def test_forked_workers_share_a_handle(scratch):
    with cpagent.open(scratch) as cp:
        def work(i):
            cp.checkpoint("worker %d" % i, u=np.full(1000, i))

        workers = [multiprocessing.get_context("fork").Process(target=work, args=(i,)) for i in range(8)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        assert [w.exitcode for w in workers] == [0] * 8
        assert all((cp.restore("worker %d" % i)["u"] == i).all() for i in range(8))


def test_handles_come_and_go_with_regions_and_callbacks(scratch):
    import resource
    for i in range(300):
        cp = cpagent.open(scratch, budget=1 << 20)
        cp.protect("u", np.full(5000, i))
        cp.on_restart(lambda *_: None)
        cp.checkpoint_protected("state")
        cp.ring = cp  # a cycle, so that only the collector finds it
        if i == 100:
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del cp
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10
    assert len(os.listdir("/proc/self/fd")) < 50


ENDS = {
    "open": "cp.checkpoint('k', x=1)",
    "regions": "cp.protect('u', bytearray(100000)); cp.checkpoint_protected('r')",
    "a cycle": "import gc; gc.disable(); cp.me = cp",
    "in a module": "import types; m = types.ModuleType('m'); sys.modules['m'] = m; m.cp = cp; del cp",
    "a callback after all is gone": "cp.on_term(lambda h, s: h.checkpoint('end', s=s))",
    "a callback that raises": "cp.on_term(lambda h, s: h.nothing)",
    "atexit": "import atexit; atexit.register(lambda: cp.checkpoint('end', s=1))",
    "a daemon thread": "import threading\ndef work():\n    while True: cp.checkpoint('t', x=b'x' * 1000)\n"
                       "threading.Thread(target=work, daemon=True).start()\ncp.checkpoint('k', x=1)",
    "an exception": "raise SystemExit(0)",
}


def test_an_interpreter_ends_in_peace(scratch):
    for name, code in ENDS.items():
        program = "import cpagent, sys\ncp = cpagent.open(%r)\n%s\n" % (scratch, code)
        made = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, timeout=60)
        said = made.stderr if name != "a callback that raises" else made.stderr.replace("AttributeError", "", 1)
        assert made.returncode == 0, "%s: status %d: %s" % (name, made.returncode, made.stderr)
        if name == "a callback that raises":
            assert "no attribute 'nothing'" in said
        else:
            assert said == "", "%s: %s" % (name, said)
    with cpagent.open(scratch, name="python") as cp:
        assert cp.restore("end") == {"s": 1} and cp.restore("k") == {"x": 1}


# ---- signals ----------------------------------------------------------------------------------------------
def test_an_interrupt_amid_checkpoints_leaves_whole_versions(scratch):
    program = ("import cpagent, numpy, sys\ncp = cpagent.open(%r, name='p')\ni = 0\nprint('on', flush=True)\n"
               "try:\n    while True:\n        i += 1\n        cp.checkpoint('k', i=i, u=numpy.full(100000, i))\n"
               "except KeyboardInterrupt:\n    cp.checkpoint('last', i=i)\n    print('interrupted', flush=True)\n" % scratch)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as p:
            assert p.stdout.readline() == "on\n"
            with cpagent.open(scratch, name="p") as cp:
                while "k" not in cp:
                    time.sleep(0.001)
                p.send_signal(signal.SIGINT)
                assert p.stdout.readline() == "interrupted\n" and p.wait(60) == 0
                back = cp.restore("k")
                assert (back["u"] == back["i"]).all() and cp.restore("last")["i"] - back["i"] in (0, 1)
                cp.reset()


def test_an_interrupt_ends_a_wait(scratch):
    """An arena that is served, by nobody: cpa_wait(..., -1) waits for ever."""
    with cpagent.open(scratch) as cp:
        cp.checkpoint("k", x=1)
        called, real = [], lib.cpa_wait
        lib.cpa_wait = lambda *a: called.append(a[3]) or -9  # as it answers when nothing has come
        try:
            timer = threading.Thread(target=lambda: (wait_for(called), os.kill(os.getpid(), signal.SIGINT)))
            timer.start()
            raises(KeyboardInterrupt, lambda: cp.wait("k", 2))
            timer.join()
            assert set(called) == {1.0}
            raises(cpagent.Timeout, lambda: cp.wait("k", 2, 0.25), "key k", "level 2", "0.25 s")
            assert called[-1] <= 0.25
        finally:
            lib.cpa_wait = real
        raises(cpagent.NotHeld, lambda: cp.wait("k", 2))
        cp.wait("k", 1)


def wait_for(list_that_grows):
    while not list_that_grows:
        time.sleep(0.001)


# ---- memos ------------------------------------------------------------------------------------------------
@cpagent.memo("global")
def square(x):
    return x * x


def test_a_memo_can_be_sent_to_another_process(scratch):
    assert pickle.loads(pickle.dumps(square)) is square


def test_a_method_can_be_memoized_as_far_as_its_arguments_go(scratch):
    with cpagent.open(scratch) as cp:
        class Number(int):
            @cp.memo("power")
            def power(self, n):
                return int(self) ** n

        class Thing:
            @cp.memo("size")
            def size(self, n):
                return n

        assert Number(3).power(4) == Number(3).power(4) == 81 and Number.power.hits == 1
        raises(TypeError, lambda: Thing().size(1), "variable self", "Thing")


def test_long_lists_of_numbers_are_arguments(scratch):
    with cpagent.open(scratch) as cp:
        total = cp.memo("total")(lambda x: float(sum(x)))
        for x in ([1.5] * 50000, list(range(50000)), tuple(range(50000))):
            assert total(x) == total(x) == sum(x)
        assert total([1, 2]) == total((1, 2)) == total([1.0, 2.0]) == total([1, 2.0]) == total([True, 2]) == 3
        assert (total.hits, total.misses) == (3, 8)
        assert total([3, 2 ** 63 - 1]) == total([3, 2 ** 63 - 1])
        raises(OverflowError, lambda: total([1, 2 ** 70]), "x[1]")


def test_a_result_is_of_the_same_type_the_second_time(scratch):
    with cpagent.open(scratch) as cp:
        same = cp.memo("same")(lambda i: results[i])
        results = [1, 1.5, True, 2j, "text", b"bytes", None, np.float32(0.1), np.int8(3), np.bool_(True), np.float64(2),
                   np.complex64(1), np.array(3.0), np.array([3]), np.zeros((2, 0)), (np.float32(1), 2.0), np.longdouble(1) / 3]
        for i, r in enumerate(results):
            first, second = same(i), same(i)
            assert type(first) is type(second), "%r: %r, %r" % (r, first, second)
            assert np.array_equal(first, second) if not isinstance(r, tuple) else first == second
            if isinstance(r, tuple):
                assert [type(x) for x in second] == [type(x) for x in r]
        assert same.hits == same.misses == len(results)


def test_a_computation_that_fails_gives_back_what_it_began(scratch):
    with cpagent.open(scratch) as cp:
        dropped, real = [], lib.cpa_memo_drop
        lib.cpa_memo_drop = lambda m: dropped.append(bool(m)) or real(m)
        try:
            fails = cp.memo("fails")(lambda x: {0: 1 // x, 1: {}, 2: 2 ** 70, 3: 3}[x])
            raises(ZeroDivisionError, lambda: fails(0))
            raises(TypeError, lambda: fails(1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fails(2)
            assert dropped == [True] * 3
            assert fails(3) == 3 and not dropped[-1]
        finally:
            lib.cpa_memo_drop = real


def test_a_memo_that_keeps_nothing_says_so_once(scratch):
    with cpagent.open(scratch, budget=1 << 20) as cp:
        cases = {"the arena": lambda x: np.ones(1 << 20), "300 parts": lambda x: tuple(range(300)),
                 "64 bits": lambda x: 2 ** 70, "NUL": lambda x: "a\0b"}
        for why, function in cases.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                f = cp.memo("no " + why.replace(" ", ""))(function)
                f(1)
                f(2)
            assert len(caught) == 1 and why in str(caught[0].message), (why, [str(c.message) for c in caught])
            assert caught[0].filename == __file__ and f.hits == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cp.memo("closed")(lambda x: x)(1) == 1
    assert "closed?" in str(caught[0].message)


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
