"""What a program asks its agent for about its keys: a version that a level above holds, and that what it asked to be
carried up arrives, whatever becomes of the program."""
import glob
import os

from agents import BUILD, SLOW, wait_until
from harness import test

KEYED = os.path.join(BUILD, "tests/system/jobs/keyed")
LONG = 30 * SLOW  # seconds that a program waits for what is to come
ENDINGS = {"returned": [], "exited": ["_exit", 0], "failed": ["exit", 3], "killed": ["kill"]}


def setup(cluster):
    """n1 and n2 - mid - top; keys go up only when somebody asks for it."""
    top, mid, n1, n2 = (cluster.add(name) for name in ("top", "mid", "n1", "n2"))
    how = {"key": cluster.key, "update": "1h", "lease": "20s"}
    top.agent_start(level=3, listen=top.url, **how)
    mid.agent_start(level=2, listen=mid.url, parent=top.url, **how)
    for node in (n1, n2):
        node.agent_start(parent=mid.url, **how)
    for node in (mid, n1, n2):
        cluster.wait_up(top, node)
    return cluster, top, mid, n1, n2


def run(node, name, *steps, **options):
    opts = [word for k, v in options.items() for word in ("--" + k, v)]
    return node.run("--name", name, *opts, "--", KEYED, *steps)


def said(node, name, what=None):
    lines = [line.split() for line in node.lines(name)]
    return [line[1:] for line in lines if what in (None, line[0])]


def wait_said(node, name, what, count=1, timeout=20):
    return wait_until(lambda: (lambda all: all[count - 1] if len(all) >= count else None)(said(node, name, what)), timeout,
                      "%s says %s" % (name, what))


def uuid(node, name):
    return node.job(name)["job"]


def keysets(node, job):
    """Of a job, in the store of an agent above."""
    return [os.path.basename(p) for p in glob.glob(node.path("/run/cpagent/store/jobs/%s/k-*" % job))]


def key(node, name, which="state"):
    return next(k for k in node.json("keys", name)["keys"] if k["key"] == which)


def flag(c, name):
    return os.path.join(c.shared, name)


def chunks_of(node):
    return set(glob.glob(node.path("/run/cpagent/store/chunks/*/*/*")))


def raise_flag(c, name):
    open(flag(c, name), "w").close()


@test
def a_version_is_read_from_the_level_named(c, top, mid, n1, n2):
    run(n1, "named", "checkpoint", "state", 1, 1000, 3, "wait", "state", 3, LONG, "until", flag(c, "named"), "checkpoint",
        "state", 2, 300000, 2, "wait", "state", 2, LONG, "checkpoint", "state", 3, 10, 1, "fetch", "state", 2, 0, "fetch",
        "state", 3, 0, "fetch", "state", 0, 0, "restore", "state", "until", flag(c, "named.end"))
    wait_said(n1, "named", "wait")
    top.agent_stop()
    try:
        raise_flag(c, "named")
        at = [wait_said(n1, "named", "fetch")]
    finally:
        top.agent_cont()
    at += [wait_said(n1, "named", "fetch", n) for n in (2, 3)]
    assert at[0] == ["0", "2", "0", "2", "right"], at
    assert at[1][2:] in (["0", "1", "right"], ["0", "2", "right"]), at  # the top went on meanwhile
    assert at[2] in (["0", "2", "0", "2", "right"], ["0", "3", "0", "3", "right"]), at  # the newest that any has
    assert wait_said(n1, "named", "restore") == ["0", "3", "right"]


@test
def a_key_damaged_here_comes_from_the_level_above(c, top, mid, n1, n2):
    run(n1, "spoiled", "checkpoint", "state", 1, 200000, 1, "checkpoint", "state", 2, 200000, 2, "wait", "state", 2, LONG,
        "spoil", 1, 200000, "spoil", 2, 200000, "restore", "state", "fetch", "state", 0, 0, "recall", "state", 0, 200000,
        "until", flag(c, "spoiled"))
    found = wait_said(n1, "spoiled", "fetch")
    assert wait_said(n1, "spoiled", "recall") == ["0", "2", "right"], said(n1, "spoiled")
    spoiled = [int(n) for n, in said(n1, "spoiled", "spoil")]
    assert sum(spoiled) >= 1 and spoiled[1] >= 1, spoiled
    assert said(n1, "spoiled", "restore")[0][0] != "0", said(n1, "spoiled")
    assert found == ["0", "2", "0", "2", "right"], found


