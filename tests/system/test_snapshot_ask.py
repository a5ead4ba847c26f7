"""Snapshots that a job asks for itself, and of jobs that hold a userfaultfd: they are asked to let go of it first."""
import os
import re
import struct
import time
from datetime import datetime

from agents import BUILD, SLOW, ended, wait_until
from harness import test

ASKER, PROTECTOR, SNAPPER, TRACKER = (os.path.join(BUILD, "tests/system/jobs", name)
                                      for name in ("asker", "protector", "snapper", "tracker"))


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


def said(n1, job):
    return n1.lines(job)


def start_tracker(n1, mode, *options):
    n1.run("--name", mode, *options, "--", TRACKER, mode)
    wait_until(lambda: said(n1, mode), 10, "it has a userfaultfd")


@test
def a_program_that_asks_for_a_snapshot_of_itself_returns_twice(c, n1):
    n1.run("--name", "twice", "--mode", "process", "--", SNAPPER)
    wait_until(lambda: "taken 2 at 80" in said(n1, "twice"), 20, "it has asked twice")
    n1.cli("signal", "KILL", "twice")
    n1.wait_job("twice", 10, state="running", incarnation=1)
    wait_until(lambda: any(w.startswith("restored at") for w in said(n1, "twice")), 10, "it has returned again")
    lines = said(n1, "twice")
    back = [w for w in lines if w.startswith("restored")][0]
    assert re.fullmatch(r"restored at \d*[02468]0", back) and lines[lines.index(back) - 1] == "told of incarnation 1", lines
    wait_until(lambda: said(n1, "twice")[-1].startswith("taken"), 20, "it asks again")
    assert {g["reason"] for g in n1.history("twice")} == {"asked by the job"}, n1.history("twice")
    assert not any("failed" in w for w in said(n1, "twice")), said(n1, "twice")


@test
def an_ask_that_cannot_be_carried_out_is_answered_with_the_reason(c, n1):
    n1.run("--name", "refused", "--", "sh", "-c", "exec %s 4</dev/fuse" % SNAPPER)
    wait_until(lambda: any("failed: cpa_snapshot:" in w and "/dev/fuse" in w for w in said(n1, "refused")), 20,
               "it is told why")
    assert n1.job("refused")["state"] == "running"


@test
def an_ask_whose_datagram_got_lost_is_found(c, n1):
    n1.run("--name", "silent", "--", ASKER, "silent")
    wait_until(lambda: said(n1, "silent")[:2] == ["answered 0: 1", "answered 0: 2"], 10, "it is answered")


@test
def what_was_asked_while_the_agent_was_away_is_answered_by_the_next(c, n1):
    n1.run("--name", "away", "--", SNAPPER)
    wait_until(lambda: said(n1, "away"), 10, "it asks")
    n1.agent_kill()
    n1.agent_start()
    count = len(said(n1, "away"))
    wait_until(lambda: len(said(n1, "away")) >= count + 2, 10, "it is answered again")
    assert not any("failed" in w for w in said(n1, "away")), said(n1, "away")


@test
def a_job_that_asks_for_anything_all_the_time_hurts_nobody_else(c, n1):
    n1.run("--name", "flood", "--", ASKER, "flood")
    n1.run("--name", "other", "--", SNAPPER)
    wait_until(lambda: said(n1, "flood"), 10, "it asks")
    wait_until(lambda: len(said(n1, "other")) >= 5, 20, "the other is answered")
    assert not any("failed" in w for w in said(n1, "other")), said(n1, "other")
    began = time.monotonic()
    for _ in range(20):
        n1.cli("ps")
    assert time.monotonic() - began < 5 * SLOW
    assert n1.log_size() < 1 << 20


def asked_for(n1, job):
    """(when it was there, how long it took) of each snapshot that the job asked for, from the agent's log, in seconds."""
    lines = [w for w in n1.log_text().splitlines() if " snapshot " in w and "job=%s" % n1.job(job)["job"] in w]
    when = [datetime.fromisoformat(w.split()[0].replace("Z", "+00:00")).timestamp() for w in lines]
    return list(zip(when, (float(re.search(r"total_ms=([0-9.]+)", w)[1]) / 1000 for w in lines)))


