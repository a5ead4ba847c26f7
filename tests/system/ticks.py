"""What jobs/ticker.py has written: where and when a job ran, and that it never ran twice."""
import os
import sys

from agents import wait_until

TICKER = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs/ticker.py")]


def read(path):
    """[(time in s, address, tick, incarnation)] by time; a last line that is still being written is left out."""
    try:
        with open(path) as f:
            lines = f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    fields = [line.split() for line in lines]
    return sorted((int(t) / 1e9, where, int(n), int(incarnation)) for t, where, n, incarnation in fields)


def stays(path):
    """[(address, first, last)]: the job's stays on nodes, one after another."""
    out = []
    for t, where, _, _ in read(path):
        if out and out[-1][0] == where:
            out[-1] = (where, out[-1][1], t)
        else:
            out.append((where, t, t))
    return out


def assert_went(path, *nodes):
    """It ran on these nodes one after another, and at no time on two: two copies would take turns."""
    went = stays(path)
    assert [where for where, _, _ in went] == [n.address for n in nodes], "it ran here: %s" % (went,)


def last(path):
    ticks = read(path)
    return ticks[-1] if ticks else None


def wait_more(path, count=5, timeout=10):
    """Until it has ticked again, count times."""
    have = len(read(path))
    wait_until(lambda: len(read(path)) >= have + count, timeout, "%d more ticks in %s" % (count, path))


def wait_on(path, node, timeout):
    """Until it ticks on this node; the moment of its first tick there, of this stay."""
    wait_until(lambda: (last(path) or (0, ""))[1] == node.address, timeout, "ticks on %s" % node.name)
    return stays(path)[-1][1]


def went_back(path, timeout=10):
    """Until its ticks have gone back, as after a restore; the tick that it went on from, the last time."""
    def found():
        n = [tick for _, _, tick, _ in read(path)]
        return [b for a, b in zip(n, n[1:]) if b <= a]
    return wait_until(found, timeout, "%s goes back to an earlier tick" % path)[-1]
