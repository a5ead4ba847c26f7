"""Carrying checkpoints up: by interval and on demand, through three levels, and what the levels above keep."""
import os

import ticks
from agents import BUILD, wait_until
from harness import test

HEAT = os.path.join(BUILD, "hooks/examples/heat")
KEYED = os.path.join(BUILD, "tests/system/jobs/keyed")


def setup(cluster):
    """n1 - mid - top and n2 - top"""
    top = cluster.add("top")
    top.agent_start(level=3, listen=top.url, key=cluster.key)
    mid, n1, n2 = cluster.add("mid"), cluster.add("n1"), cluster.add("n2")
    mid.agent_start(level=2, listen=mid.url, parent=top.url, key=cluster.key)
    n1.agent_start(parent=mid.url, key=cluster.key)
    n2.agent_start(parent=top.url, key=cluster.key)
    for node in (mid, n1, n2):
        cluster.wait_up(top, node)
    return cluster, top, mid, n1, n2


def start(c, node, name, *options):
    path = os.path.join(c.shared, name)
    node.run("--name", name, *options, "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    return path


def levels(node, job, generation=None):
    history = node.history(job)
    found = [g for g in history if generation in (None, g["generation"])]
    return found[-1]["levels"] if found else []


@test
def the_tree_is_shown_from_everywhere(c, top, mid, n1, n2):
    for node in (top, n2):
        agents = {a["name"]: a for a in node.json("status")["agents"]}
        assert agents[n1.agent_name]["parent"] == mid.agent_name, agents
        assert set(agents[top.agent_name]["children"]) == {mid.agent_name, n2.agent_name}, agents
        assert [agents[n.agent_name]["level"] for n in (top, mid, n1, n2)] == [3, 2, 1, 1]


@test
def a_snapshot_comes_to_the_next_level_by_itself(c, top, mid, n1, n2):
    start(c, n1, "carried")
    n1.cli("checkpoint", "carried")
    wait_until(lambda: {1, 2, 3} <= set(levels(n1, "carried")), 15, "the snapshot on every level")
    assert n1.job("carried")["snapshot"]["level"] == 3


@test
def a_checkpoint_at_a_level_returns_when_that_level_holds_it(c, top, mid, n1, n2):
    start(c, n1, "waited")
    for level in (1, 2, 3):
        generation = int(n1.cli("checkpoint", "--level", level, "waited").stdout)
        assert level in levels(n1, "waited", generation), n1.history("waited")


@test
def a_level_that_does_not_exist_is_refused(c, top, mid, n1, n2):
    start(c, n1, "toohigh")
    done = n1.cli("checkpoint", "--level", "9", "toohigh", check=False)
    assert done.returncode in (1, 2) and "9" in done.stderr, done


@test
def the_level_asked_for_is_the_highest_it_goes_to(c, top, mid, n1, n2):
    start(c, n1, "low", "--level", "2")
    generation = int(n1.cli("checkpoint", "--level", "2", "low").stdout)
    assert 3 not in levels(n1, "low", generation)
    start(c, n1, "marker")
    n1.cli("checkpoint", "--level", "3", "marker")
    assert 3 not in levels(n1, "low", generation)


@test
def keys_come_to_the_next_level_by_themselves(c, top, mid, n1, n2):
    n1.run("--name", "keyed", "--", HEAT, "--size", "64", "--steps", "100000", "--pace", "10", "--out", "/dev/null")
    wait_until(lambda: n1.job("keyed")["keys"]["level"] >= 2, 15, "the keys on level 2")


@test
def a_job_is_restored_on_another_node_from_the_level_named(c, top, mid, n1, n2):
    path = start(c, n1, "sent", "--files", "shared")
    n1.cli("checkpoint", "--level", "3", "sent")
    far = ticks.last(path)[2]
    ticks.wait_more(path, 40)
    n1.cli("restore", "--force", "--level", "3", "--node", n2.agent_name, "sent")
    ticks.wait_on(path, n2, 15)
    back = ticks.went_back(path)
    assert 0 < back <= far + 1, (back, far)
    assert n2.job("sent")["incarnation"] == 1
    ticks.assert_went(path, n1, n2)


@test
def a_job_can_be_started_on_another_node_and_asked_about_from_here(c, top, mid, n1, n2):
    path = start(c, n2, "remote", "--node", n1.agent_name)
    assert ticks.stays(path)[0][0] == n1.address
    assert n2.job("remote")["node"] == n1.agent_name
    assert n2.cli("checkpoint", "remote").stdout == "1\n" and len(n2.history("remote")) == 1
    assert n2.cli("logs", "remote").stdout.startswith("0\n1\n")
    n2.cli("stop", "remote")
    assert n1.job("remote")["state"] in ("exited", "failed")


@test
def a_foreground_job_on_another_node_gives_output_and_status(c, top, mid, n1, n2):
    done = n2.cli("run", "--restart", "temporary", "--node", n1.agent_name, "--", "sh", "-c", "hostname; exit 3", check=False)
    assert (done.returncode, done.stdout) == (3, "n1\n"), done


@test
def an_unknown_node_is_3(c, top, mid, n1, n2):
    done = n1.cli("run", "--node", "nowhere", "--", "true", check=False)
    assert done.returncode in (3, 125) and "nowhere" in done.stderr, done


@test
def a_parent_that_is_killed_forgets_nothing_it_acknowledged(c, top, mid, n1, n2):
    path = start(c, n1, "safe", "--files", "shared")
    n1.cli("checkpoint", "--level", "2", "safe")
    mid.agent_kill()
    ticks.wait_more(path)
    mid.agent_start()
    c.wait_up(top, mid)
    n1.cli("restore", "--force", "--level", "2", "--node", n2.agent_name, "safe", timeout=60)
    ticks.wait_on(path, n2, 15)


def stored(node, job):
    """What an agent above has of a job, in memory."""
    path = node.path("/run/cpagent/store/jobs/%s" % job)
    return os.listdir(path) if os.path.isdir(path) else []


def ends_well(c, top, mid, n1, name):
    """A job whose keys came to every level by themselves; it ends when the file is there."""
    flag = os.path.join(c.shared, name)
    n1.run("--name", name, "--", KEYED, "checkpoint", "state", 1, 100, 1, "until", flag)
    job = n1.job(name)["job"]
    wait_until(lambda: any(f.startswith("k-") for f in stored(top, job)), 20, "its keys are on the top")
    return job, flag


@test
def the_end_of_a_job_is_heard_on_every_level(c, top, mid, n1, n2):
    job, flag = ends_well(c, top, mid, n1, "ends")
    open(flag, "w").close()
    assert n1.cli("wait", "ends").returncode == 0
    wait_until(lambda: not stored(top, job), 20, "the top holds nothing of it")
    wait_until(lambda: not stored(mid, job), 20, "and the level between has forgotten it")


@test
def the_end_of_a_job_is_heard_by_a_level_that_was_away(c, top, mid, n1, n2):
    job, flag = ends_well(c, top, mid, n1, "unheard")
    top.agent_kill()
    open(flag, "w").close()
    wait_until(lambda: "ended" in stored(mid, job), 20, "the level between knows that it has ended")
    wait_until(lambda: not any(f[:2] in ("k-", "g-") for f in stored(mid, job)), 20, "and holds nothing of it")
    mid.agent_kill()
    mid.agent_start()
    assert "ended" in stored(mid, job) and stored(top, job)
    top.agent_start()
    wait_until(lambda: not stored(top, job), 30, "the top has heard of it")
    wait_until(lambda: not stored(mid, job), 20, "and the level between has forgotten it")


@test
def nothing_is_carried_when_updates_are_off_until_it_is_asked_for(c, top, mid, n1, n2):
    mid.agent_term()
    mid.agent_start(level=2, listen=mid.url, parent=top.url, key=c.key, auto="off")
    c.wait_up(top, mid)
    c.wait_up(top, n1)
    start(c, n1, "quiet")
    generation = int(n1.cli("checkpoint", "quiet").stdout)
    start(c, n2, "other")
    n2.cli("checkpoint", "other")
    wait_until(lambda: 3 in levels(n2, "other"), 15, "what goes another way is carried")
    assert levels(n1, "quiet", generation) == [1]
    generation = int(n1.cli("checkpoint", "--level", "2", "quiet").stdout)
    assert 2 in levels(n1, "quiet", generation)


@test
def a_generation_that_only_the_running_copys_node_holds_is_not_restored_in_its_place(c, top, mid, n1, n2):
    mid.agent_term()
    mid.agent_start(level=2, listen=mid.url, parent=top.url, key=c.key, auto="off")
    c.wait_up(top, mid)
    c.wait_up(top, n1)
    path = start(c, n1, "here")
    generation = n1.cli("checkpoint", "here").stdout.strip()
    for node in ([], ["--node", n1.agent_name]):
        refused = n1.cli("restore", "--force", "--generation", generation, *node, "here", check=False)
        assert refused.returncode == 1 and "only node %s holds that so far" % n1.agent_name in refused.stderr, refused
    ticks.wait_more(path)
    assert n1.job("here")["incarnation"] == 0 and levels(n1, "here", int(generation)) == [1]
    generation = n1.cli("checkpoint", "--level", "2", "here").stdout.strip()
    n1.cli("restore", "--force", "--generation", generation, "--node", n1.agent_name, "here")
    n1.wait_job("here", 20, state="running", incarnation=1)
