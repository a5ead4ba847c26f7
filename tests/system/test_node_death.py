"""A node is gone: its jobs run again on another node, from the newest level that is left, and nowhere twice."""
import os
import subprocess

import ticks
from agents import BUILD, ENDED, SLOW, wait_until
from harness import test

FRESH = True
LEASE = 2
HEAT = os.path.join(BUILD, "hooks/examples/heat")


def setup(cluster):
    return (cluster, *cluster.standard(lease="%ds" % LEASE))


def start(c, node, name, *options):
    path = os.path.join(c.shared, name)
    node.run("--name", name, "--files", "shared", *options, "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    return path


def held_above(node, job, generation=1):
    """Until level 2 holds a snapshot of it."""
    def there():
        newest = node.job(job)["snapshot"]
        return newest and newest["level"] >= 2 and newest["generation"] >= generation
    wait_until(there, 20, "level 2 holds a snapshot of " + job)


@test
def an_unmodified_program_goes_on_elsewhere_soon_after_the_lease(c, top, n1, n2):
    path = start(c, n1, "ticker", "--every", "300ms")
    held_above(n1, "ticker", 3)
    n1.pull_plug()
    gone = ticks.last(path)
    first = ticks.wait_on(path, n2, 15)
    assert first - gone[0] < (LEASE + 1.5) * SLOW, "it computed again after %.2f s" % (first - gone[0])
    assert 0 < ticks.went_back(path) <= gone[2]
    ticks.wait_more(path, 50)
    ticks.assert_went(path, n1, n2)
    job = n2.job("ticker")
    assert (job["node"], job["state"], job["incarnation"]) == (n2.agent_name, "running", 1), job
    assert top.agent_state(n1) == "down"
    generation = n2.history("ticker")[-1]["generation"]
    held_above(n2, "ticker", generation + 2)


@test
def a_program_with_keys_goes_on_elsewhere_to_the_same_result(c, top, n1, n2):
    heat = [HEAT, "--size", "64", "--steps", "500", "--every", "10", "--out"]
    out, plain = (os.path.join(c.shared, name) for name in ("heat.out", "plain.out"))
    subprocess.run([*heat, plain, "--arena", c.dir], check=True, stdout=subprocess.DEVNULL)
    n1.run("--name", "heat", "--mode", "keyed", "--", *heat, out, "--pace", "20")
    wait_until(lambda: n1.job("heat")["keys"]["level"] >= 2, 20, "level 2 holds its keys")
    n1.pull_plug()
    n2.wait_job("heat", 15, incarnation=1, node=n2)
    assert n2.cli("wait", "heat").returncode == 0
    log = n2.cli("logs", "heat").stdout
    assert "restored at step" in log and "started at step 0" not in log.split("restored")[-1], log
    with open(out, "rb") as a, open(plain, "rb") as b:
        assert a.read() == b.read()


@test
def its_output_file_is_rolled_back_on_the_other_node(c, top, n1, n2):
    path, out = os.path.join(c.shared, "writer"), os.path.join(c.shared, "writer.out")
    n1.run("--name", "writer", "--", *ticks.TICKER, path, out)
    ticks.wait_more(path)
    n1.cli("checkpoint", "--level", "2", "writer")
    ticks.wait_more(path, 20)
    n1.pull_plug()
    ticks.wait_on(path, n2, 15)
    ticks.wait_more(path, 20)
    n2.cli("stop", "--grace", "0", "writer")
    with open(out) as f:
        got = [int(line) for line in f.read().split("\n")[:-1]]
    assert got == list(range(len(got))), got


@test(limit=90)
def all_jobs_of_a_node_come_back_and_those_that_shall_not_do_not(c, top, n1, n2):
    paths = [start(c, n1, "many%d" % i, "--every", "500ms") for i in range(4)]
    start(c, n1, "once", "--restart", "temporary", "--every", "500ms")
    here = start(c, n2, "mine")
    for i in range(4):
        held_above(n1, "many%d" % i)
    n1.pull_plug()
    for path in paths:
        ticks.wait_on(path, n2, 20)
        ticks.wait_more(path, 10)
        ticks.assert_went(path, n1, n2)
    assert n2.job("once")["state"] in ENDED, n2.job("once")
    ticks.assert_went(here, n2)


@test
def a_job_of_which_nothing_was_carried_up_begins_anew(c, top, n1, n2):
    path = start(c, n1, "fresh")
    n1.pull_plug()
    ticks.wait_on(path, n2, 15)
    assert ticks.went_back(path) == 0


@test(limit=90)
def a_node_that_comes_back_empty_takes_over_when_the_other_one_goes(c, top, n1, n2):
    path = start(c, n1, "wanderer", "--every", "300ms")
    held_above(n1, "wanderer")
    n1.pull_plug()
    ticks.wait_on(path, n2, 15)
    n1.boot()
    n1.agent_start()
    c.wait_up(top, n1, 15)
    have = n2.job("wanderer")["snapshot"]["generation"]
    held_above(n2, "wanderer", have + 1)
    n2.pull_plug()
    ticks.wait_on(path, n1, 15)
    ticks.wait_more(path, 20)
    ticks.assert_went(path, n1, n2, n1)
    assert n1.job("wanderer")["incarnation"] == 2


@test
def with_no_other_node_the_job_waits_for_one(c, top, n1, n2):
    assert n2.agent_term() == 0
    path = start(c, n1, "patient", "--every", "300ms")
    held_above(n1, "patient")
    wait_until(lambda: top.agent_state(n2) != "up", 15, "n2 has left")
    n1.pull_plug()
    wait_until(lambda: top.agent_state(n1) == "down", 15, "n1 is down")
    n2.agent_start()
    ticks.wait_on(path, n2, 20)
    ticks.assert_went(path, n1, n2)


@test
def a_user_who_follows_a_job_from_another_node_sees_it_to_its_end(c, top, n1, n2):
    path, done = os.path.join(c.shared, "followed"), os.path.join(c.shared, "done")
    script = "i=0; while [ ! -e %s ]; do i=$((i+1)); echo $i >>%s; sleep 0.05; done; exit 9" % (done, path)
    user = n2.popen("run", "--node", n1.agent_name, "--name", "followed", "--files", "shared", "--every", "300ms", "--",
                    "sh", "-c", script)
    wait_until(lambda: os.path.exists(path), 10, "it runs")
    held_above(n2, "followed")
    n1.pull_plug()
    n2.wait_job("followed", 15, incarnation=1, node=n2)
    open(done, "w").close()
    # its policy would have it started again after an error
    n2.wait_job("followed", 15, state="failed")
    user.communicate(timeout=20 * SLOW)
    assert user.returncode == 9, user.returncode
