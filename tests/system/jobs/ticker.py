"""ticker.py FILE [OUT]: a job that says when and where it runs. A line in FILE for each 20 ms: the time in nanoseconds,
the node's address, how often it has ticked, its incarnation. FILE is opened for each line, so that no snapshot owns it;
the time is the wall clock's, since CRIU lets a restored job's other clocks go on from where they were. The ticks alone also go to OUT, which stays open, or else to stdout.
"""
import fcntl
import os
import socket
import struct
import sys
import time

SIOCGIFADDR = 0x8915


def address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        answer = fcntl.ioctl(s, SIOCGIFADDR, struct.pack("256s", b"eth0"))
    return socket.inet_ntoa(answer[20:24])


def now_and_here():
    """Both of one node: it may be frozen here and go on elsewhere at any instruction."""
    while True:
        here = address()
        now = time.time_ns()
        if address() == here:
            return now, here


def main(path, out=None):
    out = os.open(out, os.O_WRONLY | os.O_CREAT, 0o644) if out else 1
    n = 0
    while True:
        os.write(out, b"%d\n" % n)
        line = "%d %s %d %s\n" % (*now_and_here(), n, os.environ["CPAGENT_INCARNATION"])
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(fd, line.encode())
        os.close(fd)
        n += 1
        time.sleep(0.02)


main(*sys.argv[1:])
