"""What a failed test shows about a namespace."""

from ._errors import GateletError
from ._namespace import Namespace
from ._types import Json

# A test that sends more than this is described by its last requests.
MOST_ENTRIES = 50


def requests(namespace: Namespace) -> str:
    """The journal, a line for each request, with what explains a refusal or an unexpected reply."""
    entries = namespace.journal.entries()
    lines = [f"{len(entries) - MOST_ENTRIES} earlier requests are left out"] if len(entries) > MOST_ENTRIES else []
    for entry in entries[-MOST_ENTRIES:]:
        lines += _lines(namespace, entry)
    return "\n".join(lines) or "no request reached this namespace"


def findings(namespace: Namespace) -> list[str]:
    """What makes a test fail that is strict: errors of the client, and what it prepared in vain."""
    server, problems = namespace.server, []
    if "verdicts" in server.features:
        for finding in namespace.verdicts(min="error")["findings"]:
            if finding["severity"] == "error" and finding["allowed"] is None:
                evidence = ", ".join(f"#{entry}" for entry in finding["evidence"])
                problems.append(f"{finding['rule']}: {finding['sentence']} {finding['fix']} (requests {evidence})")
    if "replies" in server.features:
        unused = namespace.unused()
        # A script may have replies for other tests.
        added = {reply["id"] for reply in namespace.replies() if reply["source"] == "run_time"}
        problems += [f"The reply {id} was not used." for id in unused["replies"] if id in added]
        certain = _certain_faults(namespace) if unused["faults"] else set()
        problems += [f"The fault {id} did not fire." for id in unused["faults"] if id in certain]
    return problems


def _certain_faults(namespace: Namespace) -> set[str]:
    """The faults that do not leave it to chance whether they fire."""
    faults = namespace.faults() if "faults" in namespace.server.features else []
    return {fault["id"] for fault in faults if "probability" not in fault["definition"].get("when", {})}


def _lines(namespace: Namespace, entry: Json) -> list[str]:
    caller, answer = (entry.get("caller") or {}).get("kind", "none"), entry.get("answer") or {}
    result = f"{answer['status']} {answer.get('code') or ''}".rstrip() if answer.get("status") else entry["phase"]
    ending = answer.get("ended")
    ended = f", {ending} by {answer['by']}" if ending not in (None, "done") else ""
    operation = entry.get("operation") or f"{entry['method']} {entry['target']}"
    lines = [f"#{entry['id']} {operation} by {caller}: {result}{ended}"]
    if message := answer.get("message"):
        lines.append(f"    {message}")
    if answer.get("frames"):
        lines.append(f"    frames: {_frames(namespace, entry['id'])}")
    if fault := entry.get("fault"):
        lines.append(f"    fault {fault['id']}: {', '.join(map(str, fault.get('did', [])))}")
    reply = entry.get("reply") or {}
    if reply.get("source") in ("echo", "refused"):
        for miss in reply.get("near_misses") or []:
            unmet = [criterion for criterion in miss["criteria"] if not criterion["ok"]]
            wanted = [f"{name['name']} {name['expected']!r} (found {name['found']!r})" for name in unmet]
            lines.append(f"    the reply {miss['id']} does not match: {', '.join(wanted)}")
    return lines


def _frames(namespace: Namespace, entry: int) -> str:
    """The types of a stream's frames, with equal neighbours as one."""
    try:
        frames = namespace.journal.frames(entry)
    except GateletError as error:
        return str(error)
    runs: list[tuple[str, int]] = []
    for frame in frames:
        kind = frame["type"] or "?"
        count = runs.pop()[1] + 1 if runs and runs[-1][0] == kind else 1
        runs.append((kind, count))
    return ", ".join(kind if count == 1 else f"{kind} x {count}" for kind, count in runs)