@test
def a_job_that_asks_for_one_snapshot_after_another_pauses_in_between(c, n1):
    n1.run("--name", "greedy", "--", ASKER, "greedy")
    wait_until(lambda: len(asked_for(n1, "greedy")) >= 4, 30, "it has asked four times")
    asked = asked_for(n1, "greedy")
    for (at, took), (later, _) in zip(asked, asked[1:]):
        assert later - at >= 3 * took, asked
    n1.cli("checkpoint", "greedy", timeout=20)  # who is not the job does not wait for its pause
    assert n1.history("greedy")[-1]["reason"] in ("demand", "asked by the job"), n1.history("greedy")


@test
def a_job_killed_while_it_waits_for_its_turn_may_ask_again(c, n1):
    n1.run("--name", "killed", "--restart", "permanent", "--", ASKER, "greedy")
    wait_until(lambda: len(said(n1, "killed")) >= 2, 20, "it is asking again")
    n1.cli("signal", "KILL", "killed")
    n1.wait_job("killed", 20, state="running", incarnation=1)
    count = len(said(n1, "killed"))
    wait_until(lambda: len(said(n1, "killed")) >= count + 2, 30, "it is answered again")


@test
def what_was_asked_by_a_process_that_is_gone_is_not_taken(c, n1):
    n1.run("--name", "gone", "--restart", "permanent", "--mode", "keyed", "--", "sh", "-c",
           "[ $CPAGENT_INCARNATION = 0 ] && exec %s greedy; exec sleep 1000" % ASKER)
    wait_until(lambda: len(said(n1, "gone")) >= 2, 20, "it is asking again")
    n1.cli("signal", "KILL", "gone")
    n1.wait_job("gone", 20, state="running", incarnation=1)
    taken = len(n1.history("gone"))
    n1.run("--name", "later", "--", ASKER, "greedy")
    wait_until(lambda: len(said(n1, "later")) >= 4, 30, "one that asked later has had its turns")
    assert len(n1.history("gone")) == taken, n1.history("gone")


def how(n1, job):
    """How its newest version was gathered, and that version."""
    keys = n1.json("keys", job)["keys"]
    return (keys[0]["how"], keys[0]["version"]) if keys else (None, 0)


def tracks_on(n1, job):
    """It checkpoints what the kernel saw change, again and again, and what it reads back is right."""
    before = how(n1, job)[1]
    wait_until(lambda: how(n1, job)[0] == "dirty pages" and how(n1, job)[1] > before, 10, "dirty pages again")
    assert not any("differs" in w for w in said(n1, job)), said(n1, job)


@test
def protected_regions_are_tracked_between_snapshots_of_their_process(c, n1):
    n1.run("--name", "regions", "--every", "1s", "--", PROTECTOR)
    for generation in range(1, 4):
        wait_until(lambda: (n1.job("regions")["snapshot"] or {"generation": 0})["generation"] >= generation, 10,
                   "snapshot %d" % generation)
        tracks_on(n1, "regions")
    assert all(g["note"] is None for g in n1.history("regions")), n1.history("regions")
    wait_until(lambda: "dirty pages" in n1.cli("keys", "regions").stdout, 10, "the table says so")


@test
def protected_regions_of_a_restored_process_are_tracked_again(c, n1):
    n1.run("--name", "again", "--mode", "process", "--", PROTECTOR)
    wait_until(lambda: how(n1, "again")[0] == "dirty pages", 10, "it tracks")
    n1.cli("checkpoint", "again")
    n1.cli("signal", "KILL", "again")
    n1.wait_job("again", 10, state="running", incarnation=1)
    tracks_on(n1, "again")