@test
def a_key_that_is_not_there_is_3_and_a_sentence(c, top, mid, n1, n2):
    run(n1, "absent", "fetch", "state", 2, 0, "checkpoint", "state", 1, 10, 2, "wait", "state", 2, LONG, "fetch", "other", 2, 0,
        "fetch", "state", 2, 7, "fetch", "state", 5, 0, "fetch", "state", 2, 1)
    wait_said(n1, "absent", "fetch", 5)
    results = said(n1, "absent", "fetch")
    assert [r[0] for r in results] == ["-3", "-3", "-3", "-3", "0"], results
    assert "level 2 holds no keys" in " ".join(results[0]) and "other" in results[1], results


@test
def the_file_is_the_users_alone_and_goes_with_the_job(c, top, mid, n1, n2):
    who = (1234, 1234, [])
    n1.cli("run", "--detach", "--name", "owned", "--", KEYED, "checkpoint", "state", 1, 10, 2, "wait", "state", 2, LONG,
           "fetch", "state", 2, 0, "until", flag(c, "owned"), user=who)
    found = wait_until(lambda: [line.split() for line in n1.cli("logs", "owned").stdout.splitlines() if "fetch" in line], 20,
                       "it has fetched")
    assert found[0][1:] == ["0", "1", "0", "1", "right"], found
    path = n1.path("/run/cpagent/jobs/%s/job/fetched" % uuid(n1, "owned"))
    st = os.stat(path)
    assert (st.st_uid, st.st_mode & 0o777) == (1234, 0o600), st
    raise_flag(c, "owned")
    wait_until(lambda: not os.path.exists(path), 20, "the file is gone")


@test
def what_does_not_fit_the_nodes_memory_is_refused(c, top, mid, n1, n2):
    n2.agent_term()
    options = dict(n2.options)
    n2.agent_start(memory="8M", **options)
    c.wait_up(top, n2)
    try:
        run(n2, "large", "checkpoint", "state", 1, 2000000, 2, "wait", "state", 2, LONG, "fetch", "state", 2, 0,
            "checkpoint", "small", 1, 10, 2, "wait", "small", 2, LONG, "fetch", "small", 2, 0)
        assert wait_said(n2, "large", "fetch", 2) == ["0", "1", "0", "1", "right"], said(n2, "large")
        refused = said(n2, "large", "fetch")[0]
        assert refused[0] == "-1" and "(--memory)" in refused, refused
    finally:
        n2.agent_term()
        n2.agent_start(**options)
        c.wait_up(top, n2)


@test
def a_restarted_agent_still_knows_where_the_keys_are(c, top, mid, n1, n2):
    run(n1, "kept", "checkpoint", "state", 1, 1000, 2, "wait", "state", 2, LONG, "until", flag(c, "kept"), "fetch", "state", 2, 0)
    wait_said(n1, "kept", "wait")
    n1.agent_kill()
    n1.agent_start()
    raise_flag(c, "kept")
    assert wait_said(n1, "kept", "fetch") == ["0", "1", "0", "1", "right"], said(n1, "kept")


def ends_at_once(c, top, mid, n1, how):
    """Its last act is a checkpoint for level 2; what it asked for is then there."""
    run(n1, how, "checkpoint", "state", 7, 100000, 2, *ENDINGS[how], restart="temporary")
    job = uuid(n1, how)
    wait_until(lambda: n1.job(how)["state"] in ("exited", "failed"), 20, "it has ended")
    wait_until(lambda: key(n1, how)["level"] >= 2, 20, "its key is on level 2")
    assert keysets(mid, job), mid.tail()
    return job


@test
def a_program_may_return_at_once(c, top, mid, n1, n2):
    ends_at_once(c, top, mid, n1, "returned")


@test
def a_program_may_exit_at_once_without_any_handler(c, top, mid, n1, n2):
    ends_at_once(c, top, mid, n1, "exited")


@test
def a_program_may_fail_at_once(c, top, mid, n1, n2):
    ends_at_once(c, top, mid, n1, "failed")


@test
def a_program_may_be_killed_at_once(c, top, mid, n1, n2):
    ends_at_once(c, top, mid, n1, "killed")


