"""Jobs in other languages than C: what their bindings hear of the agent; and the example that asks for a snapshot."""
import os
import subprocess
import sys

from agents import BUILD, wait_until
from harness import test

PLAIN = os.path.join(BUILD, "plain") if os.environ.get("SAN") else BUILD  # see the Makefile: bindings
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = ["env", "CPAGENT_LIB=" + PLAIN, "PYTHONPATH=" + os.path.join(TOP, "hooks", "python"), "PYTHONDONTWRITEBYTECODE=1",
          sys.executable, "-u"]

# A job that keeps a protected region and a plain key, and tells of what happens to it.
KEEPER = """
import cpagent, time
cp = cpagent.open()
print("began %s in %d" % (cp.incarnation().began, cp.incarnation().number))
region = bytearray(1 << 20)
cp.protect("region", region)
n = cp.restore("n", default={"n": 0})["n"]
if n:
    cp.restore_protected("region")
    assert region[n % 4096 * 256] == n % 251, (n, region[n % 4096 * 256])
print("at", n)

@cp.on_restart
def restarted(handle, incarnation):
    print("restarted as", incarnation)

while True:
    n += 1
    region[n % 4096 * 256] = n % 251
    cp.checkpoint_protected("region")
    cp.checkpoint("n", n=n)
    if n % 50 == 0:
        print("came to", n)
    time.sleep(0.002)
"""


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


def said(n1, job):
    return n1.lines(job)


def lines_of(n1, job, word):
    return [line for line in said(n1, job) if line.startswith(word)]


def newest(n1, job, word):
    return int((lines_of(n1, job, word) or [word + " 0"])[-1].split()[-1])


@test
def a_python_job_goes_on_from_its_keys(c, n1):
    n1.run("--name", "keyed", "--mode", "keyed", "--", *PYTHON, "-c", KEEPER)
    wait_until(lambda: newest(n1, "keyed", "came to") >= 100, 20, "it has come to 100")
    n1.cli("signal", "KILL", "keyed")
    n1.wait_job("keyed", 10, state="running", incarnation=1)
    wait_until(lambda: len(lines_of(n1, "keyed", "at")) == 2, 10, "it has begun again")
    assert lines_of(n1, "keyed", "began") == ["began fresh in 0", "began keys in 1"], said(n1, "keyed")
    assert newest(n1, "keyed", "at") >= 100, said(n1, "keyed")
    keys = {k["key"]: k for k in n1.json("keys", "keyed")["keys"]}
    assert [v["type"] for v in keys["n"]["vars"]] == ["i64"] and keys["region"]["vars"][0]["count"] == 1 << 20, keys


@test
def a_python_job_with_protected_regions_comes_back_from_a_snapshot(c, n1):
    n1.run("--name", "shot", "--mode", "process", "--", *PYTHON, "-c", KEEPER)
    wait_until(lambda: newest(n1, "shot", "came to") >= 50, 20, "it has come to 50")
    assert n1.cli("checkpoint", "shot").stdout.strip() == "1"
    n1.cli("signal", "KILL", "shot")
    n1.wait_job("shot", 20, state="running", incarnation=1)
    wait_until(lambda: lines_of(n1, "shot", "restarted"), 10, "it is told")
    assert lines_of(n1, "shot", "restarted") == ["restarted as 1"], said(n1, "shot")
    before = newest(n1, "shot", "came to")
    wait_until(lambda: newest(n1, "shot", "came to") > before, 10, "it goes on")
    assert len(lines_of(n1, "shot", "began")) == 1, said(n1, "shot")


