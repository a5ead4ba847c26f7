"""An agent that any user may start: keyed checkpoints and supervision, and no process of a job left behind."""
import os
import subprocess

from agents import BUILD, wait_until
from harness import test

ALICE = (4711, 4711, [])


def setup(cluster):
    """The user's own agent, on a node where root runs none."""
    n1 = cluster.add("n1")
    place = os.path.join(cluster.shared, "alice")
    os.mkdir(place, 0o700)
    os.chown(place, *ALICE[:2])
    argv = [os.path.join(BUILD, "cpagentd"), "--name", "alice-" + cluster.id, "--run", place + "/run", "--state",
            place + "/state"]
    with open(n1.log, "ab") as log:
        n1.others.append(subprocess.Popen(n1.command(argv, "/", ALICE), stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    env = dict(os.environ, CPAGENT_RUN=place + "/run")
    wait_until(lambda: n1.cli("ps", check=False, user=ALICE, env=env).returncode == 0, 10, "alice's agent answers")
    return cluster, n1, env


def marked(n1, mark):
    """Processes of the node that have this argument."""
    return n1.do("pgrep", "-c", "-x", "-f", "sleep " + mark, check=False).stdout.strip()


@test
def a_killed_job_leaves_none_of_its_processes_beside_the_next(c, n1, env):
    n1.cli("run", "-d", "--name", "tree", "--", "sh", "-c", "sleep 4321 & sleep 4321; true", user=ALICE, env=env)
    wait_until(lambda: marked(n1, "4321") == "2", 5, "both sleep")
    n1.cli("signal", "KILL", "tree", user=ALICE, env=env)
    wait_until(lambda: n1.json("ps", user=ALICE, env=env)["jobs"][0]["incarnation"] == 1, 10, "it is started again")
    wait_until(lambda: marked(n1, "4321") == "2", 5, "two sleep, not four")
    n1.cli("stop", "--grace", "0", "tree", user=ALICE, env=env)
    wait_until(lambda: marked(n1, "4321") == "0", 5, "none is left")


@test
def a_job_goes_on_from_its_keys(c, n1, env):
    heat = os.path.join(BUILD, "hooks/examples/heat")
    out = os.path.join(c.shared, "alice", "heat.out")
    n1.cli("run", "-d", "--name", "heat", "--mode", "keyed", "--", heat, "--size", "64", "--steps", "400", "--every", "10",
           "--pace", "15", "--out", out, user=ALICE, env=env)
    wait_until(lambda: n1.json("keys", "heat", user=ALICE, env=env)["keys"], 10, "it has a key")
    n1.cli("signal", "KILL", "heat", user=ALICE, env=env)
    assert n1.cli("wait", "heat", user=ALICE, env=env).returncode == 0
    assert "restored at step" in n1.cli("logs", "heat", user=ALICE, env=env).stdout
    assert os.path.getsize(out) > 0


@test
def a_snapshot_is_refused_with_the_reason(c, n1, env):
    n1.cli("run", "-d", "--name", "plain", "--", "sleep", "1000", user=ALICE, env=env)
    done = n1.cli("checkpoint", "plain", check=False, user=ALICE, env=env)
    assert done.returncode == 1 and "root" in done.stderr, done
    n1.cli("stop", "--grace", "0", "plain", user=ALICE, env=env)


@test
def a_program_that_asks_for_one_is_told_so_and_has_a_directory_for_files(c, n1, env):
    def said():
        return n1.cli("logs", "asks", user=ALICE, env=env).stdout.splitlines()
    look = "stat -c '%%a %%u' ${CPAGENT_ARENA%%arena}files && exec %s" % os.path.join(BUILD, "tests/system/jobs/snapper")
    n1.cli("run", "-d", "--name", "asks", "--", "sh", "-c", look, user=ALICE, env=env)
    wait_until(lambda: len(said()) >= 2, 10, "it is answered")
    assert said()[0] == "700 4711" and "failed: cpa_snapshot: no process snapshot on this node" in said()[1], said()
    n1.cli("stop", "--grace", "0", "asks", user=ALICE, env=env)
