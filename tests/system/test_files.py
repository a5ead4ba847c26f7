"""The files that a job writes, when it goes on on a node that lacks them."""
import os

import ticks
from agents import wait_until
from harness import test

FRESH = True
OUT = "/run/private/out"


def setup(cluster):
    return (cluster, *cluster.standard(lease="2s"))


def start(c, node, *options):
    """A ticker whose output lies on this node alone."""
    path = os.path.join(c.shared, "ticker")
    node.do("mkdir", "-p", os.path.dirname(OUT))
    node.run("--name", "ticker", *options, "--", *ticks.TICKER, path, OUT)
    ticks.wait_more(path)
    node.cli("checkpoint", "--level", "2", "ticker")
    return path


@test
def a_carried_file_is_there_on_a_node_that_lacked_it(c, top, n1, n2):
    path = start(c, n1, "--files", "carry")
    ticks.wait_more(path, 20)
    n1.pull_plug()
    ticks.wait_on(path, n2, 15)
    ticks.wait_more(path, 20)
    n2.cli("stop", "--grace", "0", "ticker")
    with open(n2.path(OUT)) as f:
        got = [int(line) for line in f.read().split("\n")[:-1]]
    assert got == list(range(len(got))) and len(got) > 20, got


@test
def a_missing_file_that_is_not_carried_is_named(c, top, n1, n2):
    """A small file travels in any case, so this one is large."""
    n1.do("mkdir", "-p", os.path.dirname(OUT))
    n1.do("dd", "if=/dev/zero", "of=" + OUT, "bs=1M", "count=3")
    writer = "exec 3>>%s; while :; do echo x >&3; sleep 0.05; done" % OUT
    n1.run("--name", "writer", "--mode", "process", "--", "bash", "-c", writer)
    wait_until(lambda: os.path.getsize(n1.path(OUT)) > 3 << 20, 10, "it writes")
    n1.cli("checkpoint", "--level", "2", "writer")
    n1.pull_plug()
    n2.wait_log(r"start_source_failed .*%s" % OUT, 15)