@test
def what_was_asked_for_stays_there_though_its_job_has_ended_well(c, top, mid, n1, n2):
    run(n1, "plain", "checkpoint", "state", 1, 10, 1)
    job = ends_at_once(c, top, mid, n1, "returned")
    mid.agent_kill()
    mid.agent_start()  # it collects from everybody anew
    c.wait_up(top, mid)
    c.wait_up(top, n1)
    run(n1, "marker", "checkpoint", "state", 1, 10, 2, "wait", "state", 2, LONG)
    assert wait_said(n1, "marker", "wait") == ["0"]
    wait_until(lambda: os.path.exists(mid.path("/run/cpagent/store/jobs/%s/ended" % job)), 20, "it is known to have ended")
    assert keysets(mid, job), mid.tail()
    assert not keysets(mid, uuid(n1, "plain"))


@test
def a_job_has_its_own_update_interval(c, top, mid, n1, n2):
    run(n1, "often", "interval", 0.3, 0, "loop", flag(c, "often"), "state", 100, 1)
    run(n1, "seldom", "loop", flag(c, "often"), "state", 100, 1)
    job = uuid(n1, "often")
    first = wait_until(lambda: set(keysets(mid, job)), 20, "its keys come to level 2")
    wait_until(lambda: not set(keysets(mid, job)) & first, 20, "and newer ones")
    wait_until(lambda: keysets(top, job), 20, "the level above hears of them, too")
    assert not keysets(mid, uuid(n1, "seldom"))
    raise_flag(c, "often")


@test
def a_job_that_is_carried_on_demand_only_is_left_out(c, top, mid, n1, n2):
    run(n1, "quiet", "periodic", 2, "interval", 0.1, 0, "loop", flag(c, "quiet"), "state", 100, 1, "checkpoint", "state", 5,
        100, 2, "wait", "state", 2, LONG)
    run(n1, "usual", "loop", flag(c, "quiet"), "state", 100, 1)
    mid.agent_kill()
    mid.agent_start()  # it collects from everybody anew …
    run(n1, "marker", "checkpoint", "state", 1, 10, 2, "wait", "state", 2, LONG)  # … when it hears of somebody
    wait_until(lambda: keysets(mid, uuid(n1, "usual")), 20, "the other one's keys come by themselves")
    assert not keysets(mid, uuid(n1, "quiet"))
    raise_flag(c, "quiet")
    assert wait_said(n1, "quiet", "wait") == ["0"]


@test
def a_job_is_saved_on_demand_and_at_its_own_interval(c, top, mid, n1, n2):
    run(n1, "saved", "checkpoint", "state", 1, 100000, 1, "save", 30, "interval", 0, 0.3, "until", flag(c, "saved"), "checkpoint",
        "state", 2, 100, 1, "until", flag(c, "saved.end"))
    assert wait_said(n1, "saved", "save") == ["0", "1"]
    job = uuid(n1, "saved")

    def on_disk(node):
        return {os.path.basename(p) for p in glob.glob(os.path.join(node.state_dir, "store/jobs", job, "k-*"))}
    first = on_disk(mid)
    assert first and on_disk(top) == first, (first, on_disk(top))
    raise_flag(c, "saved")
    wait_until(lambda: on_disk(mid) - first and on_disk(top) - first, 20, "the next version is saved by itself")


@test
def a_save_that_fails_is_an_error(c, top, mid, n1, n2):
    run(n1, "unsaved", "checkpoint", "state", 1, 10, 1, "until", flag(c, "unsaved"), "save", 1)
    wait_said(n1, "unsaved", "checkpoint")
    top.agent_stop()
    try:
        raise_flag(c, "unsaved")
        assert wait_said(n1, "unsaved", "save", 1, 20)[0] == "-110"
    finally:
        top.agent_cont()
    alone = c.add("alone")
    alone.agent_start()
    run(alone, "orphan", "save", 20)
    said_so = wait_said(alone, "orphan", "save")
    assert said_so[0] == "-1" and "parent" in said_so, said_so


