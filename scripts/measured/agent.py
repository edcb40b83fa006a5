"""The rows with AWS's agent, most of them beside AWS's plugin."""

import datetime
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from .places import PLAIN, Demo, Emulator, Master, real_agent
from .tools import Broken, Scp, Shell, called, cpu_ms, descendants, pss, transfers
from .values import Figure, Value, speeds, spread


def missing(what, *options):
    return Figure(what, [], f"SKIPPED: give {' and '.join(options)}")


def has_plugin(options):
    return options.agent and options.plugin and options.aws


# --- a command --------------------------------------------------------------------------------------------------------


def moments(log):
    """When what happened, in what has come to the demo's log since it was read last, in seconds of the clock: the first time for each."""
    found = {}
    for line in log:
        event = json.loads(line)
        name = event.get("call") or event.get("message")
        if name == "the agent reports":
            name = event["state"]
        found.setdefault(name, datetime.datetime.fromisoformat(event["timestamp"]).timestamp())
    return found


def command_rows(binary, bench):
    """Where the time of a short command goes, the first on a connection that is there: process by process."""
    options = bench.options
    if not options.agent:
        yield missing("where the time of a command goes", "--agent")
        return
    stages = [("ssh and the gateway, up to StartSession", "StartSession"), ("StartSession", "a session starts"),
              ("the agent's worker", "Connected"), ("the helper's interpreter", "the helper has started"), ("the command, and back", None)]
    took = {name: [] for name, _ in stages}
    with Demo(binary, "--log", "warn,portcullis=debug", *real_agent(options), home=bench.sshd.home) as demo, demo.log.open() as log:
        for _ in range(4 if bench.quick else 31):
            # later ones find a helper that they share
            with Master(demo.config, "demo") as master:
                log.seek(0, os.SEEK_END)
                last = time.time()
                subprocess.run([*master.command, "true"], check=True, stdin=subprocess.DEVNULL)
                end = time.time()
            seen = moments(log)
            for name, event in stages:
                now = seen[event] if event else end
                took[name].append((now - last) * 1000)
                last = now
    # the first ones find nothing warm
    yield Figure("ssh demo true, the first on a connection already up, AWS's agent, stage by stage",
                 [Value(f"{name}:", statistics.median(found[3:]), "ms") for name, found in took.items()])


# --- copies -----------------------------------------------------------------------------------------------------------


def a_log(mebibytes):
    """Lines such as servers write: alike, with what differs in each."""
    chance, lines = random.Random(7), []
    size = mebibytes << 20
    while size > 0:
        moment = f"2026-11-{chance.randrange(1, 30):02}T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.random() * 60:09.6f}Z"
        line = (f"{moment} web-{chance.randrange(40)} sshd[{chance.randrange(900, 40000)}]: Accepted publickey for ada from "
                f"192.0.2.{chance.randrange(256)} port {chance.randrange(1024, 65536)} ssh2: ED25519 {chance.getrandbits(64):016x}\n").encode()
        lines.append(line)
        size -= len(line)
    return b"".join(lines)[:mebibytes << 20]


def plugin_speeds(binary, bench):
    options, place = bench.options, Path(tempfile.mkdtemp(prefix="figures"))
    with Emulator(binary, options.agent, options.plugin, options.aws) as emulator:
        proxy = " ".join([*emulator.start, "--document-name AWS-StartSSHSession --parameters", f"portNumber={bench.sshd.port}"])
        config = bench.sshd.client(f"ProxyCommand {proxy}", "plugin_config")
        found = transfers("plugin", Scp(config, "local"), os.urandom(4 << 20), place)
    shutil.rmtree(place)
    return found


def scp_rows(binary, bench):
    """scp of what does not shrink and of a log, beside the same by AWS's plugin to a real sshd."""
    options = bench.options
    if not options.agent:
        yield missing("scp with AWS's agent", "--agent")
        return
    size, plugin = 4 if bench.quick else 64, None
    if has_plugin(options):
        plugin = bench.once("plugin's speeds", lambda: plugin_speeds(binary, bench))
        yield Figure("scp 4 MiB, ProxyCommand with AWS's plugin and agent", speeds(*plugin, digits=2))
    else:
        yield missing("scp by AWS's plugin", "--plugin", "--aws")
    place = Path(tempfile.mkdtemp(prefix="figures"))
    for frame in bench.frames:
        with Demo(binary, *real_agent(options), "--frame-bytes", str(frame)) as demo:
            for what, content in (("noise", os.urandom(size << 20)), ("a log", a_log(size))):
                up, down = transfers(what, Scp(demo.config, "demo"), content, place)
                beside = f"{up / plugin[0]:.1f} and {down / plugin[1]:.1f} times the plugin" if plugin else ""
                yield Figure(f"scp {size} MiB of {what}, AWS's agent, frames of {frame}", speeds(up, down), beside)
    shutil.rmtree(place)


