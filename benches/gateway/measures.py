"""What is measured, part by part."""

import http.client
import sys
from statistics import median

from servers import ORIGIN, PORTS, UPSTREAM, json_web_tokens, mint

OPERATIONS = {"list": "GET messages", "send": "POST messages"}

# A measurement during which other processes used more than this of a core is made again.
DISTURBED = 0.05
ATTEMPTS = 20


def prepare(bench, options):
    """Mints the tokens and revokes as many others; returns the files that hold them."""
    server = bench.start_gatelet()
    lines = mint(options.tokens)
    bench.stop(server)
    bench.revoke(options.revoked)
    files = {"gatelet": bench.directory / "tokens", "haproxy": bench.directory / "json-web-tokens"}
    files["gatelet"].write_text("\n".join(lines) + "\n")
    files["haproxy"].write_text("\n".join(json_web_tokens(lines)) + "\n")
    return files


def undisturbed(measure):
    """What `measure` returns when nothing else ran."""
    for _ in range(ATTEMPTS):
        figures = measure()
        if figures["others_core"] <= DISTURBED:
            return figures
        print(f"again: something else used {figures['others_core']:.0%} of a core", file=sys.stderr)
    raise SystemExit("this machine is too busy to measure on")


def ask(bench, program, server, name, tokens, operation, *arguments):
    return bench.measure(
        program,
        *("--target", f"127.0.0.1:{PORTS[name]}", "--upstream", UPSTREAM),
        *("--pids", ",".join(map(str, server.pids()))),
        *("--tokens", tokens["haproxy" if name == "haproxy" else "gatelet"], "--operation", operation),
        *arguments,
    )


def check_refusals(bench, tokens):
    """What checks must refuse a forged token, and what does not must pass it on."""
    upstream = bench.start_upstream()
    for name, port in PORTS.items():
        line = tokens["haproxy" if name == "haproxy" else "gatelet"].read_text().split("\n", 1)[0]
        agent, _, token = line.partition(" ")
        forged = token[:-8] + "AAAAAAAA"
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {"authorization": f"Bearer {forged}", "origin": ORIGIN}
        connection.request("GET", f"/v1/agents/{agent}/messages", headers=headers)
        status = connection.getresponse().status
        connection.close()
        if status != (401 if name.startswith(("gatelet", "haproxy")) else 200):
            raise SystemExit(f"{name} answers a forged token with {status}")
    bench.stop(upstream)


def throughput(bench, tokens, options, report):
    """Requests per second and CPU time per request, with tokens that have been seen before."""
    servers = [
        bench.start_gatelet(),
        bench.start_gatelet("gatelet, logging", log="info"),
        bench.start_bare(),
        bench.start_bare("bare again"),
        bench.start_nginx(),
        bench.start_haproxy(),
    ]
    check_refusals(bench, tokens)
    for operation in OPERATIONS:
        figures = {name: [] for name in PORTS}
        for _ in range(options.rounds):
            for server in servers:
                for name in server.names:
                    arguments = (name, tokens, operation, "--seconds", options.seconds)
                    figures[name].append(undisturbed(lambda: ask(bench, "throughput", server, *arguments)))
        report.throughput(OPERATIONS[operation], figures)


def newtokens(bench, tokens, options, report):
    """CPU time per request when no token was seen before: each round begins with fresh processes."""

    def once(name, start):
        server = start()
        figures = ask(bench, "throughput", server, name, tokens, "list", "--seconds", 0)
        bench.stop(server)
        return figures

    rounds = []
    for _ in range(options.rounds):
        figures = {
            "gatelet": undisturbed(lambda: once("gatelet", bench.start_gatelet)),
            "bare": undisturbed(lambda: once("bare", bench.start_bare)),
        }
        arguments = ("--public-key", bench.public_key(), "--tokens", tokens["gatelet"])
        figures["verify"] = bench.measure("verify", *arguments, core="0")
        rounds.append(figures)
    report.newtokens(
        gatelet=median(figures["gatelet"]["cpu_us_per_request"] for figures in rounds),
        bare=median(figures["bare"]["cpu_us_per_request"] for figures in rounds),
        verify=median(figures["verify"]["us"] for figures in rounds),
        ratio=median(
            figures["gatelet"]["cpu_us_per_request"]
            / (figures["bare"]["cpu_us_per_request"] + 1.15 * figures["verify"]["us"])
            for figures in rounds
        ),
    )
