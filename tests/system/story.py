"""A timeline that a person reads: seconds since the start, where it happened, what happened."""
import os
import sys
import time

COLOURS = {"n1": "33", "n2": "32", "top": "36", "bad": "31;1", "good": "32;1"}


class Story:
    def __init__(self, out=sys.stdout):
        self.out, self.began = out, time.monotonic()
        self.coloured = out.isatty() and "NO_COLOR" not in os.environ

    def now(self):
        return time.monotonic() - self.began

    def paint(self, text, colour):
        return "\033[%sm%s\033[0m" % (COLOURS[colour], text) if self.coloured and colour in COLOURS else text

    def tell(self, where, text, colour=None):
        line = "%6.1f s  %s %s" % (self.now(), self.paint("%-4s" % where, where), self.paint(text, colour))
        print(line, file=self.out, flush=True)

    def heading(self, text):
        print("\n" + text, file=self.out, flush=True)

    def end(self, text, good):
        print("\n" + self.paint(text, "good" if good else "bad"), file=self.out, flush=True)
