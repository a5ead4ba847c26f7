"""cpagent run and what belongs to a job's life on one node: status, signals, output, who it runs as, its end."""
import os
import resource
import signal
import time

from agents import SLOW, ended, wait_until
from harness import test

USER = (4711, 4712, [4713, 4714])


def setup(cluster):
    n1 = cluster.add("n1")
    n1.agent_start()
    return cluster, n1


@test
def a_job_in_the_foreground_gives_its_output_and_status(c, n1):
    done = n1.cli("run", "--restart", "temporary", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n"), done


@test
def a_job_killed_by_a_signal_gives_128_and_the_signal(c, n1):
    done = n1.cli("run", "--restart", "temporary", "--", "sh", "-c", "kill -KILL $$", check=False)
    assert done.returncode == 128 + signal.SIGKILL, done


@test
def the_foreground_passes_signals_on(c, n1):
    script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.02; done"
    fg = n1.popen("run", "--name", "trapper", "--restart", "temporary", "--", "sh", "-c", script)
    assert fg.stdout.readline() == "ready\n"
    n1.tell(fg, signal.SIGTERM)
    assert fg.stdout.readline() == "caught\n"
    assert ended(fg, 10) == 3


@test
def settings_of_the_library_reach_the_job_and_what_the_agent_sets_is_its_own(c, n1):
    env = n1.cli("run", "--name", "set", "--env", "CPAGENT_MEMO_OFF=all", "--env", "CPAGENT_TRACKING=off", "--env",
                 "CPAGENT_RANK=7", "--env", "CPAGENT_GROUP=g", "--env", "CPAGENT_RUN=/x", "--", "env").stdout.split("\n")
    assert "CPAGENT_MEMO_OFF=all" in env and "CPAGENT_TRACKING=off" in env, env
    assert [v for v in env if v.startswith(("CPAGENT_RANK", "CPAGENT_GROUP", "CPAGENT_RUN"))] == ["CPAGENT_RANK=0"], env


@test
def what_ends_by_a_signal_to_the_foreground_is_not_started_again(c, n1):
    for policy, signo in ("transient", signal.SIGINT), ("permanent", signal.SIGTERM):
        fg = n1.popen("run", "--name", policy, "--restart", policy, "--", "sh", "-c", "echo ready; exec sleep 1000")
        assert fg.stdout.readline() == "ready\n"
        n1.tell(fg, signo)
        assert ended(fg, 10) == 128 + signo
        assert n1.job(policy)["state"] == "exited" and n1.job(policy)["incarnation"] == 0, n1.job(policy)


@test
def a_signal_to_the_foreground_that_is_caught_ends_nothing(c, n1):
    script = "trap 'echo caught' INT; echo ready; while :; do sleep 0.02; done"
    fg = n1.popen("run", "--name", "caught", "--", "sh", "-c", script)
    assert fg.stdout.readline() == "ready\n"
    n1.tell(fg, signal.SIGINT)
    assert fg.stdout.readline() == "caught\n"
    n1.cli("signal", "INT", "caught")
    assert fg.stdout.readline() == "caught\n"
    n1.cli("stop", "caught")
    assert ended(fg, 10) == 128 + signal.SIGTERM


@test
def much_output_comes_whole_and_in_order(c, n1):
    done = n1.cli("run", "--", "seq", "300000")
    assert done.stdout == "".join("%d\n" % i for i in range(1, 300001))


@test
def launching_true_takes_little_time(c, n1):
    n1.cli("run", "--", "/bin/true")
    began = time.monotonic()
    for _ in range(5):
        n1.cli("run", "--", "/bin/true")
    assert time.monotonic() - began < 5 * SLOW


@test
def a_command_that_does_not_exist_is_127_and_one_that_is_no_program_126(c, n1):
    done = n1.cli("run", "--", "no-such-command", check=False)
    assert done.returncode == 127 and "no-such-command" in done.stderr, done
    done = n1.cli("run", "--", "/etc/fstab", check=False)
    assert done.returncode == 126 and "/etc/fstab" in done.stderr, done
    assert not [j for j in n1.json("ps")["jobs"]]


@test
def a_directory_that_does_not_exist_is_125(c, n1):
    done = n1.cli("run", "--cwd", "/no/such/place", "--", "true", check=False)
    assert done.returncode == 125 and "/no/such/place" in done.stderr, done


@test
def detached_it_prints_the_name_and_wait_gives_the_status(c, n1):
    assert n1.run("--name", "later", "--restart", "temporary", "--", "sh", "-c", "sleep 0.3; exit 9") == "later"
    assert n1.cli("wait", "later", check=False).returncode == 9
    job = n1.job("later")
    assert job["state"] in ("exited", "failed") and job["exit"] == {"code": 9, "signal": None}, job


@test
def wait_with_a_timeout_is_6(c, n1):
    n1.run("--name", "long", "--", "sleep", "100")
    assert n1.cli("wait", "--timeout", "200ms", "long", check=False).returncode == 6


@test
def two_live_jobs_cannot_have_one_name(c, n1):
    n1.run("--name", "twin", "--", "sleep", "100")
    done = n1.cli("run", "--name", "twin", "--", "true", check=False)
    assert done.returncode == 125 and "twin" in done.stderr, done
    n1.cli("stop", "twin")
    assert n1.cli("run", "--name", "twin", "--", "true").returncode == 0


@test
def a_job_has_its_submitters_directory_umask_environment_and_limits(c, n1):
    before = resource.getrlimit(resource.RLIMIT_NOFILE), os.umask(0o027)
    resource.setrlimit(resource.RLIMIT_NOFILE, (321, before[0][1]))
    try:
        script = "pwd; umask; ulimit -n; echo $COLOUR $CPAGENT_NAME $CPAGENT_INCARNATION"
        env = {**os.environ, "COLOUR": "teal"}
        done = n1.cli("run", "--name", "like-me", "--", "sh", "-c", script, cwd="/usr/lib", env=env)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before[0])
        os.umask(before[1])
    assert done.stdout.split() == ["/usr/lib", "0027", "321", "teal", "like-me", "0"], done.stdout