@test
def a_program_that_computes_without_a_call_runs_on_without_a_snapshot(c, n1):
    n1.run("--name", "deaf", "--every", "1s", "--", PROTECTOR, "60")
    wait_until(lambda: n1.history("deaf") and n1.history("deaf")[-1]["note"], 20, "a snapshot that was not taken")
    assert "(protector) holds a userfaultfd and made no call of libcpagent within 10 s" in n1.history("deaf")[-1]["note"]
    lines = said(n1, "deaf")
    assert lines[-1].startswith("computed") and n1.job("deaf")["incarnation"] == 0, lines[-3:]
    wait_until(lambda: len(said(n1, "deaf")) > len(lines), 5, "it computes on")


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


def waiting_for_it(n1, job, *options):
    """A checkpoint of a job that does not let go: it waits. Returns the command and the job's arena."""
    start_tracker(n1, job, *options)
    arena = arena_of(n1, job)
    waiting = n1.popen("checkpoint", job)
    wait_until(lambda: give_up(arena), 5, "it is asked to let go")
    return waiting, arena


def told_before_the_end(waiting):
    """It failed, and not because the ten seconds were over that a job has to let go."""
    status, error = ended(waiting, 20), waiting.stderr.read()
    return status and "within 10 s" not in error


@test
def a_job_that_does_not_let_go_can_be_stopped_meanwhile(c, n1):
    waiting, _ = waiting_for_it(n1, "busy")
    n1.cli("stop", "--grace", "0", "busy")
    assert told_before_the_end(waiting)


@test
def who_waits_for_a_snapshot_of_a_job_that_ended_is_told(c, n1):
    first, _ = waiting_for_it(n1, "busy", "--restart", "temporary")
    connections = "/proc/%d/fd" % n1.agent_pid()
    before = len(os.listdir(connections))
    second = n1.popen("checkpoint", "busy")
    wait_until(lambda: len(os.listdir(connections)) > before, 5, "the second one waits")
    n1.cli("ps")  # answered behind it
    n1.cli("signal", "KILL", "busy")
    assert told_before_the_end(first) and told_before_the_end(second)


@test
def an_agent_killed_while_a_job_was_to_let_go_takes_that_back_when_it_is_there_again(c, n1):
    waiting, arena = waiting_for_it(n1, "busy")
    n1.agent_kill()
    assert ended(waiting, 10) != 0
    assert give_up(arena)
    n1.agent_start()
    wait_until(lambda: not give_up(arena), 5, "it may take one again")


@test
def an_agent_that_is_stopped_does_not_wait_for_a_job_to_let_go(c, n1):
    waiting, arena = waiting_for_it(n1, "busy")
    assert n1.agent_term() == 0 and not give_up(arena)
    assert told_before_the_end(waiting)
    n1.agent_start()


@test
def an_interval_at_which_nothing_can_be_taken_is_one_line_of_history(c, n1):
    start_tracker(n1, "stranger", "--every", "50ms")
    wait_until(lambda: n1.history("stranger") and n1.history("stranger")[-1]["generation"] >= 3, 10, "three attempts")
    assert len(n1.history("stranger")) == 1, n1.history("stranger")


@test
def a_program_is_told_how_often_its_job_has_failed(c, n1):
    began, least = time.monotonic(), 0
    n1.run("--name", "fails", "--restart", "permanent", "--", TRACKER, "polite")
    assert mtbf(n1, "fails") == 0
    for incarnation in (1, 2):
        runs = time.monotonic()
        time.sleep(0.5)
        n1.agent_kill()
        n1.agent_start()
        least += time.monotonic() - runs
        n1.cli("signal", "KILL", "fails")
        n1.wait_job("fails", 10, state="running", incarnation=incarnation)
        most, found = time.monotonic() - began, mtbf(n1, "fails")
        assert least - 0.1 < found * incarnation <= most, (least, found, most)
    n1.cli("checkpoint", "fails")
    n1.cli("restore", "--force", "fails")  # no failure
    n1.wait_job("fails", 10, state="running", incarnation=3)
    assert mtbf(n1, "fails") >= found, (mtbf(n1, "fails"), found)


def mtbf(n1, job):
    """In seconds, as its arena has it. (arena_header.mtbf_ms)"""
    with open(arena_of(n1, job), "rb") as f:
        return struct.unpack("<Q", f.read(4096)[152:160])[0] / 1000
