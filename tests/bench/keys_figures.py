"""Figures of keyed checkpoints: by size beside memcpy and what programs use otherwise, protected regions, many writers,
many keys, and what the library costs a program that does not call it."""
import os
import subprocess
import tempfile

import curves
import programs
import redis_server
from agents import BUILD

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
IDLE_TURNS = 15
IDLE_ROUNDS = "1500"
SMALL_LIMITS = {64: 200, 4 * KIB: 500}  # ns
# what bench_keys measured, as people read it
COLUMNS = (("checkpoint", "checkpoint"), ("restore", "restore"), ("memcpy", "memcpy"), ("write_rename", "write+rename"),
           ("pwrite", "pwrite"), ("redis_set", "Redis SET"), ("first_checkpoint", "first ckpt"), ("first_write", "new file"))


def size_name(n):
    return "%d GiB" % (n // GIB) if n >= GIB else "%d MiB" % (n // MIB) if n >= MIB else \
        "%d KiB" % (n // KIB) if n >= KIB else "%d B" % n


def unit_of(ns):
    return ("ns", 1) if ns < 1e4 else ("us", 1e3) if ns < 1e7 else ("ms", 1e6)


def shown(ns):
    unit, by = unit_of(ns)
    return "%.4g %s" % (ns / by, unit)


def print_sizes(rows):
    print("\n%8s" % "one key" + "".join("%14s" % title for _, title in COLUMNS))
    for row in rows:
        print("%8s" % size_name(row["bytes"]) +
              "".join("%14s" % (shown(row[name]) if name in row else "-") for name, _ in COLUMNS), flush=True)
    print()


def beside(table, what, row, ours, peer, peer_is, **limits):
    """One figure of a size beside another one, in the unit of the first."""
    if peer not in row:
        return
    unit, by = unit_of(row[ours])
    table.add(what, row[ours] / by, unit, peer=row[peer] / by, peer_is=peer_is, **limits)


def small(table, row):
    what = "checkpoint of %s" % size_name(row["bytes"])
    beside(table, what, row, "checkpoint", "write_rename", "write + rename", limit=SMALL_LIMITS[row["bytes"]], most=1 / 30)
    beside(table, "  beside Redis", row, "checkpoint", "redis_set", "SET, unix socket", most=1 / 300)
    beside(table, "  the first one, with its arena's first pages", row, "first_checkpoint", "first_write", "new file")


def large(table, row):
    size = size_name(row["bytes"])
    beside(table, "checkpoint of %s" % size, row, "checkpoint", "memcpy", "memcpy", most=1.3)
    beside(table, "  beside write + rename", row, "checkpoint", "write_rename", "write + rename")
    beside(table, "  beside pwrite in place", row, "checkpoint", "pwrite", "pwrite")
    beside(table, "  the first one, into new memory", row, "first_checkpoint", "first_write", "new file")
    beside(table, "restore of %s, checksum verified" % size, row, "restore", "memcpy", "memcpy", most=1.3)


def sizes(table):
    with redis_server.running() as socket:
        if not socket:
            print("bench: no Redis server here (redis-tools has one on Debian): figures beside it are left out")
        rows = programs.document("keys", *([socket] if socket else []))["sizes"]
    print_sizes(rows)
    for row in rows:
        if row["bytes"] in SMALL_LIMITS:
            small(table, row)
    large(table, rows[-1])
    return rows


def protected(table):
    got = programs.document("protect")
    of = "%d MiB protected" % got["mib"]
    if not got["tracked"]:
        print("bench: regions are copied whole here: %s" % got["why"])
    limits = {"hundredth": {"limit": 5 * got["mib"] / KIB, "most": 1 / 15}}
    for part, what in (("hundredth", "1 % dirty, dirtying included"), ("none", "nothing dirty"), ("tenth", "10 % dirty"),
                       ("all", "all dirty")):
        table.add("%s, %s" % (of, what), got[part]["ms"], "ms", peer=got[part]["memcpy_ms"], peer_is="memcpy of all",
                  **limits.get(part, {}))
    table.add("  the first one, whole, into new memory", got["first_ms"], "ms", peer=got["none"]["memcpy_ms"],
              peer_is="memcpy of all")
    return got


def writers(table):
    """What n take together for one checkpoint, beside what one would if the processors did nothing else."""
    got = programs.document("scale")
    for kind in ("threads", "processes"):
        one = got[kind]["1"]
        for n, ns in got[kind].items():
            if n == "1":
                continue
            share = min(int(n), got["processors"])
            table.add("%s %s, a key of 4 KiB each: per checkpoint" % (n, kind), ns, "ns", peer=one / share,
                      peer_is="1 of them / %d" % share, most=1.3 if n == "8" else None)
    return got


def many(table):
    got = programs.document("many")
    number = "{:,} keys of {} B".format(got["keys"], got["bytes"])
    table.add("%s: restore of one" % number, got["restore_ns"], "ns", limit=1000)
    table.add("  checkpoint of one", got["checkpoint_ns"], "ns")
    table.add("  its first checkpoint", got["first_ns"], "ns")
    table.add("  memory for a key beyond its bytes", got["memory_per_key"] - got["bytes"], "B", limit=200)
    table.add("  with the version before kept too", got["memory_per_key_twice"] - 2 * got["bytes"], "B")
    return got


def updates(table):
    """What a level above costs the agent of the node: the part that is in the way of nobody, but takes a processor."""
    got = programs.document("keyset")
    for part, what in (("many", "1,000 keys"), ("one", "one key")):
        row = got[part]
        table.add("update of %d MiB in %s, 1 %% changed" % (got["mib"], what), row["ms"], "ms", peer=row["memcpy_ms"],
                  peer_is="memcpy of all", most=1 / 2)
        table.add("  the first one, all of it", row["first_ms"], "ms", peer=row["memcpy_ms"], peer_is="memcpy of all")
    return got


def pulled_in():
    """Names of the libraries that libcpagent.so needs, the C library's own left out."""
    out = subprocess.run(["ldd", os.path.join(BUILD, "libcpagent.so")], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = [os.path.basename(line.split()[0]) for line in out.splitlines() if line.strip()]
    return [name for name in names if not name.startswith(("linux-vdso", "ld-linux", "libc.so"))]


def idle(table):
    def run(which, *args):
        path = os.path.join(BUILD, "tests/bench/idle_" + which)
        done = subprocess.run([path, IDLE_ROUNDS, *args], stdout=subprocess.PIPE, text=True, check=True)
        return float(done.stdout.split()[0]) * 1e3

    with tempfile.TemporaryDirectory(prefix="cpagent-bench.") as directory:
        turns = [(run("with", directory), run("without")) for _ in range(IDLE_TURNS)]
    # the fastest: what else runs on the machine only slows down
    linked, plain = map(min, zip(*turns))
    table.add("a program with the library linked, idle", linked, "ms", peer=plain, peer_is="without", most=1.02)
    extra = pulled_in()
    table.add("libraries it pulls in besides libc" + "".join(" " + name for name in extra), len(extra), "", limit=0)


def measure(table):
    rows = sizes(table)
    table.keep("curves", rows)
    curves.draw(os.path.join(BUILD, "bench.svg"), rows, "warm memory; %d processors, Linux %s" %
                (os.cpu_count(), os.uname().release))
    table.keep("protected", protected(table))
    table.keep("writers", writers(table))
    table.keep("many_keys", many(table))
    table.keep("updates", updates(table))
    idle(table)
