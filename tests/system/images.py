"""A job's snapshots as they lie on its node, for tests that damage them."""
import glob
import os


def of(node, job):
    """The directories of complete generations, the oldest first."""
    found = glob.glob(node.path("/run/cpagent/jobs/%s/img.*/.manifest" % node.job(job)["job"]))
    return [os.path.dirname(m) for m in sorted(found, key=os.path.getmtime)]


def flip_a_byte(directory):
    """In the middle of its largest file, which holds the job's memory."""
    path = max(glob.glob(directory + "/*"), key=lambda p: os.stat(p).st_blocks)
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))
    return path
