"""What a run of the tests leaves when it ends, or did not come to its end: its directory in /tmp and its cgroups.

The id of a cluster is its process's pid and a count; the directory's name adds when that process started, so that a
later run can tell whose are of dead runs. Processes, mounts and networks need no care: they die with the run (nodes.py).
"""
import glob
import itertools
import os
import shutil
import tempfile
import time

PREFIX = "cpagent-test."
_count = itertools.count()


def _started(pid):
    """When a process started, in clock ticks; None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def cgroup_root():
    with open("/proc/self/mountinfo") as table:
        for line in table:
            if " - cgroup2 " in line:
                return os.path.join(line.split()[4], "cpagent")
    raise RuntimeError("no cgroup2 is mounted")


def mount_points():
    """The mount points that jobs need, made by tests or benches outside of nodes: gone, unless somebody's job runs."""
    for comm in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(comm) as f:
                if f.read().strip() == "cpinit":
                    return
        except OSError:
            continue
    for place in ("job", "log", ""):
        try:
            os.rmdir(os.path.join("/run/cpagent", place))
        except OSError:
            pass  # not there, or somebody's


def begin():
    """(id, directory) of a new cluster of this process."""
    run = "%x-%d" % (os.getpid(), next(_count))
    path = os.path.join(tempfile.gettempdir(), "%s%s.%s" % (PREFIX, run, _started(os.getpid())))
    os.mkdir(path)
    return run, path


def _remove(directory):
    """A cgroup whose last process may still be on its way out."""
    for _ in range(200):
        try:
            return os.rmdir(directory)
        except FileNotFoundError:
            return None
        except OSError:
            time.sleep(0.02)


def _remove_cgroup(top):
    try:
        with open(os.path.join(top, "cgroup.kill"), "w") as f:
            f.write("1")
    except OSError:
        pass
    for path, _, _ in os.walk(top, topdown=False):
        _remove(path)


def end(run, path):
    for top in glob.glob(os.path.join(cgroup_root(), "*-" + run)):
        _remove_cgroup(top)
    try:
        os.rmdir(cgroup_root())
    except OSError:
        pass  # other agents use it
    shutil.rmtree(path, ignore_errors=True)


def clean_dead():
    """Clusters whose process has ended without cleaning up."""
    for path in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*")):
        run, started = os.path.basename(path)[len(PREFIX):].split(".")
        if _started(int(run.split("-")[0], 16)) != started:
            end(run, path)


def of_process(pid):
    """Everything that a process's clusters have left, as paths."""
    return (glob.glob(os.path.join(tempfile.gettempdir(), "%s%x-*" % (PREFIX, pid))) +
            glob.glob(os.path.join(cgroup_root(), "*-%x-*" % pid)))
