"""Ranks: several jobs that know of each other, and go back to a version that all of them have."""
import os
import signal

from agents import BUILD, ENDED, ended, wait_until
from harness import test
from test_languages import PYTHON

RANKED = os.path.join(BUILD, "tests/system/jobs/ranked")
FRESH = True


def setup(cluster):
    """n1, n2 and n3 below top; keys go up when somebody asks for it."""
    top, n1, n2, n3 = (cluster.add(name) for name in ("top", "n1", "n2", "n3"))
    how = {"key": cluster.key, "update": "1h"}
    top.agent_start(level=2, listen=top.url, **how)
    for node in (n1, n2, n3):
        node.agent_start(parent=top.url, **how)
    for node in (n1, n2, n3):
        cluster.wait_up(top, node)
    return cluster, top, n1, n2, n3


def start(node, group, ranks, *steps, nodes=(), **options):
    """Names of the ranks."""
    opts = [word for k, v in options.items() for word in ("--" + k.replace("_", "-"), v)]
    where = ["--node", ",".join(n.agent_name for n in nodes)] if nodes else []
    return node.cli("run", "--detach", "--group", group, "--ranks", ranks, *where, *opts, "--", RANKED, *steps).stdout.split()


def said(node, name, what):
    lines = [line.split(None, 1) for line in node.lines(name)]
    return [" ".join(line[1:]) for line in lines if line[0] == what]


def wait_said(node, name, what, count=1, timeout=20):
    return wait_until(lambda: (lambda all: all[count - 1] if len(all) >= count else None)(said(node, name, what)), timeout,
                      "%s says %s" % (name, what))


def flag(c, name):
    return os.path.join(c.shared, name)


def raise_flag(c, name):
    open(flag(c, name), "w").close()


def live(node):
    return [j["name"] for j in node.json("ps")["jobs"] if j["state"] not in ENDED]


def none_lives(top):
    """The registry hears of an end from its node, who waits for it from wherever that is."""
    wait_until(lambda: not live(top), 10, "none of them lives")


@test
def each_rank_runs_on_its_node_and_knows_which_it_is(c, top, n1, n2, n3):
    end = flag(c, "end")
    names = start(n1, "solver", 3, "env", "until", end, nodes=(n1, n2))
    assert names == ["solver.0", "solver.1", "solver.2"], names
    jobs = sorted(top.json("ps")["jobs"], key=lambda j: j["name"])
    assert [j["node"] for j in jobs] == [n1.agent_name, n2.agent_name, n1.agent_name], jobs
    assert [(j["group"], j["rank"], j["size"]) for j in jobs] == [("solver", i, 3) for i in range(3)], jobs
    for i, name in enumerate(names):
        assert wait_said(n1, name, "env") == "solver %d 3" % i
    n1.run("--name", "alone", "--", RANKED, "env", "until", end)
    assert wait_said(n1, "alone", "env") == "none 0 1"
    assert n1.job("alone")["group"] is None and n1.job("alone")["size"] == 1
    assert n3.cli("wait", "--timeout", "100ms", "solver", check=False).returncode == 6
    raise_flag(c, "end")
    assert n3.cli("wait", "solver").returncode == 0


@test
def ranks_at_different_versions_go_back_to_one_that_all_have_again_and_again(c, top, n1, n2, n3):
    go = [flag(c, "go%d" % i) for i in range(3)]
    names = start(n1, "solver", 3, "keep", "state", 2, "0:", "commit", "state", 6, "1:", "commit", "state", 5, "2:", "commit",
                  "state", 6, "until", go[0], "version", "-", "state", 20, "until", go[1], "commit", "state", 1, "1:", "commit",
                  "state", 1, "newest", "state", "until", go[2], "version", "-", "-", 20, nodes=(n1, n2))
    for name in names:
        wait_said(n1, name, "committed")
    raise_flag(c, "go0")
    for i, name in enumerate(names):
        assert wait_said(n1, name, "version") == "5 step 5 rank %d" % i
    raise_flag(c, "go1")
    assert [wait_said(n1, name, "newest") for name in names] == ["7", "8", "7"]
    raise_flag(c, "go2")
    for i, name in enumerate(names):
        assert wait_said(n1, name, "version", 2) == "7 step 6 rank %d" % i, said(n1, name, "version")
    assert n1.cli("wait", "solver").returncode == 0


