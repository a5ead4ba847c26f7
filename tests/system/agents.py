"""An agent on a node, and its command line: how tests start, kill, stop and ask it.

nodes.Node says where it runs: command() wraps a command so that it runs there.
"""
import json
import os
import re
import signal
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("B", os.path.join(TOP, "build/default")))
SLOW = 4 if os.environ.get("SAN") else 1  # what sanitizers cost at most
ENDED = ("exited", "failed", "lost")


class Timeout(AssertionError):
    pass


class CommandFailed(AssertionError):
    pass


def wait_until(predicate, timeout, what):
    """The first true value of predicate(), asked every few milliseconds; Timeout when there is none in time."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout("not within %g s: %s" % (timeout * SLOW, what))
        time.sleep(0.02)


def ended(process, timeout):
    """The exit status of a command in the background that is to end in time."""
    try:
        return process.wait(timeout * SLOW)
    except subprocess.TimeoutExpired:
        raise Timeout("still running after %g s: %s" % (timeout * SLOW, process.args)) from None


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(word) for word in f.read().split()]


def as_arguments(options):
    """level=2, on_isolation="run", parent=["a", "b"] as they stand on a command line; None leaves one out, True is bare."""
    for name, value in options.items():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each is True:
                yield "--" + name.replace("_", "-")
            elif each is not None:
                yield from ("--" + name.replace("_", "-"), str(each))


def execute(argv, timeout, env=None):
    """Run a command on a node to its end; it is killed when that takes too long."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                               text=True, errors="replace", preexec_fn=os.setpgrp)
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        for pid in children(process.pid):  # nsenter alone would leave it running
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(argv[argv.index("--") + 1:], process.returncode, out, err)


class Agent:
    def __init__(self, name, agent_name, directory):
        self.name, self.agent_name, self.dir = name, agent_name, directory
        self.state_dir = os.path.join(directory, "state")
        self.log = os.path.join(directory, "agent.log")
        self.process, self.options, self.others = None, {}, []

    # ---- the agent's life ----

    def agent_start(self, env=None, wait=True, **options):
        """Start it, with the options of its last start where none are given, and wait until it answers."""
        self.options = options or self.options
        argv = [os.path.join(BUILD, "cpagentd"), "--name", self.agent_name, "--state", self.state_dir]
        # a busy machine holds nobody's lease up; who waits for one to run out says how long it is
        argv += as_arguments({"save": 0, "update": "1s", "lease": "%ds" % (2 * SLOW), **self.options})
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(argv, cwd="/"), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env, preexec_fn=os.setpgrp)
        if wait:
            wait_until(self._answers, 10, "%s's agent answers" % self.name)

    def _answers(self):
        if self.process.poll() is not None:
            raise CommandFailed("%s's agent ended with %d:\n%s" % (self.name, self.process.returncode, self.tail()))
        return self.cli("ps", check=False).returncode == 0

    def agent_pid(self):
        """The agent itself, as this process sees it."""
        return children(self.process.pid)[0]

    def _end(self, signo):
        os.kill(self.agent_pid(), signo)
        status = self.process.wait(20 * SLOW)
        self.process = None
        return status

    def agent_kill(self):
        self._end(signal.SIGKILL)

    def agent_term(self):
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def agent_stop(self):
        os.kill(self.agent_pid(), signal.SIGSTOP)

    def agent_cont(self):
        os.kill(self.agent_pid(), signal.SIGCONT)
        os.kill(self.process.pid, signal.SIGCONT)  # nsenter stops with its child

    def agent_gone(self):
        """Its node is gone. What brought it there may stand still with it (agent_stop)."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def close(self):
        for process in self.others:
            process.communicate()

    # ---- its log ----

    def log_text(self, since=0):
        try:
            with open(self.log, errors="replace") as f:
                f.seek(since)
                return f.read()
        except FileNotFoundError:
            return ""

    def log_size(self):
        return os.path.getsize(self.log) if os.path.exists(self.log) else 0

    def tail(self, since=0, lines=100):
        return "\n".join(self.log_text(since).splitlines()[-lines:])

    def wait_log(self, pattern, timeout=10, since=0):
        """Until a line of its log matches; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log_text(since), re.M), timeout,
                          "/%s/ in %s's log" % (pattern, self.name))

    # ---- its command line ----

    def cli(self, *args, check=True, timeout=30, user=None, cwd=None, env=None):
        """Run `cpagent args` here; with check, CommandFailed unless it exits with 0."""
        argv = self.command([os.path.join(BUILD, "cpagent"), *map(str, args)], cwd, user)
        done = execute(argv, timeout * SLOW, env)
        if check and done.returncode:
            raise CommandFailed("cpagent %s: exit %d\n%s%s" % (" ".join(map(str, args)), done.returncode,
                                                               done.stdout, done.stderr))
        return done

    def popen(self, *args, user=None, cwd=None, env=None):
        """`cpagent args` in the background, with pipes; tell() reaches it with a signal."""
        argv = self.command([os.path.join(BUILD, "cpagent"), *map(str, args)], cwd, user)
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=env, preexec_fn=os.setpgrp)
        self.others.append(process)
        return process

    @staticmethod
    def tell(process, signo):
        os.kill(wait_until(lambda: children(process.pid), 5, "the command runs")[0], signo)

    def json(self, *args, **how):
        return json.loads(self.cli("--json", *args, **how).stdout)

    def run(self, *args, **how):
        """Start a job detached; its name."""
        return self.cli("run", "--detach", *args, **how).stdout.strip()

    # ---- what it says ----

    def lines(self, job):
        """What a job has said so far, as lines; one that it has not finished is left out."""
        return self.cli("logs", job).stdout.split("\n")[:-1]

    def job(self, name):
        """A job as `ps -a` shows it; None when there is none. Of several of one name, the live one."""
        found = [j for j in self.json("ps", "-a")["jobs"] if name in (j["name"], j["job"])]
        live = [j for j in found if j["state"] not in ENDED]
        return (live or found or [None])[-1]

    def wait_job(self, name, timeout, **fields):
        """Until the job has these fields, as in wait_job("a", 5, state="running", node=n2)."""
        def there():
            job = self.job(name)
            return job if job and all(job[k] == getattr(v, "agent_name", v) for k, v in fields.items()) else None
        try:
            return wait_until(there, timeout, "%s becomes %s" % (name, fields))
        except Timeout as late:
            raise Timeout("%s; it is %s" % (late, self.job(name))) from None

    def history(self, name):
        return self.json("history", name)["generations"]

    def agent_state(self, node):
        for agent in self.json("status")["agents"]:
            if agent["name"] == node.agent_name:
                return agent["state"]
        return None
