#!/usr/bin/env python3
"""The figures: one command measures them and prints a table.

    scripts/figures.py [--agent DIR] [--plugin FILE --aws COMMAND] [--frames 1024,32768] [--shells 500] [--quick]
    scripts/figures.py --portcullis FILE --before FILE [...]

Builds the release binary (or takes the one that is given), starts demos with it, and drives OpenSSH's own client. What is
compared is measured in the same run. Without AWS's agent (--agent) or plugin, the rows that need them say so. With --before,
every row is measured with both programs, in turns, and the table says how much slower the second one is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from measured import agent, faults, forwards, logins, many, near, policy, recorded
from measured.places import ROOT, Sshd


class Bench:
    """What the rows are measured with."""

    def __init__(self, options, sshd):
        self.options, self.sshd, self.quick = options, sshd, options.quick
        self.frames = [int(frame) for frame in options.frames.split(",")]
        # what is measured of others need not be measured again for a second program
        self.others = {}

    def once(self, name, measure):
        if name not in self.others:
            self.others[name] = measure()
        return self.others[name]


SECTIONS = {
    "embedded": near.embedded_rows, "cpu": near.cpu_rows, "latency": near.latency_rows, "playbook": many.playbook_rows, "shells": near.shells_rows,
    "forwards": forwards.forward_rows, "burst": near.burst_rows, "handshakes": logins.handshake_rows, "nobody": near.nobody_rows, "strangers": near.strangers_rows,
    "cut-agent": faults.cut_agent_rows, "pause": faults.pause_rows, "cut-client": faults.cut_client_rows,
    "drops": faults.drop_rows, "far": faults.far_rows, "workers": faults.worker_rows,
    "recorded": recorded.recorded_rows, "policy": policy.policy_rows, "reload": policy.reload_rows, "login": policy.login_rows, "command": agent.command_rows,
    "scp": agent.scp_rows, "agent-forwards": forwards.agent_forward_rows, "helper-cpu": agent.helper_cpu_rows, "keys": agent.keys_rows, "node": agent.node_rows,
}


# --- one program, or two in turns -----------------------------------------------------------------------------------


def say(figure, whose=""):
    text = ", ".join(map(str, figure.values))
    print(f"{whose}{figure.what}: {text} {figure.beside}".rstrip(), file=sys.stderr, flush=True)


def measure(section, binary, bench, whose=""):
    found = []
    for figure in section(binary, bench):
        say(figure, whose)
        found.append(figure)
    return found


def single(wanted, binary, bench):
    found = [figure for name in wanted for figure in measure(SECTIONS[name], binary, bench)]
    print("\n| | measured | |\n| --- | --- | --- |")
    for figure in found:
        print(f"| {figure.what} | {', '.join(map(str, figure.values))} | {figure.beside} |")


def middle(rounds, what, place):
    """The median of one number over the rounds, in the number's own dress."""
    values = [figure.values[place] for found in rounds for figure in found if figure.what == what and figure.values]
    return values[0]._replace(number=statistics.median(value.number for value in values)) if values else None


def slower(before, after):
    """How much slower (or larger) the second one is, in percent."""
    old, new = before.number, after.number
    if before.more_is_better:
        old, new = new, old
    return f"{(new / old - 1) * 100:+.0f}%" if old > 0 else "?"


def in_turns(wanted, binary, before, bench):
    table = []
    for name in wanted:
        rounds = {"before": [], "after": []}
        for number in range(bench.options.rounds):
            # whoever comes second finds the machine warmer
            order = [("before", before), ("after", binary)]
            for which, program in order if number % 2 == 0 else reversed(order):
                rounds[which].append(measure(SECTIONS[name], program, bench, f"[{number + 1}, {which}] "))
        for figure in rounds["after"][0]:
            for place in range(len(figure.values)):
                old, new = (middle(rounds[which], figure.what, place) for which in ("before", "after"))
                if old and new:
                    table.append((f"{figure.what} {new.name}".rstrip(), old._replace(name=""), new._replace(name=""), slower(old, new)))
            if not figure.values:
                table.append((figure.what, "", "", figure.beside))
    print(f"\nmedians of {bench.options.rounds} rounds in turns; a plus is slower, or larger")
    print("\n| | before | after | slower by |\n| --- | --- | --- | --- |")
    for what, old, new, by in table:
        print(f"| {what} | {old} | {new} | {by} |")


def without_start_up_files():
    """Once more, where the shells of the person who measures have no start-up files: they may take longer than all else, and
    the sshd beside has none either."""
    if "PORTCULLIS_FIGURES" in os.environ:
        return
    files = " ".join(f'"$HOME/{name}"' for name in (".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshenv"))
    hide = f'for file in {files}; do [ ! -e "$file" ] || mount --bind /dev/null "$file"; done; exec "$@"'
    os.environ["PORTCULLIS_FIGURES"] = "hidden"
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", metavar="DIR", help="AWS's agent: amazon-ssm-agent and its workers")
    parser.add_argument("--plugin", metavar="FILE", help="AWS's session-manager-plugin")
    parser.add_argument("--aws", metavar="COMMAND", help="AWS's CLI")
    parser.add_argument("--frames", default="1024,32768", help="sizes of data frames")
    parser.add_argument("--shells", type=int, default=500, help="how many idle shells")
    parser.add_argument("--portcullis", metavar="FILE", help="a program that is built already")
    parser.add_argument("--before", metavar="FILE", help="another one, which is measured in turns with the first")
    parser.add_argument("--rounds", type=int, default=3, help="with --before: how often each is measured")
    parser.add_argument("--quick", action="store_true", help="little of everything: shows that it works, not how well")
    parser.add_argument("--only", default=",".join(SECTIONS), help="some of the sections: %(default)s")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    binary = options.portcullis
    if not binary:
        subprocess.run(["./scripts/patch.sh"], cwd=ROOT, check=True)
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "portcullis"], cwd=ROOT, check=True)
        metadata = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                                  capture_output=True, text=True).stdout
        binary = f"{json.loads(metadata)['target_directory']}/release/portcullis"
    binary = str(Path(binary).resolve())
    without_start_up_files()
    with Sshd() as sshd:
        bench = Bench(options, sshd)
        if options.before:
            in_turns(wanted, binary, str(Path(options.before).resolve()), bench)
        else:
            single(wanted, binary, bench)


if __name__ == "__main__":
    main()