@test
def a_rank_whose_node_is_lost_is_waited_for_and_gives_what_it_came_back_with(c, top, n1, n2, n3):
    go = flag(c, "go")
    names = start(n1, "solver", 2, "keep", "state", 9, "first:", "commit", "state", 2, "first:", "wait", "state", 2, 20,
                  "first:", "commit", "state", 3, "1:", "first:", "until", "/nowhere", "0:", "commit", "state", 3, "0:", "until",
                  go, "version", "-", "state", 30, "until", "/nowhere", nodes=(n1, n2), mode="keyed")
    for name in names:
        wait_said(n1, name, "committed", 2)
        assert said(n1, name, "wait") == ["0"]
    n2.pull_plug()
    raise_flag(c, "go")
    told = [wait_said(n1, name, "version", 1, 30).split() for name in names]
    version = int(told[0][0])
    assert 3 <= version <= 6, told
    assert told == [[str(version), "step", str(version - 1), "rank", str(i)] for i in range(2)], told
    assert n1.job("solver.1")["node"] == n3.agent_name


@test
def a_rank_that_does_not_come_is_named(c, top, n1, n2, n3):
    start(n1, "solver", 2, "commit", "state", 1, "1:", "exit", 3, "until", flag(c, "go"), "version", "-", "state", 1,
          "version", "solver", "state", 0.3, restart="temporary", nodes=(n1, n2))
    assert n1.cli("wait", "solver.1", check=False).returncode == 3
    raise_flag(c, "go")
    late = wait_said(n1, "solver.0", "version", 2)
    assert late.startswith("-9 ") and "rank 1 (solver.1, node %s)" % n2.agent_name in late and "exited" in late, late
    assert said(n1, "solver.0", "version")[0] == late


@test
def a_rank_that_ended_well_counts_with_what_it_left(c, top, n1, n2, n3):
    start(n1, "solver", 2, "keep", "state", 2, "commit", "state", 2, "1:", "exit", 0, "commit", "state", 1, "until",
          flag(c, "go"), "version", "-", "state", 20, nodes=(n1, n2))
    assert n1.cli("wait", "solver.1").returncode == 0
    raise_flag(c, "go")
    assert wait_said(n1, "solver.0", "version") == "2 step 2 rank 0"


@test
def ranks_with_nothing_in_common_are_told_so_and_count_on_together(c, top, n1, n2, n3):
    go = [flag(c, "go%d" % i) for i in range(2)]
    names = start(n1, "solver", 2, "0:", "commit", "state", 5, "1:", "commit", "other", 1, "until", go[0], "version", "-",
                  "state", 20, "version", "-", "-", 20, "until", go[1], "commit", "state", 1, "newest", "state",
                  nodes=(n1, n2))
    for name in names:
        wait_said(n1, name, "committed")
    raise_flag(c, "go0")
    for name in names:
        wait_said(n1, name, "version", 2)
        assert all(line.startswith("-2 ") for line in said(n1, name, "version")), said(n1, name, "version")
    raise_flag(c, "go1")
    assert [wait_said(n1, name, "newest") for name in names] == ["6", "6"]


@test
def all_are_started_or_none(c, top, n1, n2, n3):
    n1.run("--name", "solver.2", "--", RANKED, "until", "/nowhere")
    failed = n1.cli("run", "--detach", "--group", "solver", "--ranks", 4, "--node", n1.agent_name, "--", RANKED, "until",
                    "/nowhere", check=False)
    assert failed.returncode != 0 and not failed.stdout and "rank 2 (solver.2)" in failed.stderr, failed
    wait_until(lambda: live(top) == ["solver.2"], 10, "only the other one is left")
    failed = n1.cli("run", "--detach", "--group", "g", "--ranks", 2, "--node", n1.agent_name + ",nowhere", "--", RANKED,
                    "until", "/nowhere", check=False)
    assert failed.returncode == 3 and "rank 1 (g.1)" in failed.stderr and "nowhere" in failed.stderr, failed
    wait_until(lambda: live(top) == ["solver.2"], 10, "only the other one is left")


