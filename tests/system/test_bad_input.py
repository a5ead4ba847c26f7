"""What is given wrongly, or is not there: refused with a sentence and the right status, or lived with."""
import os
import signal
import socket
import subprocess
import time

from agents import BUILD, SLOW, children, ended, wait_until
from harness import test


def setup(cluster):
    """n1's agent runs without parents; top's runs; n2 is for agents that refuse."""
    n1, top, n2 = cluster.add("n1"), cluster.add("top"), cluster.add("n2")
    n1.agent_start()
    top.agent_start(level=2, listen=top.url, key=cluster.key)
    return cluster, n1, top, n2


def refused(node, status, *words, args=()):
    done = node.try_agent(*args)
    assert done.returncode == status and not done.stdout, done
    for word in words:
        assert word in done.stderr, "%r is not in %s" % (word, done.stderr)


def config(c, name, text):
    path = os.path.join(c.dir, name)
    with open(path, "w") as f:
        f.write(text)
    return path


@test
def wrong_options_of_the_agent_are_2(c, n1, top, n2):
    for args, word in ((["--nonsense"], "nonsense"), (["--level", "zero"], "zero"), (["--lease", "5parsecs"], "parsecs"),
                       (["--memory", "much"], "much"), (["--auto", "maybe"], "maybe"), (["--listen", "ftp://x"], "ftp"),
                       (["--name", "a b"], "a b"), (["stray"], "stray"), (["--scheme", "rs:4+2"], "rs:4+2")):
        refused(n2, 2, "cpagentd: ", word, args=args)


@test
def a_malformed_configuration_is_refused_with_file_and_line(c, n1, top, n2):
    for text, line, word in (("level = 1\nnonsense = 3\n", 2, "nonsense"), ("\n# fine\nlease = soon\n", 3, "soon"),
                             ("name = n\nno equals sign\n", 2, ""), ("level = 1\nlevel = 2\n", 2, "level")):
        path = config(c, "bad.conf", text)
        refused(n2, 2, "%s:%d" % (path, line), word, args=["-c", path])


@test
def a_configuration_that_cannot_be_read_is_refused(c, n1, top, n2):
    refused(n2, 3, "/no/such.conf", args=["-c", "/no/such.conf"])
    done = n2.try_agent("-c", c.dir)
    assert done.returncode in (1, 2, 3) and c.dir in done.stderr, done


@test
def binary_garbage_as_a_configuration_is_refused(c, n1, top, n2):
    path = os.path.join(c.dir, "garbage.conf")
    with open(path, "wb") as f:
        f.write(bytes(range(256)) * 64)
    refused(n2, 2, path, args=["-c", path])


@test
def a_key_that_is_missing_or_open_to_others_is_refused(c, n1, top, n2):
    parent = ["--parent", top.url, "--state", n2.state_dir]
    refused(n2, 2, "key", args=parent)
    refused(n2, 3, "/no/key", args=[*parent, "--key", "/no/key"])
    loose = os.path.join(c.dir, "loose")
    n2.cli("keygen", loose)
    os.chmod(loose, 0o644)
    refused(n2, 5, loose, "chmod 600", args=[*parent, "--key", loose])
    short = config(c, "short", "abc")
    os.chmod(short, 0o600)
    done = n2.try_agent(*parent, "--key", short)
    assert done.returncode in (1, 2) and short in done.stderr, done
    done = n2.cli("keygen", loose, check=False)
    assert done.returncode in (1, 2, 5) and loose in done.stderr, done


@test
def a_port_that_is_taken_is_refused(c, n1, top, n2):
    refused(top, 1, top.url, args=["--name", "second", "--run", "/run/second", "--state", n2.state_dir, "--level", "2",
                                   "--listen", top.url, "--key", c.key])
    assert top.cli("ps").returncode == 0


@test
def an_address_of_another_host_is_refused(c, n1, top, n2):
    refused(n2, 1, "10.77.9.9", args=["--level", "2", "--listen", "tcp://10.77.9.9:7400", "--key", c.key, "--state",
                                      n2.state_dir])


@test
def an_agent_with_a_wrong_key_does_not_join_and_the_log_says_so(c, n1, top, n2):
    wrong = os.path.join(c.dir, "wrong")
    n2.cli("keygen", wrong)
    since = top.log_size()
    n2.agent_start(parent=top.url, key=wrong)
    top.wait_log("bus_dropped", 15, since)
    assert top.agent_state(n2) is None
    n2.cli("run", "--detach", "--name", "alone", "--", "true", check=False, timeout=60)
    n2.agent_term()


