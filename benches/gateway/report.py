"""The tables."""

import hashlib
import platform
import subprocess
from datetime import date
from pathlib import Path
from statistics import median

# The other server, what Gatelet should reach of its requests per second.
GOALS = {"bare": 0.95, "nginx asking": 1.0, "haproxy": 1.3, "nginx": 1.0}
NAMES = {
    "gatelet": "Gatelet",
    "gatelet, logging": "Gatelet, one log line a request",
    "bare": "bare hyper proxy",
    "bare again": "bare hyper proxy, again (noise)",
    "nginx": "nginx, no check (stretch)",
    "nginx asking": "nginx, auth_request to an endpoint",
    "nginx nodding": "nginx, auth_request to `return 204`",
    "haproxy": "HAProxy, HS256 jwt_verify",
}


class Report:
    def __init__(self, gatelet):
        self.sections = [self.machine(gatelet)]

    def print(self):
        print("\n\n".join(self.sections))

    def table(self, title, header, rows):
        lines = [header, ["---"] * len(header), *rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        self.sections.append(f"## {title}\n\n{body}")

    @staticmethod
    def machine(gatelet):
        model = next(
            line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
        )

        def version(*command):
            done = subprocess.run(command, capture_output=True, text=True)
            return (done.stdout + done.stderr).splitlines()[0]

        binary = hashlib.sha256(Path(gatelet).read_bytes()).hexdigest()[:12]
        return "\n".join(
            [
                f"- {date.today()}, {model}, Linux {platform.release()}; one core for the server, one for the rest",
                f"- {version(gatelet, '--version')} (binary {binary}), {version('nginx', '-v')}, "
                f"{version('haproxy', '-v')}",
            ]
        )

    def throughput(self, operation, figures):
        rows = []
        own = figures["gatelet"]
        for name, rounds in figures.items():
            speeds = [own_round["requests_per_second"] / other["requests_per_second"] for own_round, other in zip(own, rounds)]
            costs = [other["cpu_us_per_request"] / own_round["cpu_us_per_request"] for own_round, other in zip(own, rounds)]
            goal = GOALS.get(name)
            rows.append(
                [
                    NAMES[name],
                    f"{of(rounds, 'requests_per_second'):,.0f}",
                    f"{of(rounds, 'cpu_us_per_request'):.1f}",
                    f"{of(rounds, 'server_core'):.0%} / {of(rounds, 'generator_core'):.0%}",
                    f"{median(speeds):.3f} ({min(speeds):.3f}-{max(speeds):.3f})",
                    f"{median(costs):.3f} ({min(costs):.3f}-{max(costs):.3f})",
                    f">= {goal}" if goal else "",
                    verdict(median(speeds) >= goal) if goal else "",
                ]
            )
        self.table(
            f"{operation}, tokens seen before",
            ["server", "requests/s", "CPU us/request", "its core / the other", "Gatelet's requests/s to its (range)",
             "by CPU/request (range)", "goal", ""],
            rows,
        )

    def newtokens(self, gatelet, bare, verify, ratio):
        self.table(
            "Every token new",
            ["", "CPU us/request"],
            [
                ["Gatelet", f"{gatelet:.1f}"],
                ["bare hyper proxy", f"{bare:.1f}"],
                ["one Ed25519 verification", f"{verify:.1f}"],
                ["goal: bare + 1.15 x one verification", f"{bare + 1.15 * verify:.1f}"],
                ["Gatelet / goal", f"{ratio:.3f} ({verdict(ratio <= 1)})"],
            ],
        )


def of(rounds, figure):
    return median(one[figure] for one in rounds)


def verdict(is_met):
    return "met" if is_met else "**missed**"