@test
def what_makes_no_group_is_refused(c, top, n1, n2, n3):
    for args, why in ((["--group", "g"], "--ranks"), (["--ranks", 2], "--group"), (["--group", "a b", "--ranks", 2], "--group"),
                      (["--group", "g", "--ranks", 0], "--ranks"), (["--group", "g", "--ranks", 5000], "--ranks"),
                      (["--group", "g" * 63, "--ranks", 100], "longer"),
                      (["--group", "g", "--ranks", 2, "--strategy", "one_for_all"], "--strategy"),
                      (["--group", "g", "--ranks", 2, "--node", "a,b c"], "--node")):
        done = n1.cli("run", "--detach", *args, "--", "/bin/true", check=False)
        assert done.returncode == 2 and why in done.stderr, done
    assert n1.cli("run", "--group", "g", "--ranks", 2, "--strategy", "one_for_one", "--", "/bin/true").returncode == 0
    assert n1.cli("stop", "nobody", check=False).returncode == 3 and n1.cli("wait", "nobody", check=False).returncode == 3


@test
def in_the_foreground_all_are_followed_in_whole_lines(c, top, n1, n2, n3):
    script = "for i in 1 2 3; do printf 'one %s' $CPAGENT_RANK; sleep 0.0$CPAGENT_RANK; echo \" line $i\"; done; " \
             "echo err $CPAGENT_RANK >&2; printf end; exit $((CPAGENT_RANK % 3))"
    for ranks in (3, 40):  # more than there are connections for
        done = n1.cli("run", "--group", "g", "--ranks", ranks, "--restart", "temporary", "--node",
                      n1.agent_name + "," + n2.agent_name, "--", "sh", "-c", script, check=False, timeout=50)
        assert done.returncode == 1, done
        lines = done.stdout.splitlines()
        assert sorted(lines) == sorted(["one %d line %d" % (r, i) for r in range(ranks) for i in (1, 2, 3)] +
                                       ["end"] * ranks), done
        assert sorted(done.stderr.split("\n")) == sorted(["err %d" % r for r in range(ranks)] + [""]), done


@test
def a_signal_to_the_command_reaches_all_ranks(c, top, n1, n2, n3):
    run = n1.popen("run", "--group", "g", "--ranks", 3, "--node", n1.agent_name + "," + n2.agent_name, "--", RANKED, "env",
                   "until", "/nowhere")
    for i in range(3):
        wait_until(lambda i=i: n1.job("g.%d" % i), 10, "it is there")
        wait_said(n1, "g.%d" % i, "env")
    n1.tell(run, signal.SIGTERM)
    assert ended(run, 20) == 128 + signal.SIGTERM, run.stderr.read()
    none_lives(top)


@test
def an_interrupted_launch_leaves_nothing(c, top, n1, n2, n3):
    run = n1.popen("run", "--group", "g", "--ranks", 500, "--node", n1.agent_name + "," + n2.agent_name, "--", RANKED, "until",
                   "/nowhere")
    wait_until(lambda: len(live(top)) > 3, 20, "some are started")
    n1.tell(run, signal.SIGINT)
    assert ended(run, 40) == -signal.SIGINT, run.stderr.read()
    none_lives(top)


@test
def stop_ends_all_ranks_of_a_group_wherever_they_are(c, top, n1, n2, n3):
    start(n1, "solver", 5, "until", "/nowhere", nodes=(n1, n2, n3))
    assert len(live(top)) == 5
    assert n3.cli("stop", "solver").returncode == 0
    none_lives(top)
    again = n3.cli("stop", "solver", check=False)
    assert again.returncode == 1 and "ended already" in again.stderr, again
    assert n3.cli("wait", "solver", check=False).returncode == 128 + signal.SIGTERM


