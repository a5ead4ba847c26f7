"""Jobs on another node than the user's: orders and waiting go to wherever the job is, and nobody but its user reaches it."""
import os
import signal
import time

import ticks
from agents import SLOW, ended, wait_until
from harness import test

LEASE = 2
ALICE, BOB = (4711, 4711, []), (4722, 4722, [])
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


def setup(cluster):
    return (cluster, *cluster.standard(lease="%ds" % LEASE))


def refused(node, code, *args, **how):
    done = node.cli(*args, check=False, **how)
    assert done.returncode == code and done.stderr.startswith("cpagent: "), (args, done)
    return done.stderr


@test
def a_stop_is_done_when_the_job_has_ended_wherever_it_is(c, top, n1, n2):
    n1.run("--name", "stubborn", "--", *STUBBORN)
    wait_until(lambda: n1.cli("logs", "stubborn").stdout, 10, "it ignores the signal")
    began = time.monotonic()
    n2.cli("stop", "--grace", "4s", "stubborn")
    took = time.monotonic() - began
    assert n1.job("stubborn")["state"] == "exited"
    assert 3.5 < took < 8 * SLOW, "%.1f s" % took


@test
def who_waits_for_a_lost_job_waits_until_a_node_has_it(c, top, n1, n2):
    path = os.path.join(c.shared, "waited")
    n1.run("--name", "waited", "--files", "shared", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    n1.cli("checkpoint", "--level", "2", "waited")
    n2.agent_stop()
    wait_until(lambda: top.agent_state(n2) == "down", 15, "no node is left to take it")
    waiting = [top.popen("wait", "waited"), top.popen("logs", "-f", "waited")]
    n1.pull_plug()
    top.wait_job("waited", 15, state="lost")
    time.sleep(2.5 * LEASE)  # longer than a request is kept by the registry
    assert all(w.poll() is None for w in waiting), [w.communicate() for w in waiting if w.poll() is not None]
    n2.agent_cont()
    ticks.wait_on(path, n2, 20)
    waiting.append(n2.popen("wait", "waited"))
    n2.cli("stop", "waited")
    assert [ended(w, 10) for w in waiting] == [128 + signal.SIGTERM, 0, 128 + signal.SIGTERM]
    n1.boot()
    n1.agent_start()
    c.wait_up(top, n1)


@test
def a_generation_that_nobody_holds_is_refused_and_the_job_runs_on(c, top, n1, n2):
    n1.run("--name", "kept", "--", "sleep", "1000")
    n1.cli("checkpoint", "--level", "2", "kept")
    pid = n1.job("kept")["pid"]
    assert "history" in refused(n2, 3, "restore", "--force", "--generation", "99", "kept")
    assert "no node" in refused(n2, 3, "restore", "--force", "--node", "nosuch", "kept")
    job = n1.job("kept")
    assert (job["pid"], job["state"], job["incarnation"]) == (pid, "running", 0), job
    n2.cli("restore", "--force", "--generation", "1", "--node", n2.agent_name, "kept")
    n2.wait_job("kept", 10, state="running", node=n2, incarnation=1)


@test
def a_live_job_elsewhere_goes_before_an_ended_one_here(c, top, n1, n2):
    n1.cli("run", "--name", "again", "--", "true")
    n2.run("--name", "again", "--", "sleep", "1000")
    n1.cli("stop", "again")
    assert {j["state"] for j in n1.json("ps", "-a")["jobs"] if j["name"] == "again"} == {"exited"}


@test
def another_user_is_refused_on_every_node(c, top, n1, n2):
    n1.run("--name", "secret", "--", "sh", "-c", "echo hidden; exec sleep 1000", user=ALICE)
    uuid = n1.job("secret")["job"]
    for node in (top, n1, n2):
        assert "secret" not in node.cli("ps", "-a", user=BOB).stdout
        for job in ("secret", uuid):
            for command in (["logs"], ["stop"], ["checkpoint"], ["restore", "--force"], ["history"], ["keys"],
                            ["signal", "KILL"], ["wait", "--timeout", "1s"]):
                done = node.cli(*command, job, user=BOB, check=False)
                assert done.returncode in (3, 5) and not done.stdout, (node.name, command, done)
    assert n2.cli("logs", "secret", user=ALICE).stdout == "hidden\n"
    n2.cli("stop", "secret", user=ALICE)


@test
def an_agent_that_hangs_is_given_up_after_a_while(c, top, n1, n2):
    n2.run("--name", "far", "--", "sleep", "1000")
    n2.agent_stop()
    began = time.monotonic()
    refused(n1, 4, "checkpoint", "far")
    assert time.monotonic() - began < 20 * SLOW
    n2.agent_cont()
    c.wait_up(top, n2)
    n1.cli("wait", "--timeout", "0.1s", "far", check=False)


@test
def a_restarted_registry_hears_all_about_its_jobs(c, top, n1, n2):
    n1.run("--name", "told", "--", "sleep", "1000")
    n1.cli("checkpoint", "--level", "2", "told")
    def shown():
        """Nothing for a moment, while n2 looks for its registry."""
        job = n2.job("told")
        return job and {k: job[k] for k in ("state", "node", "pid", "snapshot")}
    before = wait_until(lambda: (lambda now: now["snapshot"] and now["snapshot"]["level"] == 2 and now)(shown()), 5,
                        "the registry knows of its snapshot")
    top.agent_kill()
    top.agent_start()
    wait_until(lambda: shown() == before, 10, "ps shows what it showed: %s" % before)


@test
def a_node_whose_jobs_do_not_fit_into_a_message_registers_again(c, top, n1, n2):
    big = {**os.environ, "BIG": "x" * 100000, "BIGGER": "y" * 100000, "NOISE": os.urandom(30000).hex()}
    for i in range(16):
        n1.run("--name", "big%d" % i, "--", "sleep", "1000", env=big)
    pid = n1.job("big7")["pid"]
    top.agent_kill()
    top.agent_start()
    c.wait_up(top, n1, 15)
    n1.wait_job("big7", 5, state="running", pid=pid, incarnation=0)
