#!/usr/bin/env python3
"""matrix_shell.py COMMAND…: a shell session on a terminal of its own: a sum, the size, and an end by exit."""

import os
import pty
import select
import sys
import time

pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[1], sys.argv[1:])

seen = b""


def expect(needle, seconds=60):
    global seen
    end = time.time() + seconds
    while needle not in seen:
        if time.time() > end:
            sys.exit(f"never saw {needle!r} but {seen!r}")
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                break


def send(text):
    os.write(terminal, text.encode())


expect(b"Starting session")
time.sleep(2)
send("echo sum-$((40+2))\r")
expect(b"sum-42")
send("exit\r")
expect(b"Exiting session")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