@test
def a_groups_name_is_one_groups_while_it_lives(c, top, n1, n2, n3):
    start(n1, "solver", 2, "until", "/nowhere", nodes=(n1, n2))
    again = n3.cli("run", "-d", "--group", "solver", "--name", "other", "--ranks", 2, "--", "true", check=False)
    assert again.returncode == 1 and "ranks of 'solver' are there already" in again.stderr, again
    n3.cli("stop", "solver")
    none_lives(top)


@test
def a_job_of_a_groups_name_is_meant_while_it_lives(c, top, n1, n2, n3):
    start(n1, "solver", 2, "until", "/nowhere", nodes=(n1, n2))
    n1.cli("run", "-d", "--name", "solver", "--", "sleep", "1000")
    assert len(live(top)) == 3
    n2.cli("stop", "solver")
    assert len(live(top)) == 2
    assert n2.cli("wait", "--timeout", "0.1s", "solver", check=False).returncode == 6
    n2.cli("stop", "solver")
    none_lives(top)
    gone = n2.cli("stop", "solver", check=False)
    assert gone.returncode == 1 and "already" in gone.stderr, gone


@test
def a_later_run_of_a_group_has_nothing_to_do_with_the_one_before(c, top, n1, n2, n3):
    steps = ["until", flag(c, "go"), "version", "-", "state", 20, "version", "solver", "-", 20]
    for _ in range(4):
        start(n1, "solver", 2, "commit", "state", 3, nodes=(n1, n2))
        assert n1.cli("wait", "solver").returncode == 0
    start(n1, "solver", 2, "0:", "commit", "state", 1, "1:", "commit", "state", 5, *steps, "until", "/nowhere", nodes=(n1, n2))
    raise_flag(c, "go")
    assert wait_said(n1, "solver.0", "version").startswith("-2 "), said(n1, "solver.0", "version")
    outside = n1.run("--name", "outside", "--", RANKED, "version", "solver", "-", 20, "version", "none", "-", 20, "commit",
                     "state", 2, "version", "-", "state", 20)
    assert wait_said(n1, outside, "version").startswith("-2 "), said(n1, outside, "version")
    assert wait_said(n1, outside, "version", 2).startswith("-1 "), said(n1, outside, "version")
    assert wait_said(n1, outside, "version", 3) == "2 step 2 rank 0"


@test
def another_users_group_is_not_there(c, top, n1, n2, n3):
    a, b = (1234, 1234, []), (1235, 1235, [])
    for who, steps in ((a, ["commit", "state", 3]), (b, ["commit", "state", 2])):
        n1.cli("run", "--detach", "--group", "theirs" if who is a else "mine", "--ranks", 2, "--", RANKED, *steps, "version",
               "theirs", "state", 10, "until", "/nowhere", user=who)
    n1.cli("run", "--detach", "--group", "theirs", "--ranks", 1, "--name", "same", "--", RANKED, "commit", "state", 1, "version",
           "-", "state", 10, "until", "/nowhere", user=b)
    assert wait_said(n1, "theirs.0", "version") == "3 step 3 rank 0"
    assert wait_said(n1, "mine.0", "version").startswith(("-1 ", "1 "))  # nobody's, or b's own of that name
    assert wait_said(n1, "same.0", "version") == "1 step 1 rank 0"
    assert n1.cli("stop", "theirs", user=b).returncode == 0  # its own: a's go on
    assert sorted(j for j in live(top) if j.startswith("theirs")) == ["theirs.0", "theirs.1"]
    assert n1.cli("wait", "--timeout", "100ms", "mine", user=a, check=False).returncode == 3


def ring(c, node, name, *extra, nodes):
    """Run the example to its end; what its ranks found."""
    place = os.path.join(c.shared, name)
    os.mkdir(place)
    node.cli("run", "--detach", "--group", name, "--ranks", 4, "--max-restarts", 64, "--node",
             ",".join(n.agent_name for n in nodes), "--", os.path.join(BUILD, "hooks/examples/ranks"), "--dir", place, "--out",
             os.path.join(place, "result"), "--steps", 1500, *extra)
    yield
    assert node.cli("wait", name, timeout=60).returncode == 0
    yield [open(os.path.join(place, "result.%d" % i)).read() for i in range(4)]


