"""A node is cut off, which looks the same as dead: its jobs stand still before they may run elsewhere."""
import os

import ticks
from agents import ENDED, SLOW, wait_until
from harness import test

FRESH = True
LEASE = 2


def setup(cluster):
    return (cluster, *cluster.standard(lease="%ds" % LEASE))


def start(c, node, name, *options):
    path = os.path.join(c.shared, name)
    node.run("--name", name, "--files", "shared", *options, "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    return path


def start_carried(c, node, name):
    path = start(c, node, name, "--every", "300ms")
    wait_until(lambda: (node.job(name)["snapshot"] or {"level": 0})["level"] >= 2, 20, "level 2 holds a snapshot")
    return path


def processes(node):
    """How many live in the node's jobs."""
    count = 0
    for place, _, files in os.walk(node.cgroup()):
        if "cgroup.procs" in files:
            with open(os.path.join(place, "cgroup.procs")) as f:
                count += len(f.read().split())
    return count


def frozen(node):
    with open(os.path.join(node.cgroup(), "cgroup.events")) as f:
        return "frozen 1" in f.read()


def with_lease(top, seconds, *nodes):
    """From here on the top agent grants another lease."""
    top.agent_term()
    top.agent_start(**{**top.options, "lease": "%ds" % seconds})
    for node in nodes:
        top.cluster.wait_up(top, node)


def moved_once(path, n1, n2):
    ticks.wait_on(path, n2, 15)
    ticks.wait_more(path, 50)
    ticks.assert_went(path, n1, n2)


@test
def a_node_that_is_cut_off_freezes_its_jobs_before_another_runs_them(c, top, n1, n2):
    path = start_carried(c, n1, "cut")
    n1.cut()
    moved_once(path, n1, n2)
    assert frozen(n1)


@test
def also_when_its_agent_is_killed(c, top, n1, n2):
    path = start_carried(c, n1, "killed")
    n1.cut()
    n1.agent_kill()
    moved_once(path, n1, n2)


@test
def also_when_its_agent_is_stopped(c, top, n1, n2):
    path = start_carried(c, n1, "stopped")
    n1.cut()
    n1.agent_stop()
    moved_once(path, n1, n2)
    assert frozen(n1)


@test
def an_agent_that_hangs_loses_its_jobs_and_finds_out_when_it_wakes(c, top, n1, n2):
    path = start_carried(c, n1, "hung")
    n1.agent_stop()
    moved_once(path, n1, n2)
    n1.agent_cont()
    wait_until(lambda: processes(n1) == 0, 15, "the stale copy is gone")
    ticks.wait_more(path, 20)
    ticks.assert_went(path, n1, n2)


@test
def an_agent_killed_for_good_does_not_keep_its_jobs(c, top, n1, n2):
    path = start_carried(c, n1, "headless")
    n1.agent_kill()
    moved_once(path, n1, n2)
    n1.agent_start()
    wait_until(lambda: processes(n1) == 0, 15, "the stale copy is gone")
    ticks.wait_more(path, 20)
    ticks.assert_went(path, n1, n2)
    assert n1.job("headless")["node"] == n2.agent_name


@test
def when_the_partition_heals_the_stale_copy_is_killed(c, top, n1, n2):
    path = start_carried(c, n1, "stale")
    n1.cut()
    moved_once(path, n1, n2)
    n1.heal()
    wait_until(lambda: processes(n1) == 0, 20, "the stale copy is gone")
    c.wait_up(top, n1, 20)
    ticks.wait_more(path, 20)
    ticks.assert_went(path, n1, n2)
    assert n1.job("stale")["node"] == n2.agent_name
    start(c, n1, "next")


@test
def an_agent_restarted_while_cut_off_does_not_thaw_its_jobs(c, top, n1, n2):
    path = start_carried(c, n1, "restarted")
    n1.cut()
    wait_until(lambda: frozen(n1), 10, "its jobs are frozen")
    n1.agent_kill()
    n1.agent_start()
    moved_once(path, n1, n2)
    n1.heal()
    wait_until(lambda: processes(n1) == 0, 20, "the stale copy is gone")


@test
def a_cut_shorter_than_the_lease_changes_nothing(c, top, n1, n2):
    with_lease(top, LEASE * SLOW, n1)
    path = start_carried(c, n1, "blink")
    since = n1.log_size()
    n1.cut()
    ticks.wait_more(path, 15)
    n1.heal()
    ticks.wait_more(path, 150)
    ticks.assert_went(path, n1)
    assert n1.job("blink")["incarnation"] == 0
    assert "jobs_frozen" not in n1.log_text(since), "it stood still"


@test(limit=90)
def jobs_that_nobody_could_take_are_thawed(c, top, n1, n2):
    assert n2.agent_term() == 0
    wait_until(lambda: top.agent_state(n2) != "up", 15, "n2 has left")
    path = start_carried(c, n1, "alone")
    pid = n1.job("alone")["pid"]
    n1.cut()
    wait_until(lambda: frozen(n1), 10, "its jobs are frozen")
    wait_until(lambda: top.agent_state(n1) == "down", 15, "top gives it up")
    n1.heal()
    ticks.wait_more(path, 20, timeout=30)
    job = n1.job("alone")
    assert (job["pid"], job["incarnation"], job["state"]) == (pid, 0, "running"), job


@test
def a_site_may_choose_that_jobs_run_on_when_cut_off(c, top, n1, n2):
    n1.agent_term()
    n1.agent_start(**{**n1.options, "on_isolation": "run"})
    c.wait_up(top, n1)
    assert n2.agent_term() == 0
    path = start(c, n1, "unruly")
    since = n1.log_size()
    n1.cut()
    ticks.wait_more(path, int(50 * (LEASE + 2)), timeout=40)
    assert not frozen(n1) and "jobs_frozen" not in n1.log_text(since)


@test
def a_job_that_ends_while_cut_off_is_known_to_have_ended(c, top, n1, n2):
    with_lease(top, LEASE * SLOW, n1, n2)
    end = os.path.join(c.shared, "end")
    n1.run("--name", "brief", "--restart", "temporary", "--", "sh", "-c", "until [ -e %s ]; do sleep 0.02; done; exit 4" % end)
    n1.cut()
    open(end, "w").close()
    wait_until(lambda: n1.job("brief")["state"] in ENDED, 10, "it ends")
    n1.heal()
    wait_until(lambda: (n2.job("brief") or {"state": None})["state"] in ENDED, 20, "n2 hears of it")
    job = n2.job("brief")
    # heard of in time, or given up before: never an end that it did not have
    assert job["exit"] == {"code": 4, "signal": None} or (not job["exit"] and "lease" in job["reason"]), job
