"""router.py: a job that writes checkpoints as files into the directory that is there for them: 1, 2, 3, … into one that
stays open, and all of them so far, now and then, into one that it closes. It reads back what it has written, each time,
and prints how far it is; "broken" if the files are not as it left them.
"""
import os
import time

DIR = os.path.join(os.path.dirname(os.environ["CPAGENT_ARENA"]), "files")


def lines(n):
    return b"".join(b"%d\n" % i for i in range(1, n + 1))


def read(name):
    with open(os.path.join(DIR, name), "rb") as f:
        return f.read()


def main():
    n = 0
    with open(os.path.join(DIR, "x.part"), "wb", buffering=0) as part:
        while True:
            n += 1
            part.write(b"%d\n" % n)
            if n == 1 or n % 1000 == 0:
                with open(os.path.join(DIR, "closed"), "wb") as whole:
                    whole.write(lines(n))
            whole = read("closed")
            if read("x.part") != lines(n) or whole != lines(whole.count(b"\n")):
                print("broken", flush=True)
                return 1
            print(n, flush=True)
            time.sleep(0.005)


raise SystemExit(main())
