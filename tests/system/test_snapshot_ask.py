"""Snapshots that a job asks for itself, and of jobs that hold a userfaultfd: they are asked to let go of it first."""
import os
import re

from agents import BUILD, wait_until
from harness import test

TRACKER = os.path.join(BUILD, "tests/system/jobs/tracker")


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


def said(n1, job):
    return n1.cli("logs", job).stdout.splitlines()


def start_tracker(n1, mode, *options):
    n1.run("--name", mode, *options, "--", TRACKER, mode)
    wait_until(lambda: said(n1, mode), 10, "it has a userfaultfd")


@test
def a_job_lets_go_of_its_userfaultfd_for_each_snapshot_and_takes_it_again(c, n1):
    start_tracker(n1, "polite", "--every", "300ms")
    wait_until(lambda: (n1.job("polite")["snapshot"] or {"generation": 0})["generation"] >= 3, 20, "three snapshots")
    wait_until(lambda: len(said(n1, "polite")) >= 7, 10, "it has taken it again three times")
    lines = said(n1, "polite")
    assert lines == (["took", "let go"] * len(lines))[:len(lines)], lines
    assert all(g["restorable"] or g["generation"] <= 2 for g in n1.history("polite")), n1.history("polite")


@test
def a_restored_job_takes_its_userfaultfd_again(c, n1):
    start_tracker(n1, "polite")
    n1.cli("checkpoint", "polite")
    n1.cli("restore", "--force", "polite")
    n1.wait_job("polite", 10, state="running", incarnation=1)
    wait_until(lambda: said(n1, "polite")[-2:] == ["let go", "took"], 10, "it takes it again")


@test
def a_job_that_makes_no_call_runs_on_without_this_snapshot_and_history_says_why(c, n1):
    start_tracker(n1, "busy")
    done = n1.cli("checkpoint", "busy", check=False)
    assert done.returncode == 1 and "made no call of libcpagent within 10 s" in done.stderr, done
    [past] = n1.history("busy")
    assert re.search(r"process \d+ \(tracker\) holds a userfaultfd and made no call of libcpagent", past["note"]), past
    assert not past["restorable"] and n1.job("busy")["state"] == "running"
    assert not give_up(arena_of(n1, "busy"))


@test
def a_userfaultfd_of_the_program_itself_is_refused_at_once(c, n1):
    start_tracker(n1, "stranger")
    since = n1.log_size()
    done = n1.cli("checkpoint", "stranger", check=False, timeout=8)
    assert done.returncode == 1 and "uses userfaultfd" in done.stderr, done
    assert "within 10 s" not in n1.log_text(since)


def arena_of(n1, job):
    return n1.path("/run/cpagent/jobs/%s/job/arena" % n1.job(job)["job"])


def give_up(arena):
    """Does it say that a snapshot is near? (arena_header.give_up)"""
    with open(arena, "rb") as f:
        return f.read(4096)[140:144] != bytes(4)


def waiting_for_it(n1, job):
    """A checkpoint of a job that does not let go: it waits. Returns the command and the job's arena."""
    start_tracker(n1, job)
    arena = arena_of(n1, job)
    waiting = n1.popen("checkpoint", job)
    wait_until(lambda: give_up(arena), 5, "it is asked to let go")
    return waiting, arena


@test
def a_job_that_does_not_let_go_can_be_stopped_meanwhile(c, n1):
    waiting, _ = waiting_for_it(n1, "busy")
    n1.cli("stop", "--grace", "0", "busy", timeout=5)
    assert waiting.wait(8) == 1


@test
def an_agent_killed_while_a_job_was_to_let_go_takes_that_back_when_it_is_there_again(c, n1):
    waiting, arena = waiting_for_it(n1, "busy")
    n1.agent_kill()
    assert waiting.wait(8) != 0
    assert give_up(arena)
    n1.agent_start()
    wait_until(lambda: not give_up(arena), 5, "it may take one again")


@test(limit=8)
def an_agent_that_is_stopped_does_not_wait_for_a_job_to_let_go(c, n1):
    waiting, arena = waiting_for_it(n1, "busy")
    assert n1.agent_term() == 0 and not give_up(arena)
    waiting.wait(8)
    n1.agent_start()


@test
def an_interval_at_which_nothing_can_be_taken_is_one_line_of_history(c, n1):
    start_tracker(n1, "stranger", "--every", "50ms")
    wait_until(lambda: n1.history("stranger") and n1.history("stranger")[-1]["generation"] >= 3, 10, "three attempts")
    assert len(n1.history("stranger")) == 1, n1.history("stranger")
