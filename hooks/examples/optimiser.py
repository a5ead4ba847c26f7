#!/usr/bin/env python3
"""optimiser: Adam with noisy gradients on Rosenbrock's function in many dimensions, with checkpoints. Start it, kill it, start
it again: it goes on where it was, and finds the same point to the last bit, the random numbers included.

    optimiser.py --size 2000 --steps 20000 --every 100 --out point.npy
"""
import argparse
import json
import os

import cpagent
import numpy as np


def gradient(x):
    g = np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def advance(x, m, v, step, noise):
    g = gradient(x) + noise
    m += 0.1 * (g - m)
    v += 0.001 * (g * g - v)
    x -= 0.001 * (m / (1 - 0.9 ** step)) / (np.sqrt(v / (1 - 0.999 ** step)) + 1e-8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--out")
    parser.add_argument("--arena", help="keep a private arena there")
    opt = parser.parse_args()

    rng = np.random.default_rng(1)
    x, m, v = np.full(opt.size, -1.0), np.zeros(opt.size), np.zeros(opt.size)
    with cpagent.open(opt.arena) as cp:
        rest = cp.restore_into("adam", x=x, m=m, v=v, default=None)
        step = rest["step"] if rest else 0
        if rest:
            rng.bit_generator.state = json.loads(rest["rng"])
        print("restored" if step else "started", "at step", step, flush=True)
        while step < opt.steps:
            step += 1
            advance(x, m, v, step, rng.normal(size=opt.size))
            if step % opt.every == 0:
                cp.checkpoint("adam", step=step, x=x, m=m, v=v, rng=json.dumps(rng.bit_generator.state))
                print("step", step, flush=True)
        if opt.out:
            with open(opt.out + ".part", "wb") as f:
                np.save(f, x)
            os.replace(opt.out + ".part", opt.out)
        cp.reset("adam")  # done: the next run is a new one


if __name__ == "__main__":
    main()
