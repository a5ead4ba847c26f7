"""A text that looks like language, the same each time, for programs that compress."""
import itertools
import random


def write_text(path, megabytes, seed=7):
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgk", k=chance.randint(2, 9))) for _ in range(20000)]
    often = list(itertools.accumulate(1 / (i + 1) for i in range(len(words))))
    size = 0
    with open(path, "w") as f:
        while size < megabytes << 20:
            size += f.write(" ".join(chance.choices(words, cum_weights=often, k=50000)) + "\n")
