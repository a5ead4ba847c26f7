"""Runs the tests of one topic (a module test_*.py): functions marked with @test, on a cluster that the module's
setup(cluster) builds; what that returns are the functions' arguments.

The tests of a topic share a cluster, which is built anew after a failed test, and for each test where the module says
FRESH = True. A failed test shows where it failed and what the agents have logged since it began.
"""
import contextlib
import signal
import sys
import time
import traceback

from agents import ENDED, SLOW, CommandFailed
from nodes import Cluster


class TooLong(Exception):
    pass


def test(function=None, *, limit=60):
    """limit: seconds that it may take, without sanitizers."""
    def mark(f):
        f.limit = limit * SLOW
        sys.modules[f.__module__].__dict__.setdefault("TESTS", []).append(f)
        return f
    return mark(function) if function else mark


@contextlib.contextmanager
def within(seconds):
    def late(*_):
        raise TooLong("longer than %d s" % seconds)
    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def end_jobs(nodes):
    """Nothing of one test runs on into the next. Every node is asked: they need not know of each other."""
    for node in nodes:
        if not node.process:
            continue
        for job in node.json("ps")["jobs"]:
            if job["state"] not in ENDED:
                with contextlib.suppress(CommandFailed):
                    node.cli("stop", "--grace", "0", job["job"])


def known(function, error):
    """What the test had in its variables when it failed, for an assertion that says nothing itself."""
    trace, found = error.__traceback__, {}
    while trace:
        if trace.tb_frame.f_code is function.__code__:
            found = trace.tb_frame.f_locals
        trace = trace.tb_next
    plain = (str, int, float, list, tuple, dict, set, bool, type(None))
    return ["%s = %.160r" % (k, v) for k, v in found.items() if isinstance(v, plain)]


def show(function, nodes, since):
    """Why it failed: the way to the failed line, and each agent's log."""
    print("FAILED: " + sentence(function))
    trace = traceback.format_exc().splitlines()
    print("\n".join("  " + line for line in trace))
    error = sys.exc_info()[1]
    if isinstance(error, AssertionError) and not error.args:
        print("\n".join("  with " + line for line in known(function, error)))
    for node in nodes:
        print("  -- log of %s" % node.name)
        print("\n".join("  | " + line for line in node.tail(since.get(node, 0)).splitlines()))


def sentence(function):
    return function.__name__.replace("_", " ")


class Topic:
    def __init__(self, module):
        self.module, self.cluster, self.fixture = module, None, ()
        self.fresh = getattr(module, "FRESH", False)

    def build(self):
        self.cluster = Cluster().__enter__()
        fixture = self.module.setup(self.cluster)
        self.fixture = fixture if isinstance(fixture, tuple) else (fixture,)

    def clear(self):
        if self.cluster:
            self.cluster.__exit__()
        self.cluster, self.fixture = None, ()

    def run_one(self, function):
        since, began = {}, time.monotonic()
        try:
            with within(function.limit):
                if not self.cluster:
                    self.build()
                since = {node: node.log_size() for node in self.cluster.nodes}
                function(*self.fixture)
                if not self.fresh:
                    end_jobs(self.cluster.nodes)
            passed = True
        except Exception:
            show(function, self.cluster.nodes if self.cluster else [], since)
            passed = False
        if not passed or self.fresh:
            self.clear()
        print("%s %6.1f s  %s" % ("ok    " if passed else "FAILED", time.monotonic() - began, sentence(function)),
              flush=True)
        return passed

    def run(self, functions):
        """How many passed."""
        try:
            return sum(self.run_one(f) for f in functions)
        finally:
            self.clear()
