#!/usr/bin/env python3
"""import cpagent: a program's life, and what it hears of its agent when it has none."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import raises

if __name__ == "__main__":
    harness.as_tests_need()

import cpagent


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


def test_alone_a_program_is_a_group_of_one(scratch):
    with cpagent.open(scratch) as cp:
        raises(cpagent.NoKey, lambda: cp.version("k"), "k")
        assert cp.version("k", default=None) is None
        cp.keep("k", 2)
        for i in range(3):
            cp.checkpoint("k", x=i)
        assert cp.version("k") == cp.version("k", timeout=1) == cp.version() == 3
        assert cp.restore("k", version=cp.version("k") - 1) == {"x": 1}
        raises(cpagent.NotHeld, lambda: cp.version("k", group="others"), "others")


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


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
