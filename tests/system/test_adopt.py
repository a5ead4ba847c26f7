"""A job outlives its agent: kill -9 of the agent at any moment, and the next one finds the job as it is."""
import os
import signal

import ticks
from agents import SLOW, ended, wait_until
from harness import test


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


@test
def a_restarted_agent_adopts_a_job_with_its_history(c, n1):
    path = os.path.join(c.shared, "adopted")
    n1.run("--name", "adopted", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    n1.cli("checkpoint", "adopted")
    before, history = n1.job("adopted"), n1.history("adopted")
    n1.agent_kill()
    ticks.wait_more(path, 20)
    n1.agent_start()
    after = n1.wait_job("adopted", 5, state="running")
    assert (after["job"], after["pid"], after["incarnation"]) == (before["job"], before["pid"], 0), after
    assert n1.history("adopted") == history
    assert int(n1.cli("checkpoint", "adopted").stdout) == history[-1]["generation"] + 1
    ticks.wait_more(path)


@test
def an_exit_while_the_agent_was_away_is_not_lost(c, n1):
    go = os.path.join(c.shared, "gone-may-end")
    n1.run("--name", "gone", "--restart", "temporary", "--", "sh", "-c",
           "until [ -e %s ]; do sleep 0.02; done; echo bye; exit 5" % go)
    left = n1.path("/run/cpagent/jobs/%s/job/exit" % n1.job("gone")["job"])
    n1.agent_kill()
    open(go, "w").close()
    wait_until(lambda: os.path.exists(left), 10, "it has ended, and its status is left where the agent finds it")
    n1.agent_start()
    assert n1.cli("wait", "gone", check=False).returncode == 5
    assert n1.cli("logs", "gone").stdout == "bye\n"


@test
def a_job_that_failed_while_the_agent_was_away_is_started_again(c, n1):
    flag = os.path.join(c.shared, "flag")
    n1.run("--name", "again", "--", "sh", "-c",
           "[ -e %s ] && exec sleep 1000; sleep 0.3; touch %s; exit 1" % (flag, flag))
    n1.agent_kill()
    wait_until(lambda: os.path.exists(flag), 5, "it has failed")
    n1.agent_start()
    n1.wait_job("again", 10, state="running", incarnation=1)


@test
def a_foreground_run_goes_on_when_its_agent_is_restarted(c, n1):
    go = os.path.join(c.shared, "go")
    fg = n1.popen("run", "--name", "onward", "--restart", "temporary", "--", "sh", "-c",
                  "echo before; while [ ! -e %s ]; do sleep 0.05; done; echo after; exit 4" % go)
    assert fg.stdout.readline() == "before\n"
    n1.agent_kill()
    n1.agent_start()
    open(go, "w").close()
    out, _ = fg.communicate(timeout=20 * SLOW)
    assert (fg.returncode, out) == (4, "after\n"), (fg.returncode, out)


@test
def a_job_outlives_the_command_that_started_it(c, n1):
    fg = n1.popen("run", "--name", "orphan", "--", "sh", "-c", "echo up; exec sleep 1000")
    assert fg.stdout.readline() == "up\n"
    n1.tell(fg, signal.SIGKILL)
    ended(fg, 10)
    assert n1.job("orphan")["state"] == "running"


@test
def sigterm_leaves_jobs_running(c, n1):
    path = os.path.join(c.shared, "termed")
    n1.run("--name", "termed", "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    pid = n1.job("termed")["pid"]
    assert n1.agent_term() == 0
    ticks.wait_more(path)
    n1.agent_start()
    assert n1.wait_job("termed", 5, state="running")["pid"] == pid


@test(limit=120)
def an_agent_killed_again_and_again_while_jobs_come_and_go_keeps_count(c, n1):
    names = []
    for i in range(12):
        names.append("swarm%d" % i)
        n1.run("--name", names[-1], "--restart", "temporary", "--", "sh", "-c", "sleep 0.%d; exit %d" % (i % 10, i))
        if i % 3 == 2:
            n1.agent_kill()
            n1.agent_start()
    for i, name in enumerate(names):
        assert n1.cli("wait", name, check=False).returncode == i, name


@test
def a_second_agent_on_the_same_directory_is_refused(c, n1):
    done = n1.try_agent("--name", "other", "--state", n1.state_dir + "-other")
    assert done.returncode == 1 and "/run/cpagent" in done.stderr, done
    n1.cli("ps")
