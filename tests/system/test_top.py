"""The top agent and the parents: restarted, without power, without room; nothing acknowledged is lost, nothing runs twice."""
import os
import time

import ticks
from agents import SLOW, wait_until
from harness import test

FRESH = True
LEASE = 2


def setup(cluster):
    return (cluster, *cluster.standard(lease="%ds" % LEASE))


def start_carried(c, node, name):
    path = os.path.join(c.shared, name)
    node.run("--name", name, "--files", "shared", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    node.cli("checkpoint", "--level", "2", name)
    return path


def room(node, place, size):
    """A small disk of its own."""
    os.makedirs(place, exist_ok=True)
    node.do("mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", place)


@test
def a_top_agent_that_is_killed_and_restarted_at_once_disturbs_nobody(c, top, n1, n2):
    path = start_carried(c, n1, "calm")
    top.agent_kill()
    top.agent_start()
    c.wait_up(top, n1)
    c.wait_up(top, n2)
    ticks.wait_more(path, int(50 * 2 * LEASE), timeout=30)
    ticks.assert_went(path, n1)
    job = top.job("calm")
    assert (job["state"], job["node"], job["incarnation"]) == ("running", n1.agent_name, 0), job


@test
def while_the_top_agent_is_away_jobs_stand_still_and_then_go_on(c, top, n1, n2):
    path = start_carried(c, n1, "paused")
    top.agent_kill()
    n1.wait_job("paused", 15, state="frozen")
    far = ticks.last(path)[2]
    top.agent_start()
    n1.wait_job("paused", 20, state="running")
    ticks.wait_more(path, int(50 * 2 * LEASE), timeout=30)
    ticks.assert_went(path, n1)
    assert far - 1 <= ticks.read(path)[-150][2], "it was restored"
    assert n1.job("paused")["incarnation"] == 0


@test
def a_node_lost_while_the_top_agent_was_away_is_noticed(c, top, n1, n2):
    path = start_carried(c, n1, "unseen")
    top.agent_kill()
    n1.pull_plug()
    top.agent_start()
    ticks.wait_on(path, n2, 20)
    ticks.assert_went(path, n1, n2)


@test
def a_saved_checkpoint_survives_a_power_cut_of_everything(c, top, n1, n2):
    path = start_carried(c, n1, "saved")
    far = ticks.last(path)[2]
    top.cli("save")
    for node in (n1, n2, top):
        node.pull_plug()
    for node in (top, n2):
        node.boot()
        node.agent_start()
    ticks.wait_on(path, n2, 30)
    back = ticks.went_back(path)
    assert 0 < back <= far + 1, (back, far)
    ticks.assert_went(path, n1, n2)


@test
def a_full_disk_fails_the_save_and_nothing_else(c, top, n1, n2):
    place = os.path.join(c.dir, "disk")
    top.agent_term()
    room(top, place, "2M")
    top.agent_start(**{**top.options, "state": place})
    for node in (n1, n2):
        c.wait_up(top, node)
    path = start_carried(c, n1, "bulky")
    done = top.cli("save", check=False)
    assert done.returncode == 1 and "space" in done.stderr, done
    top.do("mount", "-o", "remount,size=200M", place)
    top.cli("save")
    n1.pull_plug()
    ticks.wait_on(path, n2, 20)


@test
def a_top_agent_killed_in_the_middle_of_a_save_has_the_one_before(c, top, n1, n2):
    path = start_carried(c, n1, "twice")
    far = ticks.last(path)[2]
    n1.cli("checkpoint", "--level", "2", "twice")  # beyond that tick
    top.cli("save")
    for i in range(6):
        n1.cli("checkpoint", "--level", "2", "twice")
        saving = top.popen("save")
        time.sleep(0.02 * i)  # anywhere in it
        top.agent_kill()
        saving.communicate(timeout=30 * SLOW)
        top.agent_start()
        c.wait_up(top, n1)
    n1.pull_plug()
    top.pull_plug()
    top.boot()
    top.agent_start()
    ticks.wait_on(path, n2, 30)
    assert ticks.went_back(path) >= far - 1


@test
def jobs_started_while_the_top_agent_is_away_are_refused_or_known_later(c, top, n1, n2):
    top.agent_kill()
    done = n1.cli("run", "--detach", "--name", "early", "--", "sleep", "1000", check=False)
    top.agent_start()
    c.wait_up(top, n1)
    if done.returncode == 0:
        n2.wait_job("early", 15, state="running", node=n1)
    else:
        assert done.returncode == 125 and done.stderr.startswith("cpagent: "), done
        assert not n1.job("early") or n1.job("early")["state"] in ("failed", "lost")


@test
def agents_find_their_parent_whenever_it_comes(c, top, n1, n2):
    top.agent_kill()
    n1.agent_kill()
    n1.agent_start()
    n1.cli("ps")
    top.agent_start()
    c.wait_up(top, n1, 15)
