"""The tables."""

from statistics import median

from report import Report, of, ratios, spread, verdict

# What Gatelet should reach of the requests per second of the handler that guards nothing. It writes messages from their
# stored text, and agents from their records.
LEAST_RATIO, LEAST_RATIO_OF_AGENTS = 0.8, 0.5
# What one page of 100,000 messages may cost of one of 1,000, as measured.
MOST_GROWTH = 1.25
# Milliseconds, MiB, MB.
MOST_START, MOST_IDLE, MOST_SIZE = 50, 25, 25


class Tables(Report):
    """The tables of the mock, one for each part."""

    def __init__(self, gatelet):
        super().__init__(gatelet, [("wrk", "-v")])
        self.rows = {}

    def ratio(self, title, holder, length, measured):
        to_bare = ratios_of(measured, "gatelet", "bare", "speed")
        least = LEAST_RATIO if title.startswith("messages") else LEAST_RATIO_OF_AGENTS
        self.add(
            "ratios",
            "GET, by what is asked for and who asks; requests per second",
            ["", "by", "bytes", "Gatelet", "unguarded", "Gatelet's to its (range)", "unguarded again (noise)",
             "CPU us/request, both", "the unguarded's to Gatelet's", "goal"],
            [
                title,
                holder,
                f"{length:,}",
                f"{of(measured['gatelet'], 'speed'):,.0f}",
                f"{of(measured['bare'], 'speed'):,.0f}",
                spread(to_bare),
                spread(ratios_of(measured, "bare again", "bare", "speed")),
                f"{of(measured['gatelet'], 'cost'):.1f} / {of(measured['bare'], 'cost'):.1f}",
                spread(ratios_of(measured, "bare", "gatelet", "cost")),
                f"{least}: {verdict(median(to_bare) >= least)}",
            ],
        )

    def page(self, title, costs):
        sizes = list(costs)
        growth = [most / least for most, least in zip(costs[sizes[-1]], costs[sizes[0]])]
        self.add(
            "pages",
            "A page of 20 messages by how many the agent has, one request after the other; microseconds",
            ["page", *(f"{size:,}" for size in sizes), "the last to the first (range)", "goal"],
            [
                title,
                *(f"{median(costs[size]):.0f}" for size in sizes),
                spread(growth, digits=2),
                f"{MOST_GROWTH}: {verdict(median(growth) <= MOST_GROWTH)}",
            ],
        )

    def process(self, firsts, again, idle, used, most, size):
        def row(what, figure, goal, unit, met):
            header = ["", "", "goal"]
            self.add("process", "The program, with the embedded store", header, [what, figure, goal and f"{goal} {unit}: {verdict(met)}"])

        for what, times in [("no store yet", firsts), ("a store there", again)]:
            figure = f"{spread(times, digits=0)} ms"
            row(f"start to first answer, {what}", figure, f"< {MOST_START}", "ms", median(times) < MOST_START)
        row("resident memory, idle", f"{idle:.1f} MiB", f"< {MOST_IDLE}", "MB", idle * 1.048576 < MOST_IDLE)
        row("resident memory after a second of lists (at most)", f"{used:.1f} ({most:.1f}) MiB", "", "", True)
        row("release binary", f"{size:.1f} MB", f"< {MOST_SIZE}", "MB", size < MOST_SIZE)

    def sending(self, agents, how, speed):
        self.add(
            "sending",
            "POST messages, turns per second, for information",
            ["agents, each with one request at a time", "answered", "turns/s"],
            [f"{agents}", how, f"{speed:,.0f}"],
        )

    def add(self, part, title, header, row):
        """Adds a row to the one table of a part."""
        rows = self.rows.setdefault(part, [])
        rows.append(row)
        self.sections[part] = []
        self.table(part, title, header, rows)


def ratios_of(measured, name, other, figure):
    return ratios(measured[name], measured[other], figure)
