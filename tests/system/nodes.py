"""A cluster on one machine: every node a set of namespaces (pid, mount, network, uts), joined by veth to one bridge.

Nothing of it outlives this process: each node's pid 1 dies with us, and with it all that runs in the node, its mounts
and its network. What is left then, cgroups and a directory, is removed at the end, or by a later run (leftovers.py).
"""
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile

import leftovers
from agents import BUILD, SLOW, Agent, children, execute, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 7400
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_us():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)  # Ctrl-C is for us alone


class Namespaces:
    """A set of namespaces with one process that keeps it; `pid` is that one as this process sees it."""

    def __init__(self, flags, program):
        errors = tempfile.TemporaryFile()
        self.guard = subprocess.Popen(
            ["unshare", "--fork", "--kill-child=SIGKILL", *flags, "--", *program], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, preexec_fn=_die_with_us)
        if self.guard.stdout.readline() != b"ready\n":
            self.end()
            errors.seek(0)
            raise RuntimeError("namespaces cannot be made (it needs root): " + errors.read().decode())
        self.pid = children(self.guard.pid)[0]

    def end(self):
        """Everything in it is killed at once; returns when it is gone."""
        if self.guard.poll() is None:
            for pid in children(self.guard.pid):
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    os.kill(pid, signal.SIGKILL)
        self.guard.wait()
        self.guard.stdout.close()

    def enter(self, *flags):
        return ["nsenter", "-t", str(self.pid), *flags, "--"]

    def ip(self, *args):
        subprocess.run([*self.enter("-n"), "ip", *args], check=True)


class Node(Agent):
    """A machine of the cluster. Its agent runs as agents.Agent describes."""

    def __init__(self, cluster, name, number, run_size):
        super().__init__(name, "%s-%s" % (name, cluster.id), os.path.join(cluster.dir, name))
        self.cluster, self.number, self.run_size = cluster, number, run_size
        self.address = "10.77.0.%d" % number
        self.url = "tcp://%s:%d" % (self.address, PORT)
        self.veth = "v%d" % number
        self.space = None

    def boot(self):
        """Switch the machine on: nothing runs on it yet, its /run is empty, its disk is as it was."""
        self.space = Namespaces(["--pid", "--mount", "--net", "--uts"],
                                [sys.executable, os.path.join(HERE, "node_init.py"), self.name, self.run_size])
        hub = self.cluster.hub
        mac = "02:00:0a:4d:00:%02x" % self.number  # a machine keeps its card when it is switched off and on
        hub.ip("link", "add", self.veth, "type", "veth", "peer", "name", "eth0", "address", mac, "netns",
               str(self.space.pid))
        hub.ip("link", "set", self.veth, "master", "br0", "up")
        self.space.ip("addr", "add", self.address + "/24", "dev", "eth0")
        self.space.ip("link", "set", "eth0", "up")

    def command(self, argv, cwd=None, user=None):
        """argv as it is to be run on this machine; user is (uid, gid, [groups])."""
        enter = self.space.enter("-m", "-u", "-n", "-p", "-W", cwd or self.cluster.shared)
        if user:
            uid, gid, groups = user
            groups = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
            enter += ["setpriv", "--reuid", str(uid), "--regid", str(gid), *groups]
        return enter + list(argv)

    def path(self, place):
        """A file of this machine as this process reaches it."""
        return "/proc/%d/root%s" % (self.space.pid, place)

    def do(self, *argv, user=None, check=True):
        """Any command on this machine."""
        done = execute(self.command(argv, user=user), 30 * SLOW)
        assert not check or done.returncode == 0, done
        return done

    def try_agent(self, *args, timeout=10, env=None):
        """Run an agent that is expected to refuse; how it ended."""
        return execute(self.command([os.path.join(BUILD, "cpagentd"), *map(str, args)], "/"), timeout * SLOW, env)

    def cgroup(self):
        return os.path.join(leftovers.cgroup_root(), self.agent_name)

    def pull_plug(self):
        """The machine is gone: everything on it killed at once, its network dead. Its disk stays."""
        if self.space:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.space.pid, signal.SIGKILL)
            self.agent_gone()  # what brought it there first: the kernel keeps the rest until all its dead are reaped
            self.space.end()
        self.space = None

    def cut(self):
        """Partition: nobody reaches it any more."""
        self.cluster.hub.ip("link", "set", self.veth, "down")

    def heal(self):
        self.cluster.hub.ip("link", "set", self.veth, "up")


class Cluster:
    """with Cluster() as c: top, n1, n2 = c.standard()"""

    def __init__(self):
        self.nodes, self.hub = [], None

    def __enter__(self):
        leftovers.clean_dead()
        self.id, self.dir = leftovers.begin()
        try:
            self.shared = os.path.join(self.dir, "shared")
            self.key = os.path.join(self.dir, "key")
            os.mkdir(self.shared)
            os.chmod(self.dir, 0o755)
            os.chmod(self.shared, 0o1777)
            subprocess.run([os.path.join(BUILD, "cpagent"), "keygen", self.key], check=True)
            self.hub = Namespaces(["--net"], ["sh", "-c", "echo ready; exec sleep infinity"])
            self.hub.ip("link", "add", "br0", "type", "bridge")
            self.hub.ip("link", "set", "br0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def add(self, name, run_size="2G"):
        node = Node(self, name, len(self.nodes) + 1, run_size)
        self.nodes.append(node)
        os.mkdir(node.dir)
        node.boot()
        return node

    def standard(self, names=("n1", "n2"), **options):
        """A top agent of level 2 and nodes below it, all joined; options go to every agent."""
        top = self.add("top")
        top.agent_start(level=2, listen=top.url, key=self.key, **options)
        below = [self.add(name) for name in names]
        for node in below:
            node.agent_start(parent=top.url, key=self.key, **options)
        for node in below:
            self.wait_up(top, node)
        return (top, *below)

    @staticmethod
    def wait_up(top, node, timeout=10):
        wait_until(lambda: top.agent_state(node) == "up", timeout, "%s sees %s up" % (top.name, node.name))

    def __exit__(self, *_):
        for node in self.nodes:
            node.pull_plug()
            node.close()
        if self.hub:
            self.hub.end()
        leftovers.end(self.id, self.dir)
