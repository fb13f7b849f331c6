"""What is measured, part by part."""

import http.client
import sys
from statistics import median

from servers import ORIGIN, PORTS, UPSTREAM, UPSTREAM_PORT, Direct, json_web_tokens, mint

OPERATIONS = {"list": "GET messages", "send": "POST messages"}

# A measurement during which other processes used more than this of a core is made again.
DISTURBED = 0.05
ATTEMPTS = 20


def prepare(bench, options):
    """Mints the tokens and revokes as many others; returns the files that hold them."""
    server = bench.start_gatelet()
    lines = mint(options.tokens, options.agents)
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


def ask(bench, program, server, name, tokens, *arguments):
    """What a program of the bench measures at one of a server's ports."""
    target = ("--target", f"127.0.0.1:{PORTS.get(name, UPSTREAM_PORT)}", "--upstream", UPSTREAM)
    pids = ("--pids", ",".join(map(str, server.pids()))) if server.pids() else ()
    file = tokens["haproxy" if name == "haproxy" else "gatelet"]
    return bench.measure(program, *target, *pids, "--tokens", file, *arguments)


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
                    arguments = (name, tokens, "--operation", operation, "--seconds", options.seconds)
                    figures[name].append(undisturbed(lambda: ask(bench, "throughput", server, *arguments)))
        report.throughput(OPERATIONS[operation], figures)


def newtokens(bench, tokens, options, report):
    """CPU time per request when no token was seen before: each round begins with fresh processes."""

    def once(name, start):
        server = start()
        figures = ask(bench, "throughput", server, name, tokens, "--seconds", 0)
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


def latency(bench, tokens, options, report):
    """How long requests take at half of the rate that Gatelet reaches, against asking the fake server itself."""
    servers = [Direct(), bench.start_gatelet(), bench.start_bare(), bench.start_nginx()]
    names = [server.names[0] for server in servers]
    most = undisturbed(lambda: ask(bench, "throughput", servers[1], "gatelet", tokens, "--seconds", 1))
    rate = round(most["requests_per_second"] / 2, -2)
    arguments = ("--rate", rate, "--warm-up", 0.5, "--seconds", options.seconds)
    report.latency(rate, take_turns(bench, "latency", servers, names, tokens, options, arguments))


def streams(bench, tokens, options, report):
    """How late events arrive: one stream after the other, and many at once."""
    servers = [Direct(), bench.start_gatelet(), bench.start_bare(), bench.start_nginx()]
    names = [server.names[0] for server in servers]
    for connections, frames, gap in [(1, 10, 5), (200, 100, 20)]:
        shape = ("--connections", connections, "--frames", frames, "--gap", gap)
        # Every token once, so that none is new, as for the other servers.
        ask(bench, "throughput", servers[1], "gatelet", tokens, "--seconds", 0)
        arguments = (*shape, "--seconds", options.seconds)
        report.streams(connections, frames, gap, take_turns(bench, "streams", servers, names, tokens, options, arguments))


def take_turns(bench, program, servers, names, tokens, options, arguments):
    """The figures of all rounds by the server's name."""
    figures = {name: [] for name in names}
    for _ in range(options.rounds):
        for server, name in zip(servers, names):
            figures[name].append(undisturbed(lambda: ask(bench, program, server, name, tokens, *arguments)))
    return figures


# Up to so many tokens are issued and used; Gatelet remembers 50,000 unless told otherwise.
ISSUED = [1_000, 20_000, 50_000, 100_000, 150_000]
OPEN_STREAMS = 1_000


def memory(bench, tokens, options, report):
    """Resident memory: idle (the revoked ids loaded), with many open streams, and by the number of tokens used."""
    rows = []
    for name, start in [("gatelet", bench.start_gatelet), ("bare", bench.start_bare), ("nginx", bench.start_nginx)]:
        server = start()
        idle, _ = server.memory()
        shape = ("--connections", OPEN_STREAMS, "--frames", 20, "--gap", 250, "--seconds", 0)
        figures = ask(bench, "streams", server, name, tokens, *shape)
        if figures["most_open"] != OPEN_STREAMS:
            raise SystemExit(f"{name}: only {figures['most_open']} streams were open at once")
        _, highest = server.memory()
        bench.stop(server)
        rows.append((name, idle, highest))
    # A database of its own: nothing has been issued yet.
    server = bench.start_gatelet(GATELET_DATABASE_URL=f"sqlite://{bench.directory}/memory.db")
    file = bench.directory / "memory"
    issued = []
    before = 0
    for count in ISSUED:
        file.write_text("\n".join(mint(count - before, count - before)) + "\n")
        ask(bench, "throughput", server, "gatelet", {"gatelet": file}, "--seconds", 0)
        issued.append((count, *server.memory()))
        before = count
    bench.stop(server)
    report.memory(OPEN_STREAMS, rows, issued)
