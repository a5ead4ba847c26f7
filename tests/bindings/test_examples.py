#!/usr/bin/env python3
"""hooks/examples: each of the large ones is killed at random moments and started again, and its result is that of a run that
nobody disturbed, bit for bit; each of the small ones does what its first comment says."""
import glob
import os
import random
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import EXAMPLES, TOP

if __name__ == "__main__":
    harness.as_tests_need()

import cpagent

SEED = int(os.environ.get("CPA_EXAMPLES_SEED", random.randrange(10**6)))
KILLS = 6
TRIES = 60


def example(name):
    return os.path.join(EXAMPLES, name)


class Program:
    """One life of an example, in a session of its own so that it can be killed with all its processes."""

    def __init__(self, argv, **env):
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        start_new_session=True, env=harness.environment(**env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.kill()
        self.process.stdout.close()

    def lines(self):
        return (line.rstrip("\n") for line in self.process.stdout)

    def kill(self):
        """With -9, all its processes; what it had said by then."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it had ended by itself
        rest = self.process.stdout.read().splitlines()
        self.process.wait()
        for left in glob.glob("/dev/shm/__KMP_REGISTERED_LIB_%d_*" % self.process.pid):
            os.remove(left)  # clang's OpenMP removes it at exit
        return rest

    def end(self):
        """It ends well; its last words."""
        rest = self.process.stdout.read()
        assert self.process.wait() == 0, rest
        return rest.splitlines()


def run(*argv):
    with Program(argv) as program:
        return program.end()


def content(path):
    with open(path, "rb") as f:
        return f.read()


def number(line):
    return int(line.split()[-1])


def is_progress(line):
    return re.match(r"(step|band) \d+$", line)


def life(argv, lines, far):
    """Start it, and kill it when it has said so many lines (None: let it end). Returns whether it ended, and how far it
    came. far: how far the life before it came; it must not fall behind that."""
    with Program(argv) as program:
        for line in program.lines():
            if line.startswith(("started", "restored")):
                assert not far or (line.startswith("restored") and number(line) >= far), "%s, after %d" % (line, far)
            elif is_progress(line):
                far = number(line)
                lines = lines and lines - 1
                if lines == 0:
                    return False, max([far, *map(number, filter(is_progress, program.kill()))])
            else:
                assert line == "done", line
        program.end()
        return True, 0


def survives(argv, out):
    """Its result, when it was killed at random moments and started again, is that of a run that nobody disturbed."""
    print("CPA_EXAMPLES_SEED=%d" % SEED)
    rng = random.Random(SEED)
    run(*argv)
    reference = content(out)
    kills = far = 0
    for attempt in range(TRIES):
        os.path.exists(out) and os.remove(out)
        ended, far = life(argv, rng.randrange(1, 8) if kills < KILLS else None, far)
        if ended:
            assert content(out) == reference, "the result differs, after %d kills" % kills
            if kills >= KILLS:
                return
        elif os.path.exists(out):
            far = 0  # too late: it was done, and has forgotten its key or is about to
        else:
            kills += 1
    raise AssertionError("it was always done before it could be killed")


# ---- the large ones ------------------------------------------------------------------------------------
def test_heat_in_c_survives_kills(scratch):
    out = os.path.join(scratch, "plate")
    survives([example("heat"), "--size", "300", "--steps", "1000", "--every", "20", "--work", "4", "--out", out,
              "--arena", scratch], out)


def test_heat_in_fortran_survives_kills(scratch):
    out = os.path.join(scratch, "plate")
    survives([example("heat_fortran"), "300", "4000", "80", out, scratch], out)


def test_one_heat_goes_on_where_the_other_was_killed(scratch):
    """The checkpoint is the same from either language, and Python reads it."""
    c, f, arena = (os.path.join(scratch, name) for name in ("c", "f", "heat.arena"))
    in_c = [example("heat"), "--size", "100", "--steps", "2000", "--every", "20", "--out", c, "--arena", arena]
    in_fortran = [example("heat_fortran"), "100", "2000", "20", f, arena]
    with cpagent.open(scratch, name="heat"):
        pass
    run(*in_c)
    run(*in_fortran)
    assert content(c) == content(f)
    os.remove(c)
    ended, far = life(in_fortran, 5, 0)
    with cpagent.open(arena) as cp:
        state = cp.restore("plate", default=None)
    if not ended and state:
        assert state["step"] >= far > 0 and state["size"] == 100 and len(state["u"]) == 10000
        assert life(in_c, None, far) == (True, 0)
        assert content(c) == content(f)


def test_the_optimiser_survives_kills(scratch):
    out = os.path.join(scratch, "point.npy")
    survives([sys.executable, "-B", os.path.join(TOP, "hooks", "examples", "optimiser.py"), "--size", "2000", "--steps",
              "3000", "--every", "60", "--out", out, "--arena", scratch], out)


def test_openmp_survives_kills(scratch):
    out = os.path.join(scratch, "picture.pgm")
    survives([example("openmp"), "500", "50", out, scratch], out)


def test_ranks_alone_is_a_ring_of_one_and_survives_kills(scratch):
    out = os.path.join(scratch, "result")
    survives([example("ranks"), "--steps", "20000", "--every", "100", "--pace", "1", "--out", out, "--arena", scratch], out)


MONTECARLO = ["--workers", "3", "--samples", "1500000", "--every", "30000"]


def test_montecarlo_survives_kills_of_its_workers_and_of_all(scratch):
    rng = random.Random(SEED)
    print("CPA_EXAMPLES_SEED=%d" % SEED)
    out, undisturbed = os.path.join(scratch, "price"), os.path.join(scratch, "undisturbed")
    run(example("montecarlo"), *MONTECARLO, "--out", undisturbed, "--arena", scratch)
    argv, has = [example("montecarlo"), *MONTECARLO, "--out", out, "--arena", scratch], {}
    workers_killed = all_killed = 0

    def said(line):
        worker, pid, done = map(int, re.match(r"worker (\d+) pid (\d+) has (\d+)$", line).groups())
        assert done > has.get(worker, 0), "%s, after %d" % (line, has[worker])
        has[worker] = done
        return pid, done

    for attempt in range(TRIES):
        with Program(argv) as program:
            lines = rng.randrange(4, 25)
            for line in program.lines():
                pid, done = said(line)
                lines -= 1
                if lines == 0 and all_killed < 2 and rng.randrange(2):
                    for rest in program.kill():
                        said(rest)
                    all_killed += 1
                    break
                if lines == 0 and done < 1500000:
                    os.kill(pid, signal.SIGKILL)  # montecarlo starts it again
                    workers_killed += 1
                    lines = rng.randrange(4, 25)
            else:
                program.end()
                assert content(out) == content(undisturbed)
                has.clear()
                if all_killed >= 2 and workers_killed >= 2:
                    return
    raise AssertionError("it was always done before it could be killed")


# ---- the small ones --------------------------------------------------------------------------------------
def test_files_counts_its_runs_and_a_half_written_file_does_not_count(scratch):
    for n in (1, 2, 3):
        assert run(example("files"), scratch) == ["%d runs" % n]
    with cpagent.open(scratch, name="files") as cp:
        with open(cp._path(cpagent._lib.lib.cpa_route_file, "diary"), "w") as f:
            f.write("99 ru")  # and then it is killed
    assert run(example("files"), scratch) == ["4 runs"]


def test_memo_computes_once(scratch):
    first = run(example("memo"), "2", scratch)[0].split()
    again = run(example("memo"), "2", scratch)[0].split()
    other = run(example("memo"), "3", scratch)[0].split()
    assert (first[0], again[0], other[0]) == ("computed:", "known:", "computed:")
    assert first[1] == again[1] != other[1]


def test_callbacks_does_no_step_twice(scratch):
    with Program([example("callbacks"), "100000000", scratch]) as program:
        assert next(program.lines()) == "started at step 0"
        version = wait_for_key(scratch, "callbacks", "state")
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.process.wait() == -signal.SIGTERM
    with cpagent.open(scratch, name="callbacks") as cp:
        assert cp.keys() == ["state"] and cp.query("state").version > version  # taken because of the signal
        step = cp.restore("state")["step"]
    assert step > 0
    began, ended = run(example("callbacks"), str(step + 5), scratch)
    assert began.endswith("at step %d" % step) and ended == "ended at step %d" % (step + 5)
    with cpagent.open(scratch, name="callbacks") as cp:
        assert cp.restore("state")["step"] == step + 5  # taken at exit


def wait_for_key(scratch, name, key):
    """Until the program has just committed a second version; it is in the middle of its work then. Which one it was."""
    with cpagent.open(scratch, name=name) as cp:
        while key not in cp or cp.query(key).version < 2:
            os.sched_yield()
        return cp.query(key).version


def test_snapshot_says_that_it_needs_an_agent(scratch):
    with Program([example("snapshot")], XDG_STATE_HOME=scratch) as program:
        assert "agent" in program.process.stdout.read() and program.process.wait() == 1


if __name__ == "__main__":
    sys.exit(harness.run(sys.modules[__name__]))
