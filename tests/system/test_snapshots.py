"""Process snapshots of a job on its node: taken, kept, restored, and its output files rolled back with it."""
import glob
import os
import signal

import ticks
from agents import SLOW, wait_until
from harness import test


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


def numbers(text):
    return [int(line) for line in text.split("\n")[:-1]]


def start(c, n1, name, *options):
    """A ticker whose ticks on stdout tell how far it is; the file that tells when and where it ran."""
    path = os.path.join(c.shared, name)
    n1.run("--name", name, *options, "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    return path


@test
def a_snapshot_on_demand_prints_its_generation_and_is_in_the_history(c, n1):
    start(c, n1, "demand")
    assert [n1.cli("checkpoint", "demand").stdout for _ in range(2)] == ["1\n", "2\n"]
    first, second = n1.history("demand")
    assert (first["generation"], second["generation"], second["restorable"]) == (1, 2, True)
    assert second["size_bytes"] > 0 and 0 < second["frozen_seconds"] < 2 * SLOW and 1 in second["levels"], second


@test
def of_a_job_that_ended_well_nothing_is_restorable(c, n1):
    go = os.path.join(c.shared, "go")
    n1.run("--name", "well", "--", "sh", "-c", "until test -e %s; do sleep 0.02; done" % go)
    n1.cli("checkpoint", "well")
    assert n1.history("well")[0]["restorable"]
    open(go, "w").close()
    n1.cli("wait", "well")
    assert not n1.history("well")[0]["restorable"]


@test
def snapshots_are_taken_at_the_interval(c, n1):
    start(c, n1, "often", "--every", "300ms")
    wait_until(lambda: (n1.job("often")["snapshot"] or {"generation": 0})["generation"] >= 4, 20, "four snapshots")
    ticks.wait_more(os.path.join(c.shared, "often"))


@test
def the_last_n_generations_are_kept(c, n1):
    start(c, n1, "kept", "--keep", "3")
    for _ in range(6):
        n1.cli("checkpoint", "kept")
    history = n1.history("kept")
    assert [g["generation"] for g in history if g["restorable"]] == [4, 5, 6], history


@test
def a_job_goes_on_from_its_snapshot(c, n1):
    path = start(c, n1, "back")
    n1.cli("checkpoint", "back")
    far = ticks.last(path)[2]
    ticks.wait_more(path, 30)
    refused = n1.cli("restore", "back", check=False)
    assert refused.returncode == 1 and "--force" in refused.stderr, refused
    n1.cli("restore", "--force", "back")
    job = n1.wait_job("back", 10, state="running", incarnation=1)
    back = ticks.went_back(path)
    assert 0 < back <= far + 1, (back, far)
    assert job["snapshot"]["generation"] == 1


@test
def the_generation_named_is_the_one_restored(c, n1):
    path = start(c, n1, "older")
    at = []
    for _ in range(2):
        n1.cli("checkpoint", "older")
        at.append(ticks.last(path)[2])
        ticks.wait_more(path, 40)
    n1.cli("restore", "--force", "--generation", "1", "older")
    n1.wait_job("older", 10, state="running", incarnation=1)
    assert 0 < ticks.went_back(path) <= at[0] + 1
    missing = n1.cli("restore", "--force", "--generation", "77", "older", check=False)
    assert missing.returncode == 3 and n1.job("older")["state"] == "running", missing


@test
def an_output_file_is_rolled_back_and_its_tail_kept(c, n1):
    path, out = os.path.join(c.shared, "rolled"), os.path.join(c.shared, "rolled.out")
    n1.run("--name", "rolled", "--", *ticks.TICKER, path, out)
    ticks.wait_more(path)
    n1.cli("checkpoint", "rolled")
    ticks.wait_more(path, 30)
    n1.cli("restore", "--force", "rolled")
    n1.wait_job("rolled", 10, state="running", incarnation=1)
    ticks.wait_more(path, 30)
    n1.cli("stop", "rolled")
    with open(out) as f:
        got = numbers(f.read())
    assert got == list(range(len(got))), "lines are missing or doubled in %s" % got
    tails = glob.glob(out + ".cpagent-tail.*")
    assert len(tails) == 1, tails
    with open(tails[0]) as f:
        assert len(numbers(f.read())) >= 25


@test
def output_that_is_appended_is_rolled_back_too(c, n1):
    path = start(c, n1, "appended")
    n1.cli("checkpoint", "appended")
    ticks.wait_more(path, 30)
    n1.cli("restore", "--force", "appended")
    n1.wait_job("appended", 10, state="running", incarnation=1)
    ticks.wait_more(path, 30)
    n1.cli("stop", "appended")
    got = numbers(n1.cli("logs", "appended").stdout)
    assert got == list(range(len(got))), "lines are missing or doubled in %s" % got


@test
def a_job_that_is_killed_is_restored_by_its_policy(c, n1):
    path = start(c, n1, "killed")
    n1.cli("checkpoint", "killed")
    far = ticks.last(path)[2]
    ticks.wait_more(path, 30)
    n1.cli("signal", "KILL", "killed")
    n1.wait_job("killed", 10, state="running", incarnation=1)
    back = ticks.went_back(path)
    assert 0 < back <= far + 1, (back, far)


@test
def a_job_without_a_snapshot_is_started_anew(c, n1):
    path = start(c, n1, "anew")
    ticks.wait_more(path, 20)
    n1.cli("signal", "KILL", "anew")
    n1.wait_job("anew", 10, state="running", incarnation=1)
    assert ticks.went_back(path) == 0


@test
def an_ended_job_can_be_brought_back(c, n1):
    path = start(c, n1, "ended")
    n1.cli("checkpoint", "ended")
    n1.cli("stop", "ended")
    n1.cli("restore", "ended")
    n1.wait_job("ended", 10, state="running", incarnation=1)
    ticks.wait_more(path)


@test
def what_cannot_be_captured_is_said_beforehand_and_the_job_runs_on(c, n1):
    script = ("import os, sys, time, ctypes; fd = ctypes.CDLL(None).syscall(323, 1)\n"  # userfaultfd(USER_MODE_ONLY)
              "assert fd >= 0\nwhile True: print('tick', flush=True); time.sleep(0.05)")
    n1.run("--name", "holder", "--", ticks.TICKER[0], "-c", script)
    wait_until(lambda: n1.cli("logs", "holder").stdout, 10, "it runs")
    done = n1.cli("checkpoint", "holder", check=False)
    assert done.returncode == 1 and "userfaultfd" in done.stderr, done
    have = len(n1.cli("logs", "holder").stdout)
    wait_until(lambda: len(n1.cli("logs", "holder").stdout) > have, 5, "it runs on")


@test
def a_stopped_process_of_a_job_stays_stopped(c, n1):
    path = start(c, n1, "stopped")
    n1.cli("signal", "STOP", "stopped")
    n1.cli("checkpoint", "stopped")
    n1.cli("restore", "--force", "stopped")
    n1.wait_job("stopped", 10, state="running", incarnation=1)
    n1.cli("signal", str(int(signal.SIGCONT)), "stopped")
    ticks.wait_more(path)
