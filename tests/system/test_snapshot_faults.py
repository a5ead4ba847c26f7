"""Snapshots when things break: damaged images, no room, an agent killed in the middle of one."""
import os
import random
import sys
import time

import images
import ticks
from agents import ended, wait_until
from harness import test

ROOM = "96M"
BIG = "x = bytearray(b'%s' * (160 << 20)); import time\nwhile True: print('tick', flush=True); time.sleep(0.05)"


def setup(cluster):
    n1, small = cluster.add("n1"), cluster.add("small", run_size=ROOM)
    n1.agent_start()
    small.agent_start()
    return cluster, n1, small


def start(c, node, name, *options):
    path = os.path.join(c.shared, name)
    node.run("--name", name, *options, "--", *ticks.TICKER, path)
    ticks.wait_more(path)
    return path


@test
def a_damaged_image_is_never_restored_and_the_one_before_is(c, n1, small):
    path = start(c, n1, "flipped")
    n1.cli("checkpoint", "flipped")
    far = ticks.last(path)[2]
    ticks.wait_more(path, 40)
    n1.cli("checkpoint", "flipped")
    ticks.wait_more(path, 5)
    images.flip_a_byte(images.of(n1, "flipped")[-1])
    n1.cli("restore", "--force", "flipped")
    n1.wait_job("flipped", 15, state="running", incarnation=1)
    back = ticks.went_back(path)
    assert 0 < back <= far + 1, (back, far)
    assert [g["restorable"] for g in n1.history("flipped")] == [True, False], n1.history("flipped")


@test
def a_damaged_generation_that_was_asked_for_is_refused(c, n1, small):
    start(c, n1, "ruined")
    n1.cli("checkpoint", "ruined")
    n1.cli("stop", "ruined")
    images.flip_a_byte(images.of(n1, "ruined")[-1])
    done = n1.cli("restore", "--generation", "1", "ruined", check=False)
    assert done.returncode == 1 and "damaged" in done.stderr, done
    assert n1.job("ruined")["state"] != "running"
    n1.cli("ps")


@test
def without_room_there_is_no_snapshot_and_the_job_runs_on(c, n1, small):
    small.run("--name", "big", "--", sys.executable, "-c", BIG % "x")
    wait_until(lambda: small.cli("logs", "big").stdout, 20, "it has its memory")
    done = small.cli("checkpoint", "big", check=False)
    assert done.returncode == 1 and "space" in done.stderr, done
    have = len(small.cli("logs", "big").stdout)
    wait_until(lambda: len(small.cli("logs", "big").stdout) > have, 5, "it runs on")
    small.cli("stop", "--grace", "0", "big")
    start(c, small, "little")
    assert small.cli("checkpoint", "little").stdout == "1\n"


@test(limit=150)
def an_agent_killed_anywhere_in_a_snapshot_costs_at_most_that_snapshot(c, n1, small):
    path = start(c, n1, "battered", "--keep", "2")
    n1.cli("checkpoint", "battered")
    chance = random.Random(2)
    for _ in range(15):
        asking = n1.popen("checkpoint", "battered")
        time.sleep(chance.uniform(0.02, 0.3))  # anywhere in it
        n1.agent_kill()
        ended(asking, 30)
        n1.agent_start()
        assert n1.wait_job("battered", 10, state="running")["incarnation"] == 0
        ticks.wait_more(path, 3)
    n1.cli("checkpoint", "battered")
    n1.cli("restore", "--force", "battered")
    n1.wait_job("battered", 10, state="running", incarnation=1)
    ticks.wait_more(path)


@test(limit=150)
def an_agent_killed_anywhere_in_a_restore_leaves_one_copy_or_none(c, n1, small):
    path = start(c, n1, "revived")
    n1.cli("checkpoint", "revived")
    chance = random.Random(3)
    for _ in range(8):
        asking = n1.popen("restore", "--force", "revived")
        time.sleep(chance.uniform(0.02, 0.4))  # anywhere in it
        n1.agent_kill()
        ended(asking, 30)
        n1.agent_start()
        n1.wait_job("revived", 20, state="running")
        ticks.wait_more(path)
        here = [t[0] for t in ticks.read(path)[-5:]]
        assert all(b - a > 0.01 for a, b in zip(here, here[1:])), "two copies tick: %s" % here


@test
def a_generation_that_cannot_live_is_set_aside_for_the_one_before(c, n1, small):
    """The file that it wants is gone in one of them: it dies at once whenever it is restored from there."""
    flag, path = os.path.join(c.shared, "flag"), os.path.join(c.shared, "crasher")
    script = ("import os, time\nn, bad = 0, False\nwhile True:\n  n += 1\n  bad = bad or os.path.exists(%r)\n"
              "  if bad and os.path.exists(%r + '.now'): os._exit(1)\n"
              "  open(%r, 'a').write('%%d\\n' %% n)\n  time.sleep(0.02)\n" % (flag, flag, path))
    n1.run("--name", "crasher", "--max-restarts", "20", "--files", "shared", "--", sys.executable, "-c", script)
    wait_until(lambda: os.path.exists(path), 10, "it runs")
    n1.cli("checkpoint", "crasher")
    open(flag, "w").close()
    size = os.path.getsize(path)
    wait_until(lambda: os.path.getsize(path) >= size + 16, 10, "it has seen the flag, turns ago")
    n1.cli("checkpoint", "crasher")
    os.unlink(flag)
    open(flag + ".now", "w").close()
    n1.wait_log("name=crasher .*from snapshot 1$", 40)
    size = os.path.getsize(path)
    wait_until(lambda: os.path.getsize(path) > size + 100, 20, "it lives")
    job = n1.job("crasher")
    assert job["state"] == "running" and job["incarnation"] < 10, job
