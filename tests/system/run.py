#!/usr/bin/env python3
"""run.py [TOPIC | PART-OF-A-NAME]...: the system tests: real agents, programs and CRIU on namespaced nodes.

One process per topic (test_TOPIC.py), as many at a time as there are processors. B names the build, SAN tells that it
has sanitizers. Prints what failed and, last, "N passed, N failed".
"""
import concurrent.futures
import glob
import importlib
import os
import re
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
RESULT = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)


def topics():
    return [os.path.basename(p)[5:-3] for p in sorted(glob.glob(os.path.join(HERE, "test_*.py")))]


def run_topic(topic, words):
    """In this process."""
    import harness
    module = importlib.import_module("test_" + topic)
    chosen = [t for t in module.TESTS if topic in words or not words or any(w in t.__name__ for w in words)]
    passed = harness.Topic(module).run(chosen) if chosen else 0
    print("%d passed, %d failed" % (passed, len(chosen) - passed))
    return 0 if passed == len(chosen) else 1


class Workers:
    """The topics' processes; on SIGTERM and Ctrl-C they end first, and clean up."""

    def __init__(self):
        self.running = set()

    def run(self, topic, words):
        process = subprocess.Popen([sys.executable, __file__, "--topic", topic, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace")
        self.running.add(process)
        out = process.communicate()[0]
        self.running.discard(process)
        found = RESULT.findall(out)
        if not found:
            return out + "%s ended with %d before it was done\n" % (topic, process.returncode), 0, 1
        return RESULT.sub("", out).rstrip() + "\n", int(found[-1][0]), int(found[-1][1])

    def end(self):
        for process in self.running:
            process.terminate()


def run_all(words):
    passed = failed = 0
    workers = Workers()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            pending = {pool.submit(workers.run, topic, words): topic for topic in topics()}
            for done in concurrent.futures.as_completed(pending):
                out, p, f = done.result()
                passed, failed = passed + p, failed + f
                if p or f:
                    print("== %s\n%s" % (pending[done], out), end="", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.end()
            raise
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def main(args):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs this in the background has it ignored
    if args[:1] == ["--topic"]:
        return run_topic(args[1], args[2:])
    return run_all(args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
