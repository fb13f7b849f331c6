"""What is measured, part by part."""

from statistics import median

from servers import PORTS, UPSTREAM, json_web_tokens, mint

OPERATIONS = {"list": "GET messages", "send": "POST messages"}


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


def ask(bench, program, server, name, tokens, operation, *arguments):
    return bench.measure(
        program,
        *("--target", f"127.0.0.1:{PORTS[name]}", "--upstream", UPSTREAM),
        *("--pids", ",".join(map(str, server.pids()))),
        *("--tokens", tokens["haproxy" if name == "haproxy" else "gatelet"], "--operation", operation),
        *arguments,
    )


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
    for operation in OPERATIONS:
        figures = {name: [] for name in PORTS}
        for _ in range(options.rounds):
            for server in servers:
                for name in server.names:
                    figures[name].append(
                        ask(bench, "throughput", server, name, tokens, operation, "--seconds", options.seconds)
                    )
        report.throughput(OPERATIONS[operation], figures)


def newtokens(bench, tokens, options, report):
    """CPU time per request when no token was seen before: each round begins with fresh processes."""
    rounds = []
    for _ in range(options.rounds):
        figures = {}
        for name, start in {"gatelet": bench.start_gatelet, "bare": bench.start_bare}.items():
            server = start()
            figures[name] = ask(bench, "throughput", server, name, tokens, "list", "--seconds", 0)
            bench.stop(server)
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
