"""Keyed checkpoints of a job that uses the hooks: listed, printed, and what a restart goes on from."""
import os
import struct
import subprocess
import sys

from agents import BUILD, wait_until
from harness import test

HEAT = os.path.join(BUILD, "hooks/examples/heat")
SCRIBBLE = """
import mmap, os, random
fd = os.open(os.environ['CPAGENT_ARENA'], os.O_RDWR)
size = max(os.fstat(fd).st_size, 4096)
m = mmap.mmap(fd, size)
chance = random.Random(5)
print('scribbling', flush=True)
while True:
    at = chance.choice([chance.randrange(4096), chance.randrange(65536), chance.randrange(size)]) % (size - 64)
    m[at:at + 8] = chance.choice([bytes(8), b'\\xff' * 8, chance.randbytes(8)])
"""


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


def heat(steps, out, pace=0, every=10):
    return [HEAT, "--size", "64", "--steps", str(steps), "--every", str(every), "--pace", str(pace), "--out", out]


def key_of(n1, job):
    return next(iter(n1.json("keys", job)["keys"]), None)


@test
def a_job_killed_goes_on_from_its_keys_to_the_same_result(c, n1):
    out, plain = (os.path.join(c.shared, name) for name in ("heat.out", "plain.out"))
    subprocess.run(heat(300, plain) + ["--arena", c.dir], check=True, stdout=subprocess.DEVNULL)
    n1.run("--name", "heat", "--mode", "keyed", "--", *heat(300, out, pace=20))
    wait_until(lambda: "step 50\n" in n1.cli("logs", "heat").stdout, 20, "it has come to step 50")
    n1.cli("signal", "KILL", "heat")
    n1.wait_job("heat", 10, incarnation=1)
    assert n1.cli("wait", "heat").returncode == 0
    lines = n1.cli("logs", "heat").stdout.splitlines()
    restored = [int(line.split()[-1]) for line in lines if line.startswith("restored at step")]
    assert len(restored) == 1 and restored[0] >= 50, lines
    with open(out, "rb") as a, open(plain, "rb") as b:
        assert a.read() == b.read()


@test
def keys_are_listed_with_their_variables_and_printed(c, n1):
    n1.run("--name", "listed", "--", *heat(100000, "/dev/null", pace=5))
    key = wait_until(lambda: key_of(n1, "listed"), 10, "it has a key")
    assert (key["key"], key["level"]) == ("plate", 1) and key["version"] >= 1, key
    shape = [(v["type"], v["count"]) for v in key["vars"]]
    assert len(shape) == 4 and shape[3][1] == 64 * 64, shape
    text = n1.cli("get", "listed", "plate").stdout
    assert "64" in text.split(), text
    out = os.path.join(c.shared, "plate.bin")
    n1.cli("get", "-o", out, "listed", "plate")
    with open(out, "rb") as f:
        value = f.read()
    step, size, work = struct.unpack("<3q", value[:24])
    assert (size, work, step % 10, len(value)) == (64, 1, 0, 24 + 8 * 64 * 64), (step, size, work, len(value))
    assert n1.cli("get", "listed", "no-such-key", check=False).returncode == 3
    wait_until(lambda: n1.job("listed")["keys"]["count"] == 1, 10, "ps counts it")


@test
def keys_and_their_job_survive_their_agent(c, n1):
    n1.run("--name", "held", "--", *heat(100000, "/dev/null", pace=5))
    before = wait_until(lambda: key_of(n1, "held"), 10, "it has a key")["version"]
    n1.agent_kill()
    n1.agent_start()
    wait_until(lambda: key_of(n1, "held")["version"] > before, 10, "a newer version is seen")


@test(limit=90)
def a_job_that_scribbles_over_its_arena_hurts_nobody_else(c, n1):
    n1.run("--name", "vandal", "--", sys.executable, "-c", SCRIBBLE)
    n1.run("--name", "neighbour", "--", *heat(100000, "/dev/null", pace=5))
    wait_until(lambda: n1.cli("logs", "vandal").stdout, 10, "it scribbles")
    wait_until(lambda: key_of(n1, "neighbour"), 10, "the other has a key")
    agent = n1.agent_pid()
    for _ in range(20):
        n1.cli("keys", "vandal", check=False)
        n1.cli("get", "vandal", "plate", check=False)
        n1.cli("ps")
        n1.cli("checkpoint", "vandal", check=False)
    before = key_of(n1, "neighbour")["version"]
    wait_until(lambda: key_of(n1, "neighbour")["version"] > before, 10, "the other's keys are seen")
    assert n1.agent_pid() == agent


@test
def a_job_restored_from_a_snapshot_has_the_arena_of_that_moment(c, n1):
    out = os.path.join(c.shared, "both.out")
    n1.run("--name", "both", "--mode", "process", "--", *heat(400, out, pace=5))
    wait_until(lambda: "step 50\n" in n1.cli("logs", "both").stdout, 20, "it has come to step 50")
    n1.cli("checkpoint", "both")
    wait_until(lambda: "step 120\n" in n1.cli("logs", "both").stdout, 20, "it has come to step 120")
    n1.cli("restore", "--force", "both")
    n1.wait_job("both", 10, incarnation=1)
    assert n1.cli("wait", "both").returncode == 0
    lines = n1.cli("logs", "both").stdout.splitlines()
    assert lines == ["started at step 0"] + ["step %d" % s for s in range(10, 401, 10)] + ["done"], lines
