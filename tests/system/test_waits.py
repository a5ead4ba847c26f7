"""A program that waits for a level: of an agent that has none above it, beyond the top, and of one that is away."""
import os

from agents import BUILD, SLOW, wait_until
from harness import test

KEYED = os.path.join(BUILD, "tests/system/jobs/keyed")
FOR_EVER = -1


def setup(cluster):
    """n1 - top, and a node alone."""
    top, n1, alone = (cluster.add(name) for name in ("top", "n1", "alone"))
    how = {"key": cluster.key, "update": "1h", "lease": "%ds" % (30 * SLOW)}
    top.agent_start(level=2, listen=top.url, **how)
    n1.agent_start(parent=top.url, **how)
    cluster.wait_up(top, n1)
    alone.agent_start()
    return cluster, top, n1, alone


def said(node, name):
    return [line.split()[1:] for line in node.lines(name) if line.startswith("wait ")]


def wait_said(node, name, count):
    return wait_until(lambda: (lambda all: all if len(all) >= count else None)(said(node, name)), 20,
                      "%s has waited %d times" % (name, count))


def run(node, name, *steps):
    node.run("--name", name, "--", KEYED, *steps)


@test
def an_agent_without_a_parent_is_the_top_itself(c, top, n1, alone):
    run(alone, "lone", "checkpoint", "state", 1, 100, 2, "wait", "state", 2, FOR_EVER, "checkpoint", "state", 2, 100, 8,
        "wait", "state", 8, FOR_EVER)
    assert wait_said(alone, "lone", 2) == [["0"], ["0"]]
    assert alone.json("keys", "lone")["keys"][0]["level"] == 1


@test
def a_level_beyond_the_top_is_waited_for_on_the_top(c, top, n1, alone):
    run(n1, "beyond", "checkpoint", "state", 1, 100, 2, "wait", "state", 8, FOR_EVER)
    assert wait_said(n1, "beyond", 1) == [["0"]]
    assert n1.json("keys", "beyond")["keys"][0]["level"] == 2


@test
def a_parent_that_is_away_is_waited_for(c, top, n1, alone):
    flag = os.path.join(c.shared, "away")
    run(n1, "patient", "until", flag, "checkpoint", "state", 1, 100, 2, "wait", "state", 2, 2, "wait", "state", 2, FOR_EVER)
    wait_until(lambda: n1.job("patient")["state"] == "running", 10, "it runs")
    top.agent_kill()
    open(flag, "w").close()
    assert wait_said(n1, "patient", 1) == [["-110"]]
    n1.agent_kill()
    n1.agent_start()  # which has not heard of a top in its life
    assert len(said(n1, "patient")) == 1
    top.agent_start()
    assert wait_said(n1, "patient", 2)[1] == ["0"]
    assert n1.json("keys", "patient")["keys"][0]["level"] == 2

