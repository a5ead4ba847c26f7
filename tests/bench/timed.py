"""Runs on a node and times what it is told to, in turns, so that all see the same machine. Prints lists of seconds.

timed.py commands N COMMAND...: from start to status of each. timed.py loops N PREFIX: of a loop, behind PREFIX and
without it, as it says itself: [passed, spent] of each.
"""
import json
import os
import subprocess
import sys
import time

LOOP_SECONDS = 0.5
LOOP = """
import sys, time
def work(n):
    x = 1
    for i in range(n):
        x = x * 3 % 1000003
    return x
began = time.perf_counter(), time.process_time()
work(int(sys.argv[1]))
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def once(argv):
    began = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    if os.waitpid(pid, 0)[1]:
        sys.exit("timed: %s failed" % " ".join(argv))
    return time.perf_counter() - began


def loop_seconds(prefix, turns):
    """(passed, spent computing)"""
    argv = [*prefix, sys.executable, "-c", LOOP, str(turns)]
    return [float(word) for word in subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.split()]


def loop_turns():
    """How many turns of the loop take LOOP_SECONDS here."""
    n = 1000000
    return int(n * LOOP_SECONDS / loop_seconds([], n)[1])


def loops(times, prefix):
    turns = loop_turns()
    return [loop_seconds(prefix, turns) + loop_seconds([], turns) for _ in range(times)]


def main(what, times, *commands):
    commands = [c.split() for c in commands]
    if what == "loops":
        return loops(int(times), commands[0])
    for argv in commands:
        once(argv)
    return [list(column) for column in zip(*[[once(argv) for argv in commands] for _ in range(int(times))])]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
