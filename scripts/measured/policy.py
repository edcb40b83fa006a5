"""The rows of policy: what a decision takes, and what a change of policies does to whoever works."""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from .places import PLAIN, Gateway
from .tools import all_answer, idle_shells, times
from .values import Figure, Value

NODES = 1000
# of a policy set that a firm might have: each group has its nodes, its user there, and what it must say
POLICY = """
@id("sessions-{n}") @reason_pattern("INC-[0-9]+.*") @max_duration("8h")
permit (principal in Group::"group-{n}", action in Action::"Sessions", resource)
when {{ resource.name like "node-*{n}" && context has reason && context.source.isInRange(ip("192.0.2.0/24")) }};
"""
COMMANDS = """
@id("lines-{n}")
permit (principal in Group::"agents-{n}", action == Action::"Exec", resource);
"""
COMMAND = """
@id("commands-{n}")
permit (principal in Group::"agents-{n}", action == Action::"Command", resource)
when {{ context.known && ["df", "tail", "grep", "cat", "ls"].contains(context.name) }};
"""
LINE = "; ".join(["df -h", "tail -n 5 /var/log/app.log", "grep -c error /var/log/app.log", "ls -l '/srv/a b'"] * 5)


def opened(number, person, group, node, **more):
    return json.dumps({
        "time": "2026-11-27T12:00:00.000Z", "v": 1, "run": "r", "seq": number + 1, "event": "session.opened",
        "id": str(number), "source": "192.0.2.7:5022", "person": person, "groups": [group], "realm": "main", "node": f"i-{node:017x}",
        "node_name": f"node-{node}", "node_called": f"node-{node}", "policy": "p", "policy_set": "x", **more})


def median(binary, policies, lines):
    with tempfile.TemporaryDirectory(prefix="figures") as place:
        (Path(place) / "p.cedar").write_text(policies)
        (Path(place) / "events.jsonl").write_text("".join(line + "\n" for line in lines))
        # exit code 8: those of other policies than were in force do turn
        said = subprocess.run(
            [binary, "policy", "rehearse", "--json", "--policies", f"{place}/p.cedar", f"{place}/events.jsonl"],
            stdout=subprocess.PIPE, check=False).stdout
    answer = json.loads(said)
    assert answer["decisions"] == len(lines) and not answer["turned"], answer["turned"][:3]
    return answer["median_nanoseconds"] / 1000


def policy_rows(binary, bench):
    sessions = "".join(POLICY.format(n=n) for n in range(200))
    shells = [opened(n, f"person-{n}", f"group-{n % 100}", n, action="Shell", reason="INC-42 disk")
              for n in range(NODES) if n % 100 >= 10 or n < 10]
    yield Figure(f"a decision, 200 policies, {NODES} nodes", [Value("median", median(binary, sessions, shells), "µs")],
                 "must be at most 100")
    agents = "".join(COMMANDS.format(n=n) + COMMAND.format(n=n) for n in range(100))
    lines = [opened(n, "agent", f"agents-{n % 100}", n, action="Exec", command=LINE) for n in range(NODES)]
    yield Figure("a line of 20 commands, 200 policies", [Value("median", median(binary, agents, lines), "µs")],
                 "must be at most 1000")


def reload_rows(binary, bench):
    """A change of people and policies while shells run: it ends none that is still allowed, and is in force soon."""
    count = 20 if bench.quick else bench.options.shells
    with Gateway(binary) as gateway, idle_shells([*gateway.ssh, *PLAIN], count) as shells:
        before = gateway.loaded()
        more_policies(gateway)

        def enough(now):
            # in one change or in two: files are looked at while they are being written
            return now["policies"] >= before[-1]["policies"] + 200 and now["people"] > before[-1]["people"]

        took = gateway.changed(person("somebody-else"), enough)
        now = gateway.loaded()
        all_answer(shells)
        ended = sum(event["ended"] for event in now[len(before):])
        yield Figure(f"200 policies and a person more while {count} shells run that they allow still: shells that end; until in force",
                     [Value("", ended, "shells", 0), Value("", took, "s", 1)], "must be 0, and at most 5 s; all answer afterwards")


def login_rows(binary, bench):
    """What it adds to a login and a command that everybody is themselves in AWS, among many people and policies."""
    count, cold = (5, 2) if bench.quick else (31, 7)
    with Gateway(binary) as plain, Gateway(binary, roles=True) as own:
        more_policies(own)
        many = "".join(person(f"person-{number}", f"group-{number % 200}") for number in range(NODES))
        own.changed(many, lambda now: now["policies"] >= 200 and now["people"] >= NODES)
        bare, whole = [*plain.ssh, "demo", "true"], [*own.ssh, "demo", "true"]
        times(bare, 2), times(whole, 2)
        columns = zip(*[(times(bare, 1)[0], times(whole, 1)[0]) for _ in range(count)])
        base, warm = [statistics.median(column) for column in columns]
        anew = []
        for number in range(cold):
            people = own.loaded()[-1]["people"]
            # a change of people has everybody's credentials forgotten
            own.changed(person(f"further-{number}"), lambda now, people=people: now["people"] > people)
            anew.append(times(whole, 1)[0])
    yield Figure(f"login and command of one among {NODES} people, in a role of theirs, by 200 policies; the gateway's own by few beside",
                 [Value("warm", warm - base, "ms more"), Value("role assumed anew", statistics.median(anew) - base, "ms more")],
                 f"{base:.1f} ms; warm at most 2 more")


def more_policies(gateway):
    for number in range(200):
        (gateway.dir / "demo" / "policies" / f"more-{number}.cedar").write_text(POLICY.format(n=number))


def person(name, group="group-1"):
    return f'\n[[people]]\nname = "{name}"\ngroups = ["{group}"]\n'
