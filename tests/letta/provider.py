"""Stands in for OpenAI behind Letta, so that no model key is needed: answers `Echo: <what the user said last>`, always
the same for the same request, whole or as a stream of chat completion chunks. `Slowly` is answered by a stream that
goes on until somebody leaves, half a minute at most."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "gpt-4o-mini"


@contextmanager
def running_provider():
    """A provider on a free port, as its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def reply_to(messages):
    """The echo. Content comes as text or as a list of parts."""
    said = [message["content"] for message in messages if message["role"] == "user"]
    content = said[-1] if said else ""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    return f"Echo: {content}"


def completion(kind, choice, usage=None):
    body = {"id": "chatcmpl-1", "object": kind, "created": 0, "model": MODEL, "choices": [choice] if choice else []}
    return body | ({"usage": usage} if usage else {})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "nobody"}]})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
            data = [{"object": "embedding", "index": index, "embedding": [0.0] * 1536} for index in range(len(texts))]
            self.send({"object": "list", "data": data, "model": request["model"],
                       "usage": {"prompt_tokens": 1, "total_tokens": 1}})
            return
        text = reply_to(request["messages"])
        usage = {"prompt_tokens": 10, "completion_tokens": len(text), "total_tokens": 10 + len(text)}
        if request.get("stream"):
            self.stream(text, usage)
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.send(completion("chat.completion", choice, usage))

    def stream(self, text, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        is_slow = text == "Echo: Slowly"
        pieces = ["On and on. "] * 300 if is_slow else re.findall(r"\S+\s*", text)
        deltas = [{"role": "assistant", "content": ""}] + [{"content": piece} for piece in pieces]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [completion("chat.completion.chunk", choice) for choice in choices]
        chunks.append(completion("chat.completion.chunk", None, usage))
        self.close_connection = True
        for chunk in [*map(json.dumps, chunks), "[DONE]"]:
            try:
                self.wfile.write(f"data: {chunk}\n\n".encode())
            except OSError:
                return
            if is_slow:
                time.sleep(0.1)

    def send(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
