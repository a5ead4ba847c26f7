"""Figures of real agents on nodes of namespaces (tests/system/nodes.py): launching, idling, a job's own speed, and
what a lost node costs."""
import json
import os
import random
import statistics
import subprocess
import sys
import time

from agents import BUILD, wait_until
from nodes import Cluster

HERE = os.path.dirname(os.path.abspath(__file__))
COUNTER = os.path.join(BUILD, "hooks/examples/counter")
CLI = os.path.join(BUILD, "cpagent")
LEASE = 2
IDLE_SECONDS = 10
LAUNCHES = 41
PAGE = os.sysconf("SC_PAGE_SIZE")


def timed(node, *args):
    """Run timed.py on the node: what it measured, as lists of seconds."""
    argv = node.command([sys.executable, os.path.join(HERE, "timed.py"), *map(str, args)])
    return json.loads(subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout)


# ---- launching -----------------------------------------------------------------------------------

def launch(table, alone, below):
    unshare = "unshare --fork --pid --mount-proc /bin/true"
    for node, where in ((alone, "an agent alone"), (below, "a node with a parent")):
        ours, peer, plain = timed(node, "commands", LAUNCHES, CLI + " run -- /bin/true", unshare, "/bin/true")
        ms = statistics.median(ours) * 1e3
        table.add("run /bin/true, " + where, ms, "ms", limit=30, peer=statistics.median(peer) * 1e3, peer_is="unshare")
        if node is alone:
            table.add("  beside fork + exec", ms, "ms", peer=statistics.median(plain) * 1e3, peer_is="/bin/true")


# ---- idling --------------------------------------------------------------------------------------

def cpu_seconds(pid):
    """Of all its threads, by the scheduler's own clock: /proc/PID/stat counts in hundredths."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
            total += int(f.read().split()[0])
    return total / 1e9


def resident_mib(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * PAGE / 2**20


def idle(table, agents):
    pids = [(where, node.agent_pid()) for where, node in agents]
    before = [cpu_seconds(pid) for _, pid in pids]
    began = time.monotonic()
    time.sleep(IDLE_SECONDS)
    took = time.monotonic() - began
    for (where, pid), used in zip(pids, before):
        table.add("idle, %s: processor" % where, (cpu_seconds(pid) - used) / took * 100, "%", limit=0.5)
        table.add("idle, %s: resident" % where, resident_mib(pid), "MiB", limit=20)


# ---- a job that takes no checkpoint --------------------------------------------------------------

def slowdown(table, node):
    """The same loop by turns inside and outside; the fastest of each, because what else runs here only slows down. The
    limit is on the time spent computing: the time that passed is mostly about who else computes on this machine."""
    wall, spent, wall_outside, spent_outside = map(min, zip(*timed(node, "loops", 15, CLI + " run --")))
    table.add("a job's own speed: spent on the same work", spent, "s", peer=spent_outside, peer_is="outside", most=1.03)
    table.add("  until it was done", wall, "s", peer=wall_outside, peer_is="outside")


# ---- a lost node ---------------------------------------------------------------------------------

def ticks(path):
    with open(path) as f:
        return [tuple(map(int, line.split())) for line in f.read().split("\n")[:-1]]


def held_above(node, job, what):
    def there():
        newest = node.job(job)[what]
        return newest and newest["level"] >= 2 and (what == "keys" or newest["generation"] >= 2)
    wait_until(there, 20, "level 2 holds %s of %s" % (what, job))


def lose_once(cluster, top, name, mode):
    """A job on a node of its own, whose plug is then pulled; seconds until the job computes on another one."""
    node = cluster.add("lost-" + name)
    node.agent_start(parent=top.url, key=cluster.key)
    cluster.wait_up(top, node)
    out = os.path.join(cluster.shared, name)
    every = ["--every", "300ms"] if mode == "process" else []
    node.run("--name", name, "--mode", mode, "--files", "shared", *every, "--", COUNTER, "--ticks", 0, "--out", out)
    held_above(node, name, "keys" if mode == "keyed" else "snapshot")
    time.sleep(random.uniform(0, 0.3))  # anywhere in a lease's tenth
    gone = time.time()
    node.pull_plug()
    # it ticks every millisecond and died in a few: what ticks later does so elsewhere
    first = wait_until(lambda: [t for _, t, _ in ticks(out) if t / 1e9 > gone + 0.5], 20, "it computes again")[0]
    top.cli("stop", "--grace", 0, name)
    return first / 1e9 - gone


def lost_node(table, cluster, top):
    took = {"keyed": [], "process": []}
    for turn in range(3):
        for mode in took:
            took[mode].append(lose_once(cluster, top, "%s%d" % (mode, turn), mode))
    for mode, source in (("keyed", "its keys"), ("process", "a snapshot")):
        table.add("plug pulled, lease %d s: runs from %s" % (LEASE, source), statistics.median(took[mode]), "s",
                  limit=LEASE + 1.5)
        table.add("  the longest of %d" % len(took[mode]), max(took[mode]), "s", limit=LEASE + 1.5)


def measure(table):
    with Cluster() as cluster:
        alone = cluster.add("alone")
        alone.agent_start(update=None, lease=None, save=None)
        top, n1, n2 = cluster.standard(lease="%ds" % LEASE, update=None, save=None)
        launch(table, alone, n1)
        slowdown(table, alone)
        idle(table, [("an agent alone", alone), ("a node, lease %d s" % LEASE, n2), ("its parent, 2 nodes", top)])
        top.agent_term()
        top.agent_start(**{**top.options, "update": "1s"})
        cluster.wait_up(top, n1)
        cluster.wait_up(top, n2)
        lost_node(table, cluster, top)
