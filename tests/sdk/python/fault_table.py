"""The table in docs/faults.md of what clients report: each client's test owns a column, and compares it or writes it.

The same as tests/support/fault-table.mjs does for the clients in JavaScript.
"""

import json
import os
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/faults.md"
CASES = json.loads((ROOT / "tests/support/faults.json").read_text())
START, END = "<!-- clients -->\n", "<!-- /clients -->"


def summary(types, error):
    """What a client reports, in a few words that are the same in every run."""
    names = [str(name).replace("_message", "").replace("_statistics", "") for name in types]
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    words = [", ".join(f"{count} × {name}" if count > 1 else name for name, count in runs) or "nothing"]
    if error:
        words = words if types else []
        words.append(f"**{error}**")
    return "; ".join(words)


def check_column(client, reports):
    """Compares a client's column with what it reports. With GATELET_WRITE_DOCS set, writes it."""
    before, rest = PAGE.read_text().split(START)
    table, after = rest.split(END)
    rows = [line[2:-2].split(" | ") for line in table.strip().splitlines()]
    header = rows[0] if rows else ["fault"]
    if client not in header:
        header.append(client)
    column = header.index(client)
    old = {cells[0]: cells for cells in rows[2:]}
    expected = {name: report.replace("|", "\\|") for name, report in reports.items()}
    if not os.environ.get("GATELET_WRITE_DOCS"):
        found = {name: cells[column] for name, cells in old.items() if len(cells) > column}
        assert found == expected, "docs/faults.md says otherwise; run the test with GATELET_WRITE_DOCS=1"
        return
    written = [header, ["---"] * len(header)]
    for case in CASES:
        cells = (old.get(case["name"], []) + [""] * len(header))[: len(header)]
        cells[0], cells[column] = case["name"], expected[case["name"]]
        written.append(cells)
    lines = "".join(f"| {' | '.join(cells)} |\n" for cells in written)
    PAGE.write_text(f"{before}{START}{lines}{END}{after}")
