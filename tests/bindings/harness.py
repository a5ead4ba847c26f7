"""What the tests of the bindings share: where the build is, scratch directories, and how tests are run and counted."""
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
B = os.path.abspath(os.path.join(TOP, os.environ.get("B", "build/default")))
PLAIN = os.path.join(B, "plain") if os.environ.get("SAN") else B  # never sanitized: see the Makefile
PYTHON_PATH = os.path.join(TOP, "hooks", "python")
EXAMPLES = os.path.join(PLAIN, "hooks", "examples")
SLOW = 4 if os.environ.get("SAN") else 1  # a machine that builds and tests with sanitizers is a busy one


def environment(**more):
    """For programs that tests start: as the tests themselves, but nothing of an agent's job."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CPAGENT_")}
    env.update(CPAGENT_LIB=PLAIN, PYTHONPATH=PYTHON_PATH, PYTHONDONTWRITEBYTECODE="1", **more)
    return env


def python_with_numpy():
    """The interpreter for tests: this one, if it has NumPy, else the system's."""
    import subprocess
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    return sys.executable


def as_tests_need():
    """Run this script again by an interpreter that has NumPy, with the library that was built."""
    if os.environ.get("CPAGENT_TESTING") == "yes":
        os.environ.pop("CPAGENT_TESTING")
        return
    python = python_with_numpy()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that runs this in the background has it ignored
    os.execve(python, [python, "-B", *sys.argv], environment(CPAGENT_TESTING="yes", B=B, SAN=os.environ.get("SAN", "")))


class Scratch:
    """A directory for one test, in memory where that is possible."""

    def __enter__(self):
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.path = tempfile.mkdtemp(prefix="cpa-test-", dir=place)
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def raises(kind, call, *words):
    """The exception that call raises: of that kind, its message with these words in it."""
    try:
        call()
    except kind as e:
        for word in words:
            assert word in str(e), "%r does not say %r" % (str(e), word)
        return e
    raise AssertionError("%s was not raised" % kind.__name__)


def run(module):
    """Run every function whose name begins with test_, give each a scratch directory, print their sentences and last
    "N passed, N failed". An argument runs only those whose name contains it."""
    tests = {n: f for n, f in vars(module).items() if n.startswith("test_") and callable(f)}
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    passed = failed = 0
    for name, test in tests.items():
        if only not in name:
            continue
        began = time.monotonic()
        try:
            with Scratch() as scratch:
                test(scratch)
            passed += 1
            verdict = "ok    "
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed += 1
            verdict = "FAILED"
        print("%s %s (%.1f s)" % (verdict, name[5:].replace("_", " "), time.monotonic() - began), flush=True)
    print("%d passed, %d failed" % (passed, failed), flush=True)
    return 1 if failed or not passed else 0
