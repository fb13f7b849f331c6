"""The tables."""

import hashlib
import platform
import subprocess
from datetime import date
from pathlib import Path
from statistics import median

# What else was measured, and how it tells its version.
OTHERS = [("nginx", "-v"), ("haproxy", "-v")]
# The other server, and what Gatelet should reach of its requests per second.
GOALS = {"bare": 0.95, "nginx asking": 1.0, "haproxy": 1.3, "nginx": 1.0}
# What a request at half load may take longer than directly, one in a hundred aside.
P99_ADDED_US = 300
NAMES = {
    "direct": "no proxy",
    "gatelet": "Gatelet",
    "gatelet, logging": "Gatelet, one log line a request",
    "bare": "bare hyper proxy",
    "bare again": "bare hyper proxy, again (noise)",
    "driven": "bare hyper proxy, driving its connections",
    "nginx": "nginx, no check (stretch)",
    "nginx asking": "nginx, auth_request to an endpoint",
    "nginx nodding": "nginx, auth_request to `return 204`",
    "haproxy": "HAProxy, HS256 jwt_verify",
}


class Report:
    """Sections by the part of the measurement that they belong to."""

    def __init__(self, gatelet, others=OTHERS):
        self.sections = {}
        self.machine = machine(gatelet, others)

    def print(self):
        print("\n\n".join(self.text(part) for part in self.sections))

    def write(self, path):
        """Puts each part's section into a page, between `<!-- PART -->` and `<!-- /PART -->`."""
        page = path.read_text()
        for part in self.sections:
            begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
            before, found, rest = page.partition(begin)
            _, found_end, after = rest.partition(end)
            if not (found and found_end):
                raise SystemExit(f"{path} has no place for {part}")
            page = f"{before}{begin}\n{self.text(part)}\n{end}{after}"
        path.write_text(page)

    def text(self, part):
        return "\n\n".join([self.machine, *self.sections[part]])

    def table(self, part, title, header, rows):
        lines = [header, ["---"] * len(header), *rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        self.sections.setdefault(part, []).append(f"**{title}**\n\n{body}")

    def throughput(self, operation, figures):
        rows = []
        own = figures["gatelet"]
        for name, rounds in figures.items():
            speeds = ratios(own, rounds, "requests_per_second")
            costs = ratios(rounds, own, "cpu_us_per_request")
            goal = GOALS.get(name)
            rows.append(
                [
                    NAMES[name],
                    f"{of(rounds, 'requests_per_second'):,.0f}",
                    f"{of(rounds, 'cpu_us_per_request'):.1f}",
                    f"{of(rounds, 'server_core'):.0%} / {of(rounds, 'generator_core'):.0%}",
                    spread(speeds),
                    spread(costs),
                    f"{goal}: {verdict(median(speeds) >= goal)}" if goal else "",
                ]
            )
        self.table(
            "throughput",
            f"{operation}, tokens seen before",
            ["server", "requests/s", "CPU us/request", "its core / the other", "Gatelet's requests/s to its (range)",
             "its CPU/request to Gatelet's (range)", "goal"],
            rows,
        )

    def newtokens(self, gatelet, bare, verify, ratio):
        self.table(
            "newtokens",
            "GET messages, every token new",
            ["", "CPU us/request"],
            [
                ["Gatelet", f"{gatelet:.1f}"],
                ["bare hyper proxy", f"{bare:.1f}"],
                ["one Ed25519 verification", f"{verify:.1f}"],
                ["goal: bare + 1.15 x one verification", f"{bare + 1.15 * verify:.1f}"],
                ["Gatelet to goal", f"{ratio:.3f}: {verdict(ratio <= 1)}"],
            ],
        )

    def latency(self, rate, figures):
        rows = []
        direct = figures["direct"]
        for name, rounds in figures.items():
            p50, p99, p999 = (added(rounds, direct, figure) for figure in ("p50_us", "p99_us", "p999_us"))
            is_direct = name == "direct"
            rows.append(
                [
                    NAMES[name],
                    "" if is_direct else f"{of(rounds, 'server_core'):.0%}",
                    " / ".join(f"{of(rounds, figure):.0f}" for figure in ("p50_us", "p99_us", "p999_us")),
                    "" if is_direct else f"{median(p50):.0f}",
                    "" if is_direct else spread(p99, digits=0),
                    "" if is_direct else f"{median(p999):.0f}",
                    f"{P99_ADDED_US}: {verdict(median(p99) < P99_ADDED_US)}" if name == "gatelet" else "",
                ]
            )
        self.table(
            "latency",
            f"GET messages at {rate:,.0f} requests/s, in microseconds",
            ["server", "its core", "p50 / p99 / p99.9", "p50 added", "p99 added (range)", "p99.9 added", "goal"],
            rows,
        )

    def streams(self, count, frames, gap, figures):
        kinds = ["first_p50_us", "first_p99_us", "relay_p50_us", "relay_p99_us"]
        direct, own = figures["direct"], figures["gatelet"]
        rows = []
        for name, rounds in figures.items():
            is_direct = name == "direct"
            rows.append(
                [
                    NAMES[name],
                    *(
                        f"{of(rounds, kind):.0f}" + ("" if is_direct else f" (+{median(added(rounds, direct, kind)):.0f})")
                        for kind in kinds
                    ),
                    f"{of(rounds, 'shift_p50_us'):.0f} / {of(rounds, 'shift_p99_us'):.0f}",
                    "" if is_direct else f"{of(rounds, 'cpu_us_per_frame'):.1f}",
                ]
            )
        to_bare = [median(ratios(own, figures["bare"], kind)) for kind in kinds]
        rows.append(["Gatelet to bare", *(f"{ratio:.2f}: {verdict(round(ratio, 2) <= 1)}" for ratio in to_bare), "", ""])
        length = f"{frames} events, one each {gap} ms"
        self.table(
            "streams",
            f"{count} stream{'s' if count > 1 else ''} at a time of {length}; microseconds (and added to no proxy)",
            ["server", "first event p50", "p99", "relay p50", "p99", "change of distance p50 / p99", "CPU us/event"],
            rows,
        )

    def memory(self, streams, servers, issued):
        self.table(
            "memory",
            f"Resident memory in MiB: idle, and at most with {streams:,} open streams",
            ["server", "idle", f"{streams:,} streams", "kiB/stream"],
            [
                [NAMES[name], f"{idle:.0f}", f"{highest:.0f}", f"{(highest - idle) * 1024 / streams:.0f}"]
                for name, idle, highest in servers
            ],
        )
        self.table(
            "memory",
            "Gatelet's resident memory in MiB after so many tokens were issued and used, each for an agent of its own",
            ["tokens", "now", "at most"],
            [[f"{count:,}", f"{now:.0f}", f"{highest:.0f}"] for count, now, highest in issued],
        )


def machine(gatelet, others):
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    model = cpu.split(":")[1].strip()

    def version(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0]

    binary = hashlib.sha256(Path(gatelet).read_bytes()).hexdigest()[:12]
    programs = [f"{version(gatelet, '--version')} (binary {binary})", *(version(*other) for other in others)]
    cores = "one core for the server and one for the rest"
    return f"{date.today()}, {model}, Linux {platform.release()}, {cores}; {', '.join(programs)}."


def of(rounds, figure):
    return median(one[figure] for one in rounds)


def ratios(rounds, others, figure):
    return [one[figure] / other[figure] for one, other in zip(rounds, others)]


def added(rounds, others, figure):
    return [one[figure] - other[figure] for one, other in zip(rounds, others)]


def spread(values, digits=3):
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def verdict(is_met):
    return "met" if is_met else "**missed**"