@test
def a_job_runs_as_its_submitter_with_all_groups(c, n1):
    done = n1.cli("run", "--", "sh", "-c", "id -u; id -g; id -G", user=USER)
    assert [set(line.split()) for line in done.stdout.splitlines()] == [{"4711"}, {"4712"}, {"4712", "4713", "4714"}]


@test
def a_job_has_pids_of_its_own_and_sees_no_process_of_the_node(c, n1):
    out = n1.cli("run", "--", "sh", "-c", "ls /proc | grep -c '^[0-9]'").stdout
    assert int(out) <= 5, out


@test
def options_for_environment_directory_and_input_work(c, n1):
    with open(os.path.join(c.shared, "input"), "w") as f:
        f.write("fed\n")
    out = n1.cli("run", "--env", "A=b c", "--cwd", "/usr", "--stdin", os.path.join(c.shared, "input"), "--", "sh",
                 "-c", "pwd; echo $A; cat").stdout
    assert out == "/usr\nb c\nfed\n", out


@test
def a_job_that_dies_at_once_is_started_again_until_it_is_too_often(c, n1):
    n1.run("--name", "stillborn", "--max-restarts", "2", "--max-seconds", "60", "--", "sh", "-c", "echo born; exit 1")
    job = n1.wait_job("stillborn", 20, state="failed")
    assert job["incarnation"] == 2 and job["exit"]["code"] == 1, job
    assert n1.cli("logs", "stillborn").stdout == "born\n" * 3


@test
def restart_policies_are_kept(c, n1):
    n1.run("--name", "never", "--restart", "temporary", "--", "sh", "-c", "exit 1")
    n1.run("--name", "ended", "--restart", "transient", "--", "sh", "-c", "exit 0")
    n1.run("--name", "always", "--restart", "permanent", "--max-restarts", "2", "--max-seconds", "60", "--", "true")
    for name in ("never", "ended", "always"):
        wait_until(lambda: n1.job(name)["state"] in ("exited", "failed"), 20, name + " ends")
    assert [n1.job(name)["incarnation"] for name in ("never", "ended", "always")] == [0, 0, 2]


@test
def output_is_kept_and_stderr_apart(c, n1):
    n1.cli("run", "--name", "chatty", "--", "sh", "-c", "echo one; echo two >&2")
    assert n1.cli("logs", "chatty").stdout == "one\n"
    assert n1.cli("logs", "--stderr", "chatty").stdout == "two\n"


@test
def following_ends_when_the_job_ends(c, n1):
    n1.run("--name", "slowly", "--", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert n1.cli("logs", "-f", "slowly").stdout == "1\n2\n3\n"


@test
def signals_by_name_and_number_reach_the_job(c, n1):
    script = "trap 'echo one' USR1; trap 'echo two' USR2; echo ready; while :; do sleep 0.02; done"
    n1.run("--name", "listener", "--", "sh", "-c", script)
    for signo, heard in ((None, "ready"), ("USR1", "one"), (str(int(signal.SIGUSR2)), "two")):
        if signo:
            n1.cli("signal", signo, "listener")
        wait_until(lambda: heard in n1.cli("logs", "listener").stdout, 5, "it says " + heard)


@test
def stop_is_for_good_and_kills_what_does_not_end(c, n1):
    n1.run("--name", "stubborn", "--restart", "permanent", "--", "sh", "-c",
           "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_until(lambda: n1.cli("logs", "stubborn").stdout, 5, "it has started")
    n1.cli("stop", "--grace", "300ms", "stubborn")
    assert n1.job("stubborn")["state"] in ("exited", "failed"), n1.job("stubborn")


@test
def a_whole_tree_of_processes_is_stopped(c, n1):
    mark = os.path.join(c.shared, "tree")
    script = "for i in 1 2 3; do (while :; do echo x >>%s; sleep 0.02; done) & done; setsid sleep 1000 & wait" % mark
    n1.run("--name", "tree", "--", "sh", "-c", script)
    wait_until(lambda: os.path.exists(mark), 5, "it has started")
    n1.cli("stop", "--grace", "500ms", "tree")
    size = os.path.getsize(mark)
    time.sleep(0.3)  # were one still alive, it would have written
    assert os.path.getsize(mark) == size


@test
def an_unknown_job_is_3(c, n1):
    for verb in ("logs", "wait", "stop", "checkpoint", "restore", "history", "keys"):
        done = n1.cli(verb, "nobody", check=False)
        assert done.returncode == 3 and done.stderr.startswith("cpagent: ") and not done.stdout, (verb, done)
