"""Checkpoints that a job writes as files into its own directory: there for it, and part of its snapshots."""
import os
import sys

from agents import BUILD, wait_until
from harness import test

ROUTER = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs/router.py")]
FILER = os.path.join(BUILD, "tests/system/jobs/filer")
ALICE = (4711, 4711, [])


def setup(cluster):
    return (cluster, *cluster.standard())


def said(node, job):
    return node.lines(job)


def far(node, job):
    last = (said(node, job) or ["0"])[-1]
    assert last != "broken", said(node, job)[-5:]
    return int(last) if last.isdigit() else 0


def goes_on(node, job, count=20):
    least = far(node, job) + count
    wait_until(lambda: far(node, job) >= least, 10, "it goes on to %d" % least)


@test
def the_directory_is_its_users_alone_and_empty_for_a_command_started_anew(c, top, n1, n2):
    look = "cd ${CPAGENT_ARENA%arena}files && stat -c '%a %u' . && ls -A && echo text >x.part && echo looked && sleep 1000"
    n1.run("--name", "anew", "--restart", "permanent", "--", "sh", "-c", look, user=ALICE)
    wait_until(lambda: said(n1, "anew") == ["700 4711", "looked"], 10, "it has looked")
    n1.cli("signal", "KILL", "anew")
    n1.wait_job("anew", 10, state="running", incarnation=1)
    wait_until(lambda: said(n1, "anew") == ["700 4711", "looked"] * 2, 10, "it has found nothing")


@test
def files_in_the_making_are_rolled_back_with_their_process(c, top, n1, n2):
    n1.run("--name", "back", "--files", "shared", "--", *ROUTER)
    goes_on(n1, "back")
    n1.cli("checkpoint", "back")
    goes_on(n1, "back")
    n1.cli("signal", "KILL", "back")
    n1.wait_job("back", 10, state="running", incarnation=1)
    goes_on(n1, "back")


@test
def files_in_the_making_go_along_to_another_node(c, top, n1, n2):
    n1.run("--name", "moved", "--", *ROUTER)
    goes_on(n1, "moved")
    n1.cli("checkpoint", "--level", "2", "moved")
    n1.cli("restore", "--force", "--node", n2.agent_name, "moved")
    n2.wait_job("moved", 20, state="running", node=n2)
    goes_on(n2, "moved")


@test
def a_file_that_was_half_written_in_the_snapshot_is_finished_by_the_restored_program(c, top, n1, n2):
    n1.run("--name", "half", "--mode", "process", "--level", "1", "--", FILER)
    wait_until(lambda: "round 2" in said(n1, "half"), 20, "two rounds")
    n1.cli("signal", "KILL", "half")
    n1.wait_job("half", 10, state="running", incarnation=1)
    wait_until(lambda: any("restored in" in w for w in said(n1, "half")), 10, "it is back in the middle of one")
    lines = said(n1, "half")
    wait_until(lambda: len(said(n1, "half")) >= len(lines) + 2, 20, "it goes on")
    assert all(w.startswith(("round", "restored in")) for w in said(n1, "half")), said(n1, "half")


@test
def a_job_adopted_from_an_agent_that_made_no_such_directory_gets_one(c, top, n1, n2):
    n1.run("--name", "older", "--", "sleep", "1000")
    path = n1.path("/run/cpagent/jobs/%s/job/files" % n1.job("older")["job"])
    os.rmdir(path)
    n1.agent_kill()
    n1.agent_start()
    assert os.stat(path).st_mode & 0o7777 == 0o700
