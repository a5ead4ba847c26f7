"""The curves of keyed checkpoints as an SVG: time over size, both logarithmic, one line for each way."""
import math

WAYS = (("redis_set", "Redis SET, unix socket", "#7f7f7f", "7 4"),
        ("write_rename", "write + rename, tmpfs", "#d99000", "7 4"),
        ("pwrite", "pwrite in place, tmpfs", "#2f8f5b", "7 4"), ("memcpy", "memcpy, shared memory", "#111111", ""),
        ("restore", "restore, verified", "#1f77d0", ""), ("checkpoint", "checkpoint", "#c8201f", ""))
WIDTH, HEIGHT = 920, 620
LEFT, RIGHT, TOP, BOTTOM = 90, 230, 64, 70
SIZES = ((64, "64 B"), (1 << 12, "4 KiB"), (1 << 16, "64 KiB"), (1 << 20, "1 MiB"), (1 << 24, "16 MiB"), (1 << 26, "64 MiB"),
         (1 << 28, "256 MiB"), (1 << 30, "1 GiB"))
TIMES = ((1, "1 ns"), (1e1, "10 ns"), (1e2, "100 ns"), (1e3, "1 µs"), (1e4, "10 µs"), (1e5, "100 µs"), (1e6, "1 ms"),
         (1e7, "10 ms"), (1e8, "100 ms"), (1e9, "1 s"), (1e10, "10 s"))


class Plot:
    """Where a size and a time stand on the paper."""

    def __init__(self, rows):
        times = [row[name] for row in rows for name, *_ in WAYS if row.get(name)]
        self.sizes = rows[0]["bytes"], max(rows[-1]["bytes"], 2 * rows[0]["bytes"])
        self.times = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))

    @staticmethod
    def part(value, ends):
        low, high = map(math.log, ends)
        return (math.log(value) - low) / (high - low)

    def x(self, size):
        return LEFT + self.part(size, self.sizes) * (WIDTH - LEFT - RIGHT)

    def y(self, time):
        return HEIGHT - BOTTOM - self.part(time, self.times) * (HEIGHT - TOP - BOTTOM)


def text(x, y, words, anchor="start", size=13, more=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d"%s>%s</text>' % (x, y, anchor, size, more, words)


def stroke(colour, width, dashes=""):
    return 'stroke="%s" stroke-width="%g"%s' % (colour, width, ' stroke-dasharray="%s"' % dashes if dashes else "")


def line(x1, y1, x2, y2, how):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>' % (x1, y1, x2, y2, how)


def axes(p):
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    grid, frame = stroke("#e2e2e2", 1), stroke("#333333", 1)
    for size, name in SIZES:
        if p.sizes[0] <= size <= p.sizes[1]:
            yield line(p.x(size), top, p.x(size), bottom, grid)
            yield text(p.x(size), bottom + 20, name, "middle", 12)
    for time, name in TIMES:
        if p.times[0] <= time <= p.times[1]:
            yield line(left, p.y(time), right, p.y(time), grid)
            yield text(left - 8, p.y(time) + 4, name, "end", 12)
    yield line(left, bottom, right, bottom, frame)
    yield line(left, top, left, bottom, frame)
    yield text((left + right) / 2, HEIGHT - 22, "size of the key's value", "middle")
    middle = (top + bottom) / 2
    yield text(24, middle, "time, median", "middle", 13, ' transform="rotate(-90 24 %.1f)"' % middle)


def curve(p, points, colour, dashes):
    yield '<polyline fill="none" %s points="%s"/>' % (stroke(colour, 2.2, dashes),
                                                     " ".join("%.1f,%.1f" % (p.x(s), p.y(t)) for s, t in points))
    for s, t in points:
        yield '<circle cx="%.1f" cy="%.1f" r="3.2" fill="%s"/>' % (p.x(s), p.y(t), colour)


def legend(p, ends):
    """Each name beside the end of its curve, moved apart where they would lie on one another."""
    y = TOP - 8
    x = WIDTH - RIGHT + 14
    for height, name, colour, dashes in sorted((p.y(time), *rest) for time, *rest in ends):
        y = max(y + 17, height + 4)
        yield line(x, y - 4, x + 22, y - 4, stroke(colour, 2.2, dashes))
        yield text(x + 28, y, name, more=' fill="%s"' % colour)


def svg(rows, note):
    p = Plot(rows)
    ends, body = [], []
    for key, name, colour, dashes in WAYS:
        points = [(row["bytes"], row[key]) for row in rows if row.get(key)]
        if points:
            body += curve(p, points, colour, dashes)
            ends.append((points[-1][1], name, colour, dashes))
    title = text(LEFT, 28, "Keyed checkpoints: time over size", size=17, more=' font-weight="bold"')
    head = ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
            'font-family="DejaVu Sans, Helvetica, sans-serif" fill="#222222">' % (WIDTH, HEIGHT, WIDTH, HEIGHT))
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, paper, title, text(LEFT, 47, note, size=12), *axes(p), *body, *legend(p, ends), "</svg>", ""])


def draw(path, rows, note):
    with open(path, "w", encoding="utf-8") as f:
        f.write(svg(rows, note))