@test(limit=120)
def ranks_that_are_killed_compute_what_they_would_have_computed(c, top, n1, n2, n3):
    quiet = ring(c, n1, "quiet", nodes=(n1,))
    next(quiet)
    expected = next(quiet)
    killed = ring(c, n1, "killed", "--pace", 25, nodes=(n1, n2))
    next(killed)
    for i in range(4):
        seen = len(said(n1, "killed.0", "step"))
        wait_until(lambda: len(said(n1, "killed.0", "step")) > seen + 8, 20, "they compute")
        n1.cli("signal", "KILL", "killed.%d" % i)
    assert next(killed) == expected
    back = [int(line.split()[-1]) for line in said(n1, "killed.0", "restored")]
    assert len(back) >= 4 and back == sorted(back) and back[0] > 0, back
    assert [n1.job("killed.%d" % i)["incarnation"] for i in range(4)] == [1, 1, 1, 1]


@test
def ranks_in_python_ask_the_same(c, top, n1, n2, n3):
    program = """
import cpagent, os, time
cp, rank = cpagent.open(), int(os.environ["CPAGENT_RANK"])
cp.keep("state", 2)
for step in range(1, 4 + rank):
    cp.checkpoint("state", step=step)
print("ready now")
while not os.path.exists("%s"):
    time.sleep(0.02)
version = cp.version("state")
print("version", version, cp.restore("state", version=version)["step"])
print("named", cp.version("state", group="%s"))
for key, group in (("other", None), ("state", "nobody")):
    try:
        cp.version(key, group)
    except cpagent.Error as e:
        print("refused", type(e).__name__, e)
""" % (flag(c, "go"), "python")
    n1.cli("run", "--detach", "--group", "python", "--ranks", 2, "--node", n1.agent_name + "," + n2.agent_name, "--", *PYTHON,
           "-c", program)
    for i in range(2):
        wait_said(n1, "python.%d" % i, "ready")
    raise_flag(c, "go")
    assert n1.cli("wait", "python", check=False).returncode == 0, n1.cli("logs", "--stderr", "python.0").stdout
    for i in range(2):
        assert said(n1, "python.%d" % i, "version") == ["3 3"] and said(n1, "python.%d" % i, "named") == ["3"]
        key, group = said(n1, "python.%d" % i, "refused")
        assert key.startswith("NoKey") and group.startswith("BadArgument") and "nobody" in group, (key, group)


@test
def what_no_library_asks_is_refused(c, top, n1, n2, n3):
    texts = ["", "%", "solver", "a b%state", "solver%" + "k" * 300, "x" * 70 + "%k", "../..%k", "%memo:x", "%%", "solver%\udcff"]
    name = n1.run("--name", "hostile", "--", RANKED, *[word for text in texts for word in ("raw", text)], "commit", "state", 1,
                  "version", "-", "state", 5)
    assert wait_said(n1, name, "version") == "1 step 1 rank 0"
    answers = [int(line.split()[0]) for line in said(n1, name, "raw")]
    assert len(answers) == len(texts) and set(answers) <= {-2, -3}, answers
    assert n1.job(name)["name"] == "hostile"


@test
def on_a_node_of_its_own_a_group_needs_no_registry(c, top, n1, n2, n3):
    lone = c.add("lone")
    lone.agent_start()
    names = start(lone, "g", 3, "keep", "state", 2, "commit", "state", 3, "2:", "commit", "state", 1, "until", flag(c, "go"),
                  "version", "-", "-", 20)
    wait_said(lone, "g.2", "committed", 2)
    raise_flag(c, "go")
    assert [wait_said(lone, name, "version") for name in names] == ["3 step 3 rank %d" % i for i in range(3)]
    assert lone.cli("wait", "g").returncode == 0
