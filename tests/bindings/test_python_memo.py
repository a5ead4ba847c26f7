#!/usr/bin/env python3
"""import cpagent: memos, by their decorator."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import raises

if __name__ == "__main__":
    harness.as_tests_need()

import numpy as np

import cpagent


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
        raises(TypeError, lambda: number({"a": 1}), "variable x", "dict")
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


def test_a_result_of_many_parts_is_kept_as_far_as_there_is_room(scratch):
    with cpagent.open(scratch) as cp:
        @cp.memo("parts")
        def parts(n):
            return tuple(range(n))

        for n in (20, 200):
            assert parts(n) == parts(n) == tuple(range(n))
        assert (parts.hits, parts.misses) == (1, 3)


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


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
