"""The table of a run of the benches: for people as it grows, as JSON at the end."""
import json
import os
import time

FORMAT = "%-54s %11s %23s  %-28s %7s  %s"


def shown(value, unit):
    return "%.3g %s" % (value, unit) if value < 100 else "%.0f %s" % (value, unit)


def as_ratio(ratio):
    """Far below one, how many times the peer takes of it."""
    return "1/%.0f" % (1 / ratio) if 0 < ratio < 0.1 else "%.2f" % ratio


def of_peer(most):
    return as_ratio(most) + " of peer"


class Table:
    def __init__(self):
        self.rows = []
        self.kept = {}
        print(FORMAT % ("what", "measured", "limit", "peer", "ratio", ""))

    def add(self, what, value, unit, limit=None, peer=None, peer_is=None, most=None, more_is_better=False):
        """limit: what the figure may reach; most: what the ratio to the peer may reach; None: it is only shown."""
        ratio = value / peer if peer else value / limit if limit else None
        bounded = limit is not None or most is not None
        met = (limit is None or value <= limit) and (most is None or ratio <= most) if bounded else None
        self.rows.append({"what": what.strip(), "value": value, "unit": unit, "limit": limit, "peer": peer, "peer_is":
                          peer_is, "ratio": ratio, "ratio_limit": most, "more_is_better": more_is_better, "met": met})
        bound = ", ".join(([shown(limit, unit)] if limit is not None else []) + ([of_peer(most)] if most else [])) or "-"
        print(FORMAT % (what, shown(value, unit), bound, "%s: %s" % (peer_is, shown(peer, unit)) if peer else "-",
                        as_ratio(ratio) if ratio is not None else "-",
                        "" if met is None else "ok" if met else "MISSED"), flush=True)

    def keep(self, name, value):
        """What else the JSON document is to have."""
        self.kept[name] = value

    def met(self):
        return sum(row["met"] is True for row in self.rows)

    def missed(self):
        return [row for row in self.rows if row["met"] is False]

    def save(self, path, **more):
        document = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "kernel": os.uname().release,
                    "processors": os.cpu_count(), "load": os.getloadavg()[0], "figures": self.rows, **self.kept, **more}
        with open(path + ".aside", "w") as f:
            json.dump(document, f, indent=1)
            f.write("\n")
        os.rename(path + ".aside", path)