@test
def a_process_restored_from_a_snapshot_still_reads_what_it_had_committed_after_it(c, top, mid, n1, n2):
    others = [word for n in (1, 2, 3) for word in ("checkpoint", "other", n, 10, 2, "wait", "other", 2, LONG)]
    run(n1, "ahead", "checkpoint", "state", 1, 1000, 2, "wait", "state", 2, LONG, "until", flag(c, "ahead"), *others,
        "restore", "state", "fetch", "state", 2, 0, "recall", "state", 2, 1000, "checkpoint", "state", 2, 1000, 2, "wait",
        "state", 2, LONG, "until", flag(c, "ahead.end"), "checkpoint", "state", 3, 1000, 2, "wait", "state", 2, LONG, "fetch",
        "state", 2, 0, mode="process")
    wait_said(n1, "ahead", "wait")
    n1.cli("checkpoint", "ahead")
    raise_flag(c, "ahead")
    wait_said(n1, "ahead", "wait", 5)
    assert said(n1, "ahead", "fetch") == [["0", "1", "0", "1", "right"]]
    assert said(n1, "ahead", "recall") == [["0", "1", "right"]]
    os.unlink(flag(c, "ahead"))
    n1.cli("restore", "--force", "--node", n2.agent_name, "ahead")
    n2.wait_job("ahead", 20, incarnation=1, state="running")
    raise_flag(c, "ahead")
    assert wait_said(n2, "ahead", "fetch") == ["0", "2", "0", "2", "right"], said(n2, "ahead")
    assert said(n2, "ahead", "restore")[-1] == ["0", "1", "right"], said(n2, "ahead")
    assert wait_said(n2, "ahead", "recall") == ["0", "2", "right"], said(n2, "ahead")
    raise_flag(c, "ahead.end")  # it goes on behind what the earlier life had
    assert wait_said(n2, "ahead", "fetch", 2) == ["0", "4", "0", "3", "right"], said(n2, "ahead")
    run(n2, "ahead.marker", "checkpoint", "state", 1, 10, 2, "wait", "state", 2, LONG)
    wait_said(n2, "ahead.marker", "wait")
    assert len(keysets(mid, uuid(n2, "ahead"))) <= 2


@test
def a_key_may_be_any_text(c, top, mid, n1, n2):
    odd = ["schlüssel → 鍵", "tab\tand\nnewline\x7f", "../../etc/passwd", "ä" * 127 + "x"]
    steps = [word for name in odd for word in ("checkpoint", name, 4, 50, 2, "wait", name, 2, LONG, "fetch", name, 2, 0)]
    run(n1, "odd", *steps)
    wait_said(n1, "odd", "fetch", len(odd))
    assert said(n1, "odd", "fetch") == [["0", "1", "0", "4", "right"]] * len(odd), said(n1, "odd")
    assert sorted(k["key"] for k in n1.json("keys", "odd")["keys"]) == sorted(odd)


@test
def a_level_whose_copy_is_damaged_is_passed_over(c, top, mid, n1, n2):
    others = chunks_of(mid)  # which a later job with the same content would be said to be held by
    run(n1, "rotten", "checkpoint", "state", 9, 200000, 3, "wait", "state", 3, LONG, "until", flag(c, "rotten"), "fetch",
        "state", 2, 0)
    assert wait_said(n1, "rotten", "wait") == ["0"]
    chunks = chunks_of(mid) - others
    assert chunks
    for path in chunks:
        with open(path, "r+b") as f:
            f.seek(-1, os.SEEK_END)
            last = f.read(1)[0]
            f.seek(-1, os.SEEK_END)
            f.write(bytes([last ^ 1]))
    raise_flag(c, "rotten")
    assert wait_said(n1, "rotten", "fetch") == ["0", "1", "0", "9", "right"], said(n1, "rotten")


@test
def a_snapshot_while_a_program_reads_what_it_fetched_is_restored(c, top, mid, n1, n2):
    run(n1, "reading", "checkpoint", "state", 1, 100000, 2, "wait", "state", 2, LONG, "hold", "state", 2, "until",
        flag(c, "reading"), "held", "state", "until", flag(c, "reading.end"), mode="process")
    assert wait_said(n1, "reading", "hold") == ["0", "0"], said(n1, "reading")
    n1.cli("checkpoint", "--level", "2", "reading")
    n1.cli("restore", "--force", "reading")
    n1.wait_job("reading", 20, incarnation=1, state="running")
    raise_flag(c, "reading")
    assert wait_said(n1, "reading", "held") == ["0", "1", "right"], said(n1, "reading")


@test
def a_level_beyond_the_top_is_the_top(c, top, mid, n1, n2):
    run(n1, "beyond", "checkpoint", "state", 1, 100, 8, "wait", "state", 3, LONG)
    assert wait_said(n1, "beyond", "wait") == ["0"]
    job = uuid(n1, "beyond")
    keys = n1.path("/run/cpagent/jobs/%s" % job)
    wait_until(lambda: not glob.glob(keys + "/keys*"), 20, "nothing of it waits on its node for more")
    assert keysets(top, job)
