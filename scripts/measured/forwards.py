"""The rows of forwards: how fast one connection is, and how fairly two hundred share what carries them, by both ways to a node."""

import contextlib
import os
import selectors
import signal
import socket
import statistics
import subprocess
import threading
import time

from .agent import has_plugin, missing
from .places import Demo, Emulator, free_port, real_agent
from .tools import Broken
from .values import Figure, Value, speeds

CHUNK = bytes(64 << 10)
MANY = 200


def pour(connection):
    """Sends for as long as somebody takes it."""
    with contextlib.suppress(OSError), connection:
        while True:
            connection.sendall(CHUNK)


class Sink:
    """Takes what is sent to it, and knows how much of each connection: the first byte is its number."""

    def __init__(self):
        self.bytes = {}

    def __call__(self, connection):
        with contextlib.suppress(OSError), connection:
            number = None
            while taken := connection.recv(1 << 16):
                number = taken[0] if number is None else number
                self.bytes[number] = self.bytes.get(number, 0) + len(taken)


@contextlib.contextmanager
def server(serve):
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tunnel(demo, to):
    local = free_port()
    with held(demo.ssh("-N", "-o", "LogLevel=ERROR", "-L", f"127.0.0.1:{local}:localhost:{to}", "demo"), local):
        yield local


@contextlib.contextmanager
def plugins(emulator, to):
    """The same by AWS's plugin."""
    local = free_port()
    with held([*emulator.start, "--document-name", "AWS-StartPortForwardingSession",
               "--parameters", f"portNumber={to},localPortNumber={local}"], local):
        yield local


@contextlib.contextmanager
def held(command, local):
    """What listens on a port, for as long as it is wanted; whoever it starts goes with it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", local)):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise Broken("no forward")
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def connections(local, count):
    found = [socket.create_connection(("127.0.0.1", local)) for _ in range(count)]
    for connection in found:
        connection.setblocking(False)
    return found


def downloads(local, count, seconds):
    """Bytes that each connection has got in so many seconds, after all have begun."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        got = [0] * count
        for number, connection in enumerate(connections(local, count)):
            selector.register(stack.enter_context(connection), selectors.EVENT_READ, number)
        counted, limit = None, time.monotonic() + 60
        while True:
            now = time.monotonic()
            if counted is None and (all(got) or now > limit):
                counted, got = now, [0] * count
            if counted is not None and now - counted >= seconds:
                return got, now - counted
            for key, _ in selector.select(0.1):
                got[key.data] += len(key.fileobj.recv(1 << 16))


def uploads(local, count, seconds, sink):
    """The same of what the other end has of each."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number, connection in enumerate(connections(local, count)):
            chunk = bytes([number]) * len(CHUNK)
            selector.register(stack.enter_context(connection), selectors.EVENT_WRITE, chunk)
        counted, before, limit = None, {}, time.monotonic() + 60
        while True:
            now = time.monotonic()
            if counted is None and (len(sink.bytes) == count or now > limit):
                counted, before = now, dict(sink.bytes)
            if counted is not None and now - counted >= seconds:
                return [sink.bytes.get(number, 0) - before.get(number, 0) for number in range(count)], now - counted
            for key, _ in selector.select(0.1):
                with contextlib.suppress(BlockingIOError):
                    key.fileobj.send(key.data)


def fairness(shares):
    return Value("slowest of the mean", min(shares) / max(1, statistics.mean(shares)) * 100, "%", 0, True)


def forward_rows(binary, bench):
    seconds = 2 if bench.quick else 8
    ways = (("helper", []), ("agent's port sessions", ["--helper", "sh"]))
    for way, args in ways:
        for frame in bench.frames:
            with Demo(binary, "--frame-bytes", str(frame), *args) as demo:
                speed = {}
                for count in (1, MANY):
                    with server(pour) as port, tunnel(demo, port) as local:
                        down, took = downloads(local, count, seconds)
                    sink = Sink()
                    with server(sink) as port, tunnel(demo, port) as local:
                        up, taken = uploads(local, count, seconds, sink)
                    speed[count] = (up, taken, down, took)
            up, taken, down, took = speed[1]
            yield Figure(f"forward, one connection, {way}, embedded agent (fast), frames of {frame}",
                         speeds(sum(up) / taken / 1e6, sum(down) / took / 1e6, "MB/s", 0), "must reach 60 each by the helper")
            up, taken, down, took = speed[MANY]
            yield Figure(f"forward, {MANY} connections, {way}, embedded agent (fast), frames of {frame}",
                         [*speeds(sum(up) / taken / 1e6, sum(down) / took / 1e6, "MB/s", 0),
                          fairness(up)._replace(name="slowest up"), fairness(down)._replace(name="slowest down")],
                         "the slowest must have half of the mean")


def one(through, to, seconds):
    """MB/s of one connection, up and down."""
    sink = Sink()
    with server(sink) as port, through(to, port) as local:
        up, taken = uploads(local, 1, seconds, sink)
    with server(pour) as port, through(to, port) as local:
        down, took = downloads(local, 1, seconds)
    return sum(up) / taken / 1e6, sum(down) / took / 1e6


def agent_forward_rows(binary, bench):
    """By AWS's agent, both ways to a node, beside its plugin."""
    options = bench.options
    if not options.agent or not has_plugin(options):
        yield missing("forwards by AWS's agent", "--agent", "--plugin", "--aws")
        return

    def by_plugin():
        with Emulator(binary, options.agent, options.plugin, options.aws) as emulator:
            return one(plugins, emulator, seconds)

    seconds = 4 if bench.quick else 15
    theirs = bench.once("plugin's forwards", by_plugin)
    yield Figure("forward, one connection, AWS's plugin and agent", speeds(*theirs, "MB/s", 2))
    for way, args, aim in (("helper", [], "at least 10 times"), ("agent's port sessions", ["--helper", "sh"], "down at least 0.95 times, what the agent's pace allows")):
        with Demo(binary, *real_agent(options), *args) as demo:
            ours = one(tunnel, demo, seconds)
        up, down = (mine / other for mine, other in zip(ours, theirs))
        yield Figure(f"forward, one connection, {way}, AWS's agent", speeds(*ours, "MB/s", 2), f"{up:.1f} and {down:.2f} times the plugin; {aim}")
