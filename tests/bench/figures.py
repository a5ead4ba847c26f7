"""The table of a run of the benches: for people as it grows, as JSON at the end."""
import json
import os
import time

FORMAT = "%-44s %14s %14s  %-34s %7s  %s"


def shown(value, unit):
    return "%.3g %s" % (value, unit) if value < 100 else "%.0f %s" % (value, unit)


class Table:
    def __init__(self):
        self.rows = []
        print(FORMAT % ("what", "measured", "limit", "peer", "ratio", ""))

    def add(self, what, value, unit, limit=None, peer=None, peer_is=None, most=None, more_is_better=False):
        """limit: what the figure may reach; most: what the ratio to the peer may reach; None: it is only shown."""
        ratio = value / peer if peer else value / limit if limit else None
        bounded = limit is not None or most is not None
        met = (limit is None or value <= limit) and (most is None or ratio <= most) if bounded else None
        self.rows.append({"what": what.strip(), "value": value, "unit": unit, "limit": limit, "peer": peer, "peer_is":
                          peer_is, "ratio": ratio, "ratio_limit": most, "more_is_better": more_is_better, "met": met})
        bound = shown(limit, unit) if limit is not None else "%.2f of peer" % most if most is not None else "-"
        print(FORMAT % (what, shown(value, unit), bound, "%s: %s" % (peer_is, shown(peer, unit)) if peer else "-",
                        "%.2f" % ratio if ratio is not None else "-",
                        "" if met is None else "ok" if met else "MISSED"), flush=True)

    def met(self):
        return sum(row["met"] is True for row in self.rows)

    def missed(self):
        return [row for row in self.rows if row["met"] is False]

    def save(self, path, **more):
        document = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "kernel": os.uname().release,
                    "processors": os.cpu_count(), "load": os.getloadavg()[0], "figures": self.rows, **more}
        with open(path + ".aside", "w") as f:
            json.dump(document, f, indent=1)
            f.write("\n")
        os.rename(path + ".aside", path)
