"""Many commands on one connection: a playbook of Ansible's, beside the same over an sshd, and the sessions that it takes."""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from .places import Demo
from .tools import Broken
from .values import Figure, Value

TASKS = 20


def play(directory, config, host):
    """Seconds that the playbook takes, with a connection of its own."""
    (directory / "inventory").write_text(f"{host} ansible_python_interpreter=/usr/bin/python3 ansible_ssh_common_args='-F \"{config}\"'\n")
    tasks = "".join(f"  - command: echo {number}\n" for number in range(TASKS))
    (directory / "play.yml").write_text(f"- hosts: {host}\n  gather_facts: false\n  tasks:\n{tasks}")
    with tempfile.TemporaryDirectory(prefix="cp") as sockets:
        env = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
               "ANSIBLE_LOCAL_TEMP": str(directory / "local"), "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=30"}
        began = time.monotonic()
        played = subprocess.run(["ansible-playbook", "-i", "inventory", "play.yml"], cwd=directory, env=env, capture_output=True, text=True)
        took = time.monotonic() - began
        for path in Path(sockets).iterdir():
            subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", host], capture_output=True)
    if played.returncode:
        raise Broken(f"the playbook failed on {host}: {played.stdout[-400:]}")
    return took


def sessions(demo):
    lines = (demo.dir / "demo" / "evidence" / "events.jsonl").read_text().splitlines()
    return len({event["session_manager_id"] for event in map(json.loads, lines) if event["event"] == "session.lane"})


def playbook_rows(binary, bench):
    """Twenty tasks with pipelining, as each of them is one command then."""
    rounds = 1 if bench.quick else 5
    place = Path(tempfile.mkdtemp(prefix="figures"))
    try:
        with Demo(binary, home=bench.sshd.home) as demo:
            theirs, ours, calls = [], [], []
            for _ in range(rounds):
                theirs.append(play(place, bench.sshd.config, "local"))
                before = sessions(demo)
                ours.append(play(place, demo.config, "demo"))
                calls.append(sessions(demo) - before)
            here, there = statistics.median(ours), statistics.median(theirs)
            yield Figure(f"Ansible, a playbook of {TASKS} tasks (ControlPersist, pipelining)",
                         [Value("", here, "s"), Value("", here / there, "times an sshd's", 2), Value("", max(calls), "StartSession", 0)],
                         f"clean sshd {there:.1f} s (at most 1.3 times, and 4 calls)")
    finally:
        shutil.rmtree(place, ignore_errors=True)