@test(limit=90)
def garbage_and_floods_on_its_port_leave_an_agent_well(c, n1, top, n2):
    flood = ("import os, socket, sys, time\nend = time.time() + 4\nwhile time.time() < end:\n  try:\n"
             "    s = socket.create_connection((%r, 7400), 1)\n"
             "    s.sendall([os.urandom(4096), b'\\0SP\\0\\0\\x50\\0\\0' + os.urandom(65536),\n"
             "               b'\\0SP\\0\\0\\x50\\0\\0' + (1 << 62).to_bytes(8, 'big')][time.time_ns() %% 3])\n"
             "    s.close()\n  except OSError: pass\n" % top.address)
    pid = top.agent_pid()
    flooding = [subprocess.Popen(n2.command([os.sys.executable, "-c", flood])) for _ in range(3)]
    while any(f.poll() is None for f in flooding):
        began = time.monotonic()
        top.cli("ps")
        assert time.monotonic() - began < 5 * SLOW
    assert top.agent_pid() == pid
    n2.agent_start(parent=top.url, key=c.key)
    c.wait_up(top, n2, 20)
    n2.agent_term()


@test
def garbage_on_the_control_socket_leaves_an_agent_well(c, n1, top, n2):
    pid = n1.agent_pid()
    for content in (b"", b"\0" * 8, b"\xff" * 64, b"\x05\0\0\0\0\0\0\0hello", b"\x02\0\0\0\xff\xff\xff\x7f{}",
                    b"\x02\0\0\0\0\0\0\0{}", os.urandom(70000)):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(n1.path("/run/cpagent/control.sock"))
            try:
                s.sendall(content)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(5)
                s.recv(65536)
            except OSError:
                pass
    n1.cli("ps")
    assert n1.agent_pid() == pid


@test
def without_criu_jobs_run_and_a_snapshot_says_what_is_missing(c, n1, top, n2):
    n2.agent_start(criu="/no/such/criu", wait=False)
    wait_until(lambda: n2.process.poll() is not None or n2.cli("ps", check=False).returncode == 0, 10, "it decides")
    if n2.process.poll() is not None:
        assert "/no/such/criu" in n2.log_text()
        n2.process = None
        return
    n2.run("--name", "plain", "--", "sleep", "1000")
    done = n2.cli("checkpoint", "plain", check=False)
    assert done.returncode == 1 and "criu" in done.stderr.lower(), done
    assert n2.job("plain")["state"] == "running"
    n2.cli("stop", "plain")
    n2.agent_term()


@test
def a_parent_that_is_not_there_keeps_nobody_from_working(c, n1, top, n2):
    n2.agent_start(parent="tcp://10.77.0.99:7400", key=c.key)
    n2.cli("ps")
    n2.cli("status")
    done = n2.cli("run", "--", "true", check=False, timeout=60)
    assert done.returncode == 0 or (done.returncode == 125 and "10.77.0.99" in done.stderr), done
    n2.agent_term()


@test
def an_agent_without_root_says_what_it_cannot_do(c, n1, top, n2):
    place = os.path.join(c.shared, "unprivileged")
    os.mkdir(place)
    os.chown(place, 4711, 4711)
    run = os.path.join(place, "run")
    argv = [os.path.join(BUILD, "cpagentd"), "--name", "poor-" + c.id, "--run", run, "--state", place + "/state"]
    log = open(os.path.join(place, "log"), "w+")
    agent = subprocess.Popen(n2.command(argv, "/", (4711, 4711, [])), stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: n2.cli("--run", run, "ps", check=False, user=(4711, 4711, [])).returncode == 0 or
                   agent.poll() is not None, 10, "it answers")
        with open(log.name) as f:
            assert "root" in f.read()
    finally:
        for pid in children(agent.pid):
            os.kill(pid, signal.SIGTERM)
        ended(agent, 10)
        log.close()


@test
def wrong_usage_of_the_command_line_is_2(c, n1, top, n2):
    for args in (["nonsense"], [], ["run"], ["run", "--every", "often", "--", "true"], ["run", "--mode", "magic", "--", "x"],
                 ["run", "--restart", "always", "--", "x"], ["run", "--keep", "-1", "--", "x"], ["logs"], ["signal", "x"],
                 ["run", "--name", "a/b", "--", "true"], ["checkpoint", "--level", "x", "job"], ["run", "--nope", "--", "x"]):
        done = n1.cli(*args, check=False)
        assert done.returncode == 2 and done.stderr.startswith(("cpagent: ", "usage")), (args, done)


@test
def without_an_agent_every_command_is_4(c, n1, top, n2):
    for args in (["ps"], ["status"], ["stop", "x"], ["logs", "x"]):
        done = n1.cli("--run", "/run/nowhere", *args, check=False)
        assert done.returncode == 4 and done.stderr.startswith("cpagent: ") and not done.stdout, (args, done)
    done = n1.cli("--run", "/run/nowhere", "run", "--", "true", check=False)
    assert done.returncode in (4, 125), done


@test
def doctor_says_what_it_finds(c, n1, top, n2):
    done = n1.cli("doctor", check=False)
    assert done.returncode in (0, 1) and "criu" in done.stdout.lower() and "cgroup" in done.stdout.lower(), done
