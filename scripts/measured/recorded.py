"""What recording costs: the same gateway with folders for sessions and with the event log alone, in turns."""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from .places import PLAIN, Gateway, Master
from .tools import Broken, Scp, Shell, cpu_ms, idle_shells, resident, through, transfers
from .values import Figure, Value, spread

WISHES = ("required", "journal")


def both(binary):
    return {wish: Gateway(binary, recording=wish) for wish in WISHES}


def end(gateways):
    for gateway in gateways.values():
        gateway.__exit__()


def recorded_rows(binary, bench):
    yield from file_rows(binary, bench)
    yield from terminal_rows(binary, bench)
    yield from key_rows(binary, bench)
    yield from memory_rows(binary, bench)


def lost(rates):
    """How much of the rate without recording is missing with it, in percent: the median over the rounds."""
    return statistics.median(100 * (1 - on / off) for on, off in zip(rates["required"], rates["journal"]))


def file_rows(binary, bench):
    """Files, by scp: of each round both, so that what the machine does besides meets both."""
    size, rounds = (16, 3) if bench.quick else (64, 11)
    gateways = both(binary)
    content = os.urandom(size << 20)
    up, down = ({wish: [] for wish in WISHES} for _ in range(2))
    for number in range(rounds + 1):
        for wish in WISHES if number % 2 else reversed(WISHES):
            place = Path(tempfile.mkdtemp(prefix="figures"))
            rates = transfers(wish, Scp(gateways[wish].config, "demo"), content, place)
            shutil.rmtree(place)
            # the first of each warms up
            if number:
                up[wish].append(rates[0])
                down[wish].append(rates[1])
    end(gateways)
    yield Figure(f"recording: throughput of files lost by it, scp {size} MiB", [Value("up", lost(up), "%"), Value("down", lost(down), "%")],
                 "at most 5")


def terminal_rows(binary, bench):
    """A long text on a terminal, all of which is kept: what it costs the gateway."""
    size, rounds = (4, 3) if bench.quick else (16, 5)
    gateways = both(binary)
    line = ("%07d " + "the quick brown fox jumps over the lazy dog " * 2)[:90]
    with tempfile.NamedTemporaryFile("w") as text:
        text.writelines(f"{line % number}\n" for number in range((size << 20) // 96))
        text.flush()
        costs = {wish: [] for wish in WISHES}
        for number in range(rounds + 1):
            for wish in WISHES if number % 2 else reversed(WISHES):
                with Master(gateways[wish].config, "demo") as master:
                    command = [*master.command[:-1], "-tt", master.command[-1]]
                    Shell([*command, "true"]).to_the_end()
                    before = cpu_ms([gateways[wish].pid])
                    if Shell([*command, f"cat {text.name}"]).to_the_end() < size << 20:
                        raise Broken("a terminal did not show all of a text")
                    if number:
                        costs[wish].append((cpu_ms([gateways[wish].pid]) - before) / size)
    end(gateways)
    on, off = (statistics.median(costs[wish]) for wish in WISHES)
    yield Figure(f"recording: CPU of the gateway per MiB that a terminal shows, {size} MiB",
                 [Value("with", on, "ms"), Value("without", off, "ms")])


def key_rows(binary, bench):
    """Keys, one after the other and at a pace, in rounds of both."""
    count, rounds = (60, 2) if bench.quick else (240, 6)
    gateways = both(binary)
    shells = {wish: Shell([*gateway.ssh, *PLAIN]) for wish, gateway in gateways.items()}
    for shell in shells.values():
        shell.first_prompt()
        shell.cat()
    for how, pause in (("one after the other", 0), ("every 10 ms", 0.01)):
        found = {wish: [] for wish in WISHES}
        for number in range(rounds):
            for wish in WISHES if number % 2 else reversed(WISHES):
                found[wish] += shells[wish].echoes(count, pause)
        (on, on_tail), (off, off_tail) = (spread(found[wish]) for wish in WISHES)
        yield Figure(f"recording: what a key's echo takes longer by it, {how}",
                     [Value("p50", on - off, "ms", 2), Value("p99", on_tail - off_tail, "ms", 2)],
                     f"at most 1 at p99; with it p99 {on_tail:.2f}, without {off_tail:.2f}")
    for shell in shells.values():
        shell.end()
    end(gateways)


def memory_rows(binary, bench):
    """Idle shells at once: what each takes more because it is recorded."""
    count = 40 if bench.quick else min(bench.options.shells, 200)
    taken = {}
    for wish in WISHES:
        with Gateway(binary, recording=wish) as gateway:
            with Master(gateway.config, "demo") as master:
                through(master.command, "true")
            before = resident(gateway.pid)
            with idle_shells([*gateway.ssh, *PLAIN], count):
                # models of terminals are put away after 20 s, and looked at once a minute
                time.sleep(90)
                taken[wish] = (resident(gateway.pid) - before) / count
    more = taken["required"] - taken["journal"]
    yield Figure(f"recording: memory of the gateway per idle shell, {count} at once",
                 [Value("more", more, "KiB", 0), Value("with", taken["required"], "KiB", 0)], "at most 50 more")