@test
def a_python_job_that_asked_for_a_key_at_its_start_can_be_started_anew(c, n1):
    program = ("import cpagent, time\ncp = cpagent.open()\nn = cp.restore('n', default={'n': 0})['n']\nprint('at', n)\n"
               "while True:\n    n += 1\n    cp.checkpoint('n', n=n)\n    n % 50 or print('came to', n)\n    time.sleep(0.002)\n")
    n1.run("--name", "auto", "--mode", "auto", "--", *PYTHON, "-c", program)
    wait_until(lambda: newest(n1, "auto", "came to") >= 50, 20, "it has come to 50")
    n1.cli("signal", "KILL", "auto")
    wait_until(lambda: len(lines_of(n1, "auto", "at")) == 2, 10, "it has begun again")
    assert newest(n1, "auto", "at") >= 50, said(n1, "auto")


@test
def a_python_job_asks_for_a_snapshot_of_itself(c, n1):
    program = ("import cpagent, os, signal\ncp = cpagent.open()\nshot = cp.snapshot(60)\n"
               "print('restored' if shot.restored else 'taken %d' % shot.generation)\n"
               "shot.restored or os.kill(os.getpid(), signal.SIGKILL)\n")
    n1.run("--name", "asks", "--", *PYTHON, "-c", program)
    assert n1.cli("wait", "asks").returncode == 0
    # what it said after the snapshot went back with it
    assert said(n1, "asks") == ["restored"] and n1.job("asks")["incarnation"] == 1, said(n1, "asks")


@test
def the_example_that_asks_for_a_snapshot_returns_twice(c, n1):
    n1.run("--name", "twice", "--", os.path.join(PLAIN, "hooks/examples/snapshot"))
    assert n1.cli("wait", "twice").returncode == 0
    assert said(n1, "twice") == ["back, in incarnation 1"], said(n1, "twice")


@test
def a_fortran_job_is_told_how_it_began_and_that_it_was_restored(c, n1):
    life = os.path.join(PLAIN, "tests/bindings/test_fortran_life")
    n1.run("--name", "told", "--mode", "process", "--", life)
    wait_until(lambda: newest(n1, "told", "came to") >= 50, 20, "it has come to 50")
    assert n1.cli("checkpoint", "told").stdout.strip() == "1"
    before = newest(n1, "told", "came to")
    n1.cli("signal", "KILL", "told")
    n1.wait_job("told", 20, state="running", incarnation=1)
    wait_until(lambda: lines_of(n1, "told", "at"), 10, "it is told")
    assert lines_of(n1, "told", "restarted") == ["restarted as 1"], said(n1, "told")
    wait_until(lambda: newest(n1, "told", "came to") > before, 10, "it goes on")
    assert lines_of(n1, "told", "began") == ["began 0 at 0"], said(n1, "told")
    n1.run("--name", "anew", "--mode", "auto", "--", life)  # cpa_on_init says that it can be started anew
    wait_until(lambda: newest(n1, "anew", "came to") >= 50, 20, "it has come to 50")
    n1.cli("signal", "KILL", "anew")
    wait_until(lambda: len(lines_of(n1, "anew", "began")) == 2, 20, "it has begun again")
    assert lines_of(n1, "anew", "began")[1].startswith("began 2 at ") and newest(n1, "anew", "began") >= 50, said(n1, "anew")


@test
def a_fortran_job_goes_on_from_its_keys_to_the_same_result(c, n1):
    heat = [os.path.join(PLAIN, "hooks/examples/heat_fortran"), "200", "40000", "20"]
    out, plain = (os.path.join(c.shared, name) for name in ("heat.out", "plain.out"))
    subprocess.run([*heat, plain, c.dir], check=True, stdout=subprocess.DEVNULL)
    n1.run("--name", "heat", "--mode", "keyed", "--", *heat, out)
    wait_until(lambda: newest(n1, "heat", "step") >= 100, 20, "it has come to step 100")
    n1.cli("signal", "KILL", "heat")
    assert n1.cli("wait", "heat").returncode == 0
    restored = lines_of(n1, "heat", "restored")
    assert len(restored) == 1 and int(restored[0].split()[-1]) >= 100, said(n1, "heat")
    with open(out, "rb") as a, open(plain, "rb") as b:
        assert a.read() == b.read()
