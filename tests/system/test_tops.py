"""Two top agents, each with a registry of its own: nodes turn to the other one, with their jobs, and nothing runs twice."""
import os

import ticks
from agents import ended, wait_until
from harness import test

FRESH = True
LEASE = 2


def setup(cluster):
    one, two = cluster.add("top1"), cluster.add("top2")
    for top in (one, two):
        top.agent_start(level=2, listen=top.url, key=cluster.key, lease="%ds" % LEASE)
    n1, n2 = cluster.add("n1"), cluster.add("n2")
    for node in (n1, n2):
        node.agent_start(parent=[one.url, two.url], key=cluster.key, lease="%ds" % LEASE)
        cluster.wait_up(one, node)
    return cluster, one, two, n1, n2


def start_carried(c, node, name):
    path = os.path.join(c.shared, name)
    node.run("--name", name, "--files", "shared", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    node.cli("checkpoint", "--level", "2", name)
    return path


@test
def the_loss_of_one_top_agent_costs_no_job(c, one, two, n1, n2):
    path = start_carried(c, n1, "kept")
    pid = n1.job("kept")["pid"]
    one.pull_plug()
    c.wait_up(two, n1, 15)
    c.wait_up(two, n2, 15)
    job = two.wait_job("kept", 10, state="running")
    assert (job["node"], job["pid"], job["incarnation"]) == (n1.agent_name, pid, 0), job
    ticks.wait_more(path, int(50 * 2 * LEASE), timeout=30)
    ticks.assert_went(path, n1)
    assert n2.run("--name", "new", "--", "true")


@test
def a_node_lost_under_the_second_top_agent_is_replaced(c, one, two, n1, n2):
    path = start_carried(c, n1, "moved")
    one.agent_kill()
    c.wait_up(two, n1, 15)
    c.wait_up(two, n2, 15)
    wait_until(lambda: (two.job("moved") or {"node": None})["node"] == n1.agent_name, 10, "top2 has it")
    n1.cli("checkpoint", "--level", "2", "moved")
    one.agent_start()
    n1.pull_plug()
    ticks.wait_on(path, n2, 25)
    ticks.wait_more(path, int(50 * 2 * LEASE), timeout=30)
    ticks.assert_went(path, n1, n2)


@test
def who_waits_goes_along_to_the_other_top_agent(c, one, two, n1, n2):
    start_carried(c, n1, "waited")
    waiting = n2.popen("wait", "waited")
    one.pull_plug()
    c.wait_up(two, n1, 15)
    c.wait_up(two, n2, 15)
    two.wait_job("waited", 10, state="running")
    n2.cli("stop", "waited")
    assert ended(waiting, 15) == 143, waiting.communicate()
