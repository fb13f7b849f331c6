"""Strict tests fail by what the server says about their client and about what they prepared. The server is made up, so that
it can say anything."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

FINDING = {
    "rule": "double_send",
    "severity": "error",
    "sentence": "It sent a text twice.",
    "fix": "Send it once.",
    "evidence": [17, 21],
    "caller": {"kind": "client_token", "jti": "x"},
    "docs": "docs/verdicts.md#double_send",
    "allowed": None,
}
NEAR_MISS = {
    "id": "weather",
    "criteria": [
        {"name": "agent", "ok": True, "expected": "helper", "found": "helper"},
        {"name": "user", "ok": False, "expected": "weather", "found": "Hello"},
    ],
}
ENTRY = {
    "id": 1,
    "operation": "StreamMessage",
    "phase": "finished",
    "caller": {"kind": "client_token"},
    "answer": {"status": 200, "code": None, "frames": 4, "ended": "cut", "by": "fault"},
    "fault": {"id": "cut-early", "fired": 1, "did": ["cut after frame 3"]},
    "reply": {"source": "echo", "id": None, "step": 0, "near_misses": [NEAR_MISS]},
}
FRAMES = [{"n": n, "type": kind} for n, kind in enumerate(["ping", "assistant_message", "assistant_message", "stop_reason"])]


@pytest.fixture
def says():
    """What the server says; and `calls`, what it was asked."""
    says = {"findings": [], "unused": {"replies": [], "faults": [], "refs": ["helper"]}, "replies": [], "faults": [], "calls": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.respond()

        do_POST = do_DELETE = do_GET

        def respond(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            call = f"{self.command} {self.path.removeprefix('/_gatelet/v1')}"
            says["calls"].append(call)
            created = {"name": "one", "api_key": "sk-let-test", "refs": {}, "tokens": {}}
            answer = {
                "GET ": {"version": "9.9.9", "features": ["verdicts", "replies", "faults"], "limits": {}},
                "POST /ns": created,
                "GET /ns/one/verdicts?min=error": {"findings": says["findings"], "allowed": [], "coverage": {}},
                "GET /ns/one/unused": says["unused"],
                "GET /ns/one/replies": {"replies": says["replies"], "unmatched": "echo"},
                "GET /ns/one/faults": {"faults": says["faults"]},
                "GET /ns/one/journal": {"entries": [ENTRY], "next": "1", "dropped": 0, "timed_out": False},
                "GET /ns/one/journal?after=1": {"entries": [], "next": "1", "dropped": 0, "timed_out": False},
                "GET /ns/one/journal/1/frames": FRAMES,
            }.get(call)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(200 if answer is not None or self.command == "DELETE" else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    says["url"] = f"http://127.0.0.1:{server.server_port}"
    yield says
    server.shutdown()
    server.server_close()


@pytest.fixture
def run_strict(run_tests, says):
    def run_strict(source="def test_it(gatelet):\n    pass\n", expect=0):
        return run_tests("import pytest\n\n" + source, "--gatelet-url", says["url"], expect=expect, env={"GATELET_KEY": "x"})

    return run_strict


def test_a_client_that_does_nothing_wrong_passes(run_strict, says):
    says["findings"] = [FINDING | {"allowed": "an old client"}, FINDING | {"severity": "warn"}]
    # A script has replies for other tests.
    says["replies"] = [{"id": "greeting", "source": "file"}]
    says["unused"]["replies"] = ["greeting"]
    # One that fires by chance may not.
    says["faults"] = [{"id": "rough-network-2", "definition": {"when": {"probability": 0.01}}}]
    says["unused"]["faults"] = ["rough-network-2"]
    assert "1 passed" in run_strict()
    assert "DELETE /ns/one" in says["calls"]


@pytest.mark.parametrize(
    "told, sentence",
    [
        ({"findings": [FINDING]}, "double_send: It sent a text twice. Send it once. (requests #17, #21)"),
        (
            {
                "unused": {"replies": ["weather"], "faults": [], "refs": []},
                "replies": [{"id": "weather", "source": "run_time"}],
            },
            "The reply weather was not used.",
        ),
        (
            {
                "unused": {"replies": [], "faults": ["cut-early"], "refs": []},
                "faults": [{"id": "cut-early", "definition": {"do": {"status": 503}}}],
            },
            "The fault cut-early did not fire.",
        ),
    ],
)
def test_what_the_server_finds_fails_a_test_that_passed(run_strict, says, told, sentence):
    says |= told
    output = run_strict(expect=1)
    assert sentence in output and "strict=False" in output and "1 failed" in output
    assert "test_it.py FAILED" in output or "test_it FAILED" in output
    assert "1 passed" in run_strict("@pytest.mark.gatelet(strict=False)\ndef test_it(gatelet):\n    pass\n")


def test_a_test_that_failed_is_not_judged(run_strict, says):
    says["findings"] = [FINDING]
    output = run_strict("def test_it(gatelet):\n    assert 1 == 2\n", expect=1)
    assert "double_send" not in output and "assert 1 == 2" in output


def test_a_failure_shows_frames_faults_and_near_misses(run_strict, says):
    output = run_strict("def test_it(gatelet):\n    assert 1 == 2\n", expect=1)
    lines = [
        "#1 StreamMessage by client_token: 200, cut by fault",
        "    frames: ping, assistant_message x 2, stop_reason",
        "    fault cut-early: cut after frame 3",
        "    the reply weather does not match: user 'weather' (found 'Hello')",
    ]
    assert "\n".join(lines) in output
