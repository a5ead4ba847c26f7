"""Two users: neither sees, stops, restores or reads what is the other's."""
import os

from agents import BUILD, wait_until
from harness import test

ALICE, BOB = (4711, 4711, []), (4722, 4722, [])
HEAT = os.path.join(BUILD, "hooks/examples/heat")


def setup(cluster):
    """CRIU needs help to dump another user's process where root lacks CAP_SYS_RESOURCE (rlimit_preload.c)."""
    criu = os.path.join(cluster.dir, "criu")
    with open(criu, "w") as f:
        f.write("#!/bin/sh\nPATH=$PATH:/opt/cpagent/bin\nLD_PRELOAD=%s/tests/rlimit_preload.so exec criu \"$@\"\n" % BUILD)
    os.chmod(criu, 0o755)
    n1 = cluster.add("n1")
    n1.agent_start(criu=criu)
    return cluster, n1


@test
def another_user_is_refused_everything(c, n1):
    n1.run("--name", "secret", "--", "sh", "-c", "echo hidden; exec sleep 1000", user=ALICE)
    uuid = n1.job("secret")["job"]
    n1.cli("checkpoint", "secret", user=ALICE)
    for job in ("secret", uuid):
        for command in (["logs"], ["stop"], ["checkpoint"], ["restore", "--force"], ["history"], ["keys"],
                        ["signal", "KILL"], ["wait", "--timeout", "1s"]):
            done = n1.cli(*command, job, user=BOB, check=False)
            assert done.returncode in (3, 5) and not done.stdout, (command, done)
        assert n1.cli("get", job, "any", user=BOB, check=False).returncode in (3, 5)
    job = n1.job("secret")
    assert (job["state"], job["incarnation"], job["uid"]) == ("running", 0, 4711), job


@test
def ps_shows_each_user_their_own_and_root_all(c, n1):
    n1.run("--name", "of-alice", "--", "sleep", "1000", user=ALICE)
    n1.run("--name", "of-bob", "--", "sleep", "1000", user=BOB)
    def seen(user):
        return {j["name"] for j in n1.json("ps", user=user)["jobs"]}
    assert (seen(ALICE), seen(BOB)) == ({"of-alice"}, {"of-bob"})
    assert seen(None) >= {"of-alice", "of-bob"}
    assert "of-alice" not in n1.cli("ps", "-a", user=BOB).stdout


@test
def two_users_may_have_jobs_of_one_name(c, n1):
    n1.run("--name", "same", "--", "sh", "-c", "id -u; exec sleep 1000", user=ALICE)
    n1.run("--name", "same", "--", "sh", "-c", "id -u; exec sleep 1000", user=BOB)
    for user in (ALICE, BOB):
        wait_until(lambda: n1.cli("logs", "same", user=user).stdout == "%d\n" % user[0], 5, "each sees their own")


@test
def a_users_job_is_restored_as_that_user(c, n1):
    place = os.path.join(c.shared, "of-alice.out")
    n1.run("--name", "mine", "--", "sh", "-c", "exec >%s; while :; do id -u; sleep 0.05; done" % place, user=ALICE)
    wait_until(lambda: os.path.exists(place) and os.path.getsize(place), 10, "it runs")
    n1.cli("checkpoint", "mine", user=ALICE)
    n1.cli("restore", "--force", "mine", user=ALICE)
    n1.wait_job("mine", 10, state="running", incarnation=1)
    size = os.path.getsize(place)
    wait_until(lambda: os.path.getsize(place) > size, 10, "it writes again")
    with open(place) as f:
        assert set(f.read().split()) == {"4711"}
    assert os.stat(place).st_uid == 4711


@test
def what_a_job_keeps_is_closed_to_others(c, n1):
    n1.run("--name", "kept", "--", HEAT, "--size", "64", "--steps", "100000", "--pace", "5", user=ALICE)
    wait_until(lambda: n1.json("keys", "kept")["keys"], 10, "it has a key")
    n1.cli("checkpoint", "kept", user=ALICE)
    uuid = n1.job("kept")["job"]
    find = ["find", "/run/cpagent/jobs/" + uuid, os.path.join(n1.state_dir, "jobs"), "-type", "f", "-readable"]
    found = n1.do(*find, user=BOB, check=False).stdout.split()
    assert not [f for f in found if os.path.basename(f) != "cpinit"], found


@test
def a_setuid_program_gains_nothing(c, n1):
    done = n1.cli("run", "--restart", "temporary", "--", "sh", "-c", "grep -E '^(Uid|CapEff)' /proc/self/status", user=BOB)
    assert "4722\t4722" in done.stdout and done.stdout.split()[-1].strip("0") == "", done.stdout
