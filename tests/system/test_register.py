"""An agent that gets another parent while it runs, and intervals that are set while it runs."""
import os

import ticks
from agents import BUILD, wait_until
from harness import test

KEYED = os.path.join(BUILD, "tests/system/jobs/keyed")


def setup(cluster):
    """n1 - top, n2 - top, and top2 beside it."""
    top, top2, n1, n2 = (cluster.add(name) for name in ("top", "top2", "n1", "n2"))
    for agent in (top, top2):
        agent.agent_start(level=2, listen=agent.url, key=cluster.key)
    for node in (n1, n2):
        node.agent_start(parent=top.url, key=cluster.key)
        cluster.wait_up(top, node)
    return cluster, top, top2, n1, n2


def parent_of(agent, node):
    return next((a["parent"] for a in agent.json("status")["agents"] if a["name"] == node.agent_name and a["state"] == "up"), None)


def moved(agent, node):
    wait_until(lambda: parent_of(agent, node) == agent.agent_name, 10, "%s knows %s" % (agent.name, node.name))


@test
def an_agent_that_was_alone_gets_a_parent_and_its_jobs_with_it(c, top, top2, n1, n2):
    alone = c.add("alone")
    alone.agent_start(key=c.key)
    path = os.path.join(c.shared, "alone")
    alone.run("--name", "early", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    assert alone.cli("register", top.url).stdout.strip() == top.agent_name
    moved(top, alone)
    assert n1.job("early")["node"] == alone.agent_name
    assert int(alone.cli("checkpoint", "--level", "2", "early").stdout) >= 1
    ticks.wait_more(path)


@test
def an_agent_moves_to_another_registry_with_its_jobs_and_they_run_once(c, top, top2, n1, n2):
    path = os.path.join(c.shared, "moved")
    n1.run("--name", "moved", "--files", "shared", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    assert n1.json("register", top2.url)["parent"] == top2.agent_name
    moved(top2, n1)
    ticks.wait_more(path)
    assert top2.job("moved")["node"] == n1.agent_name
    # its first registry counts it as lost, and leaves its jobs alone all the same
    wait_until(lambda: top.agent_state(n1) != "up", 15, "the other registry misses it")
    before = ticks.last(path)[2]
    wait_until(lambda: ticks.last(path)[2] > before + 200, 20, "it goes on")
    assert len(ticks.stays(path)) == 1 and n1.job("moved")["incarnation"] == 0
    assert n1.cli("register", top.url).stdout.strip() == top.agent_name
    moved(top, n1)
    ticks.wait_more(path)
    assert len(ticks.stays(path)) == 1


@test
def what_is_no_agent_is_refused_and_the_old_parent_stands(c, top, top2, n1, n2):
    for url, why in (("tcp://10.77.0.1:9", "no agent there"), ("nonsense", "tcp://ADDR:PORT"), (n2.url, "no agent")):
        done = n1.cli("register", url, check=False)
        assert done.returncode in (1, 2, 6) and why in done.stderr, done
    assert n1.cli("register", top.url).stdout.strip() == top.agent_name
    done = top.cli("register", top2.url, check=False)
    assert done.returncode == 1 and "registry of its own" in done.stderr, done
    assert parent_of(top, n1) == top.agent_name


@test
def only_root_may(c, top, top2, n1, n2):
    done = n1.cli("register", top2.url, check=False, user=(1234, 1234, []))
    assert done.returncode == 5, done
    flag = os.path.join(c.shared, "denied")
    n1.cli("run", "--detach", "--name", "denied", "--", KEYED, "register", top2.url, 10, "until", flag, user=(1234, 1234, []))
    said = wait_until(lambda: n1.cli("logs", "denied").stdout, 10, "it is answered")
    assert said.startswith("register -5 "), said
    open(flag, "w").close()


@test
def a_program_of_root_may_have_its_agent_registered(c, top, top2, n1, n2):
    flag = os.path.join(c.shared, "asks")
    n2.run("--name", "asks", "--", KEYED, "register", "tcp://10.77.0.1:9", 20, "register", top2.url, 30, "until", flag)
    said = wait_until(lambda: (lambda s: s if len(s) == 2 else None)(n2.cli("logs", "asks").stdout.splitlines()), 30,
                      "it is answered twice")
    assert said[0].split()[1] in ("-1", "-6") and said[1].split()[1] == "0", said
    moved(top2, n2)
    n2.cli("register", top.url)
    moved(top, n2)
    open(flag, "w").close()


@test
def a_jobs_intervals_are_shown_and_set(c, top, top2, n1, n2):
    flag = os.path.join(c.shared, "tuned")
    n1.run("--name", "tuned", "--", KEYED, "until", flag)
    shown = n1.json("interval", "--job", "tuned")
    assert (shown["update_seconds"], shown["save_seconds"], shown["auto"]) == (0, 0, "default"), shown
    n2.cli("interval", "--job", "tuned", "--update", "250ms", "--auto", "off")
    shown = n1.json("interval", "--job", "tuned")
    assert (shown["update_seconds"], shown["save_seconds"], shown["auto"]) == (0.25, 0, "off"), shown
    assert "update 0.25s" in n1.cli("interval", "--job", "tuned").stdout
    assert n1.cli("interval", "--job", "tuned", "--auto", "maybe", check=False).returncode == 2
    assert n1.cli("interval", "--job", "tuned", "--update", "1s", check=False, user=(1234, 1234, [])).returncode == 5
    open(flag, "w").close()


@test
def an_agents_intervals_are_shown_and_set(c, top, top2, n1, n2):
    assert top.json("interval") == {"agent": top.agent_name, "update_seconds": 1.0, "save_seconds": 0.0, "auto": True}
    top2.cli("interval", "--auto", "off")  # it has known n1 as a child
    top.cli("interval", "--update", "1h", "--auto", "off")
    shown = top.json("interval")
    assert (shown["update_seconds"], shown["auto"]) == (3600, False), shown
    assert top.cli("interval", "--update", "1s", check=False, user=(1234, 1234, [])).returncode == 5
    n1.run("--name", "still", "--", KEYED, "loop", os.path.join(c.shared, "still"), "state", 10, 1)
    level = lambda: max((k["level"] for k in n1.json("keys", "still")["keys"]), default=0)
    wait_until(lambda: level() == 1, 10, "it has a key")
    top.cli("interval", "--update", "200ms", "--auto", "on")
    wait_until(lambda: level() == 2, 10, "it is carried up again")
    open(os.path.join(c.shared, "still"), "w").close()
