"""Keys on their way up while everything about them goes wrong: agents that are killed, a store that is lost."""
import glob
import os
import random
import shutil
import time

from agents import BUILD, SLOW, wait_until
from harness import test

KEYED = os.path.join(BUILD, "tests/system/jobs/keyed")
FOR_EVER = -1
# large ones have chunks of their own; small ones share some
COUNTS = {"large": 300000, "middle": 20000, "small": 10}
JOB = """
%(keyed)s checkpoint still 7 400000 1 checkpoint quiet 8 20 1
for key in %(keys)s; do
  %(keyed)s loop %(flag)s ${key%%%%:*} ${key##*:} 1 wait ${key%%%%:*} 2 -1 fetch ${key%%%%:*} 2 0 &
done
wait
%(keyed)s wait still 2 -1 fetch still 2 0 wait quiet 2 -1 fetch quiet 2 0 until %(flag)s.end
"""


def setup(cluster):
    """n1 - top"""
    top, n1 = cluster.add("top"), cluster.add("n1")
    how = {"key": cluster.key, "update": "200ms", "lease": "%ds" % (60 * SLOW)}
    top.agent_start(level=2, listen=top.url, **how)
    n1.agent_start(parent=top.url, **how)
    cluster.wait_up(top, n1)
    return cluster, top, n1


def begin(c, n1, name):
    flag = os.path.join(c.shared, name)
    keys = " ".join("%s:%d" % item for item in COUNTS.items())
    n1.run("--name", name, "--arena", "64M", "--", "bash", "-c", JOB % {"keyed": KEYED, "flag": flag, "keys": keys})
    return n1.job(name)["job"], flag


def newest(top, job):
    """The newest keyset that the level above holds; 0: none."""
    names = [os.path.basename(p)[2:] for p in glob.glob(top.path("/run/cpagent/store/jobs/%s/k-*" % job))]
    return max([int(n) for n in names if n.isdigit()] + [0])  # others are what a killed agent was writing


def goes_on(top, job, times=1):
    was = newest(top, job)
    wait_until(lambda: newest(top, job) >= was + times, 30, "newer keysets than %d come up" % was)


def all_fetched_right(n1, name, flag):
    open(flag, "w").close()
    wanted = len(COUNTS) + 2
    got = wait_until(lambda: (lambda all: all if len(all) == wanted else None)(
        [line.split() for line in n1.lines(name) if line.startswith("fetch")]), 40, "all keys are fetched from above")
    for line in got:
        assert line[1] == "0" and line[3] == "0" and line[5] == "right", got
    assert {line[4] for line in got} > {"7", "8"}, got
    open(flag + ".end", "w").close()
    assert n1.cli("wait", name).returncode == 0


@test
def keys_arrive_whole_whoever_is_killed_on_their_way(c, top, n1):
    job, flag = begin(c, n1, "killed")
    chance = random.Random(3)
    goes_on(top, job, 2)
    for turn in range(8):
        victim = (n1, top)[turn % 2]
        time.sleep(chance.random() / 3)  # any moment will do
        victim.agent_kill()
        victim.agent_start()
        goes_on(top, job)
    all_fetched_right(n1, "killed", flag)


@test
def a_level_above_that_lost_all_it_held_gets_it_again(c, top, n1):
    job, flag = begin(c, n1, "lost")
    goes_on(top, job, 3)
    for _ in range(3):
        top.agent_kill()
        shutil.rmtree(top.path("/run/cpagent/store"))
        top.agent_start()
        goes_on(top, job, 2)
    all_fetched_right(n1, "lost", flag)
