#!/usr/bin/env python3
"""Derives frames.jsonl from recordings of a Letta App Server: one frame of each shape, in the order of the recordings.

    derive.py RECORDINGS_FOLDER > frames.jsonl

A recording has one JSON object a line: {"dir": "up" | "down", "frame": {...}}. Kept are kinds, keys, their order, ids,
words of the protocol, and the texts that the recorder itself sent; every other text is masked, since it is Letta's.
"""

import json
import pathlib
import re
import sys

SCENARIOS = ["session", "gate-shape", "queue", "errors", "host"]
# What is a word of the protocol, an id or a time.
WORDS = re.compile(
    r"^(type|.*_type|kind|source|role|status|.*status|disposition|.*reason|subtype|behavior|mode|current_permission_mode|.*mode"
    r"|level|backend|base|encoding|order|trigger|merge|letta_code_version|id|.*_id|.*_ids|sha|ref|otid|date|.*_at|timestamp"
    r"|idempotency_key|next_before|emitted_at|mime_type|relative_path|path|file_path|item_id)$"
)
ID = re.compile(
    r"^(agent-local-|local-conv-|local-run-|ui-msg-|letta-msg-|user-msg-|turn-|lifecycle-|call_|perm-|cm-|q-"
    r"|synthetic-|[0-9a-f]{8}-[0-9a-f]{4}-|2026-)"
)
OURS = re.compile(r"^(\[\[|word\d|hello|ere$|let me|a second one|renamed|[a-z]{1,8}$|.*not found$|Input was rejected)")


def masked(value, key=""):
    if isinstance(value, dict):
        return {name: masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, key) for item in value]
    if not isinstance(value, str) or value == "":
        return value
    if WORDS.match(key) or ID.match(value) or OURS.match(value):
        return value
    if "<system-reminder>" in value:
        return "<system-reminder>(text)</system-reminder>"
    if value.startswith("/"):
        return "/srv/path"
    if key in ("connection_name",):
        return "host-1"
    return "(text)"


def shape(value):
    if isinstance(value, dict):
        return {re.sub(r"\d+", "N", name): shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def main():
    folder, seen = pathlib.Path(sys.argv[1]), set()
    for scenario in SCENARIOS:
        for line in (folder / f"{scenario}.jsonl").read_text().splitlines():
            recorded = json.loads(line)
            frame = recorded.get("frame")
            if not isinstance(frame, dict):
                continue
            kind = (frame.get("type"), (frame.get("delta") or {}).get("message_type"))
            words = (frame.get("delta") or frame.get("loop_status") or {}).get("status"), frame.get("stop_reason")
            key = json.dumps([recorded["dir"], kind, words, shape(frame)])
            if key in seen:
                continue
            seen.add(key)
            out = {"scenario": scenario, "dir": recorded["dir"], "frame": masked(frame)}
            print(json.dumps(out, separators=(",", ":"), ensure_ascii=False))


main()