def helper_cpu_rows(binary, bench):
    """What a MiB costs on the node: the helper in Python, and the agent's own workers beside it."""
    options = bench.options
    if not options.agent:
        yield missing("CPU on the node per MiB", "--agent")
        return
    size = 8 if bench.quick else 64
    with tempfile.NamedTemporaryFile() as noise, Demo(binary, *real_agent(options)) as demo, Master(demo.config, "demo") as master:
        noise.write(os.urandom(size << 20))
        noise.flush()

        def cost(remote, up):
            """Of one command, which says when all is through and then waits to be looked at."""
            with open(noise.name, "rb") as content:
                client = subprocess.Popen([*master.command, remote], stdin=content if up else subprocess.DEVNULL, stdout=subprocess.PIPE)
            left = 5 if up else size << 20
            while left > 0 and (chunk := client.stdout.read1(1 << 20)):
                left -= len(chunk)
            if left:
                raise Broken("a command that is measured did not say all it has to say")
            time.sleep(0.5)
            found = descendants(demo.process.pid)
            costs = [cpu_ms(called(found, name)) / size for name in ("python3", "ssm-session-wor")]
            client.wait()
            return costs

        up = cost("cat >/dev/null; echo done; sleep 2", True)
        time.sleep(3)
        down = cost(f"cat {noise.name}; sleep 2", False)
    for whose, at, aim in (("of the python helper", 0, "at most 12 up"), ("of AWS's session workers", 1, "theirs, for comparison")):
        yield Figure(f"CPU {whose} per MiB, AWS's agent, frames of 1024", [Value("up", up[at], "ms"), Value("down", down[at], "ms")], aim)


# --- terminals --------------------------------------------------------------------------------------------------------


def echo_rows(label, shell, count, aim=""):
    """A key as soon as the last one is there, and at a pace at which every process on the way falls asleep in between."""
    shell.cat()
    for how, pause in (("one key after the other", 0), ("a key every 10 ms", 0.01)):
        median, tail = spread(shell.echoes(count, pause))
        yield Figure(f"keystroke echo, {how}, {label}", [Value("p50", median, "ms", 2), Value("p99", tail, "ms", 2)], aim)


def plugin_keys(binary, bench, count):
    options, found = bench.options, []
    with Emulator(binary, options.agent, options.plugin, options.aws) as emulator:
        shell = Shell(emulator.start)
        found.append(Figure("first prompt, AWS's CLI, plugin and agent", [Value("", shell.first_prompt(), "ms", 0)]))
        found += echo_rows("AWS's plugin and agent", shell, count)
        shell.end()
    return found


def keys_rows(binary, bench):
    """First prompts, and the echo of keys."""
    options = bench.options
    if not options.agent:
        yield missing("prompts and keys with AWS's agent", "--agent")
        return
    count = 100 if bench.quick else 750
    if has_plugin(options):
        yield from bench.once("plugin's keys", lambda: plugin_keys(binary, bench, count))
    else:
        yield missing("prompts and keys by AWS's plugin", "--plugin", "--aws")
    for helper in ("auto", "sh"):
        try:
            with Demo(binary, *real_agent(options), "--helper", helper) as demo:
                prompts = []
                for _ in range(3 if bench.quick else 11):
                    shell = Shell(demo.ssh(*PLAIN))
                    prompts.append(shell.first_prompt())
                    shell.end()
                yield Figure(f"first prompt of ssh, AWS's agent, helper {helper}", [Value("", statistics.median(prompts), "ms", 0)],
                             "at most 400 for auto")
                shell = Shell(demo.ssh(*PLAIN))
                shell.first_prompt()
                yield from echo_rows(f"AWS's agent, helper {helper}", shell, count, "at most the plugin's for auto")
                shell.end()
        except Broken as broken:
            yield Figure(f"AWS's agent, helper {helper}", [], f"FAILED: {broken}")


# --- what is on the node ------------------------------------------------------------------------------------------------


def node_rows(binary, bench):
    """Processes and memory on the node, of each shell and of each command."""
    if not bench.options.agent:
        yield missing("processes on the node", "--agent")
        return
    for helper in ("auto", "sh"):
        with Demo(binary, *real_agent(bench.options), "--helper", helper) as demo:
            before = descendants(demo.process.pid)
            shells = [Shell(demo.ssh(*PLAIN)) for _ in range(5)]
            for shell in shells:
                shell.first_prompt()
            time.sleep(1)
            yield on_the_node(f"on the node per shell, helper {helper}", demo, before, 5)
            for shell in shells:
                shell.end()
            time.sleep(3)
            before = descendants(demo.process.pid)
            clients = [subprocess.Popen(demo.ssh("demo", "echo up; sleep 60"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                       for _ in range(5)]
            for client in clients:
                client.stdout.readline()
            yield on_the_node(f"on the node per exec without input, helper {helper}", demo, before, 5)
            for client in clients:
                client.kill()
                client.wait()


def on_the_node(what, demo, before, count):
    fresh = [pid for pid in descendants(demo.process.pid) if pid not in before]
    return Figure(what, [Value("", len(fresh) / count, "processes"), Value("", sum(map(pss, fresh)) / count / 1024, "MiB (PSS)")])
