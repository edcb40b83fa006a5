#!/usr/bin/env python3
"""Switches off one guard of the code at a time and expects the guard's own test to fail.

    scripts/guards.py [--list] [--check] [--only NAME]... [--write docs/guards.md] [--scratch DIR]

A guard is a line that keeps a promise of docs/threats.md or docs/architecture.md. The table below names it, the line, what
the line is without the guard, and the test that watches it. The tree is copied into a scratch folder with a target folder of
its own and compiled with a switch at every guard; the named tests must pass there, and with one switch thrown its tests must
fail. Code that does not compile is no failed test. Ends with 0 when every guard is missed, and with 1 when one is not, or
when its line is not there exactly once.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Guard(NamedTuple):
    """One row of the table."""

    name: str
    protects: str
    # a file or a folder; `text` is in it exactly once
    where: str
    text: str
    # the same without the guard
    off: str
    # by the ends of their names, so that a module may move
    tests: tuple
    # whether both are Rust expressions of one type, so that a switch can choose between them while it runs; what is not
    # (a derive, a statement, another language) is compiled once more
    expression: bool = True


GUARDS = [
    Guard("grant-cannot-be-copied", "one decision opens one transport", "src/policy",
          "#[derive(Debug)]\npub struct Grant {",
          "impl Clone for Grant { fn clone(&self) -> Self { loop {} } }\n\n#[derive(Debug)]\npub struct Grant {",
          ("no_way_around_the_grant_compiles",), expression=False),
    Guard("deny-is-the-default", "an action that no policy permits", "src/policy/decision.rs",
          "response.decision()", "cedar_policy::Decision::Allow",
          ("nothing_is_allowed_that_is_not_listed",)),
    Guard("os-user-is-listed", "a user of the node whom no policy permits", "src/policy/decision.rs",
          "asking.os_user.is_some()", "false",
          ("an_os_user_has_to_be_listed_even_where_all_else_is_allowed",)),
    Guard("errors-deny", "a policy that can't be evaluated, where it would have forbidden", "src/policy/decision.rs",
          "response.diagnostics().errors().next()", "response.diagnostics().errors().next().filter(|_| false)",
          ("z6_what_can_t_be_evaluated_is_denied",)),
    Guard("candidates-by-group", "a question to fewer policies than are about it", "src/policy/candidates.rs",
          "entities.ancestors(uid).into_iter().flatten()", "entities.ancestors(uid).into_iter().flatten().take(0)",
          ("the_candidates_say_what_all_policies_would",)),
    Guard("denied-unseen", "learning which nodes exist by asking for them", "src/policy/reach.rs",
          "!self.may_concern(identity, node)", "false",
          ("who_has_no_rule_for_a_name_is_denied_before_anybody_looks_for_it",)),
    Guard("files-judged-by-path", "a link that leads to a file which may not be read", "src/files/access.rs",
          "self.all_allowed(&asks, number, &real)?", "self.all_allowed(&asks, number, path)?",
          ("sftp::tests::rules_are_asked_about_the_path_that_is_meant",)),
    Guard("inbox-window", "memory, where a client sends and the node does not take", "src/gateway/inbox.rs",
          "inner.held.add(data.len())",
          "{ inner.held.add(data.len()); if let Some(credit) = &self.credit { credit.handle.grow_window(credit.id, data.len() as u32); } }",
          ("a_stalled_upload_leaves_its_neighbours_alone_and_the_memory_flat",)),
    Guard("bytes-of-a-person", "memory, where one person's nodes do not take", "src/gateway/shares.rs",
          "self.bytes_staying() > most", "false",
          ("the_connection_of_a_person_that_holds_the_most_ends_and_once",)),
    Guard("pre-login-bytes", "memory and time, from strangers", "src/gateway/preauth_stream.rs",
          "received > BYTES_BEFORE_LOGIN", "false",
          ("bytes_are_limited_before_the_login_and_not_after",)),
    Guard("places-without-login", "connections, from strangers", "src/gateway/strangers.rs",
          "taken >= self.most", "false",
          ("who_may_be_in_the_middle_of_a_login_is_left_alone_and_who_stands_still_is_not",)),
    Guard("channels-of-a-connection", "channels, from one client", "src/gateway/connection.rs",
          "self.channels.len() >= limit", "false",
          ("channels_have_a_limit_and_closing_gives_places_back",)),
    Guard("variables-that-never-pass", "LD_PRELOAD, PATH and the like, whatever is configured", "src/gateway/environment.rs",
          "NEVER.iter().any(|pattern| matches(pattern, name))", "false",
          ("no_configuration_lets_the_dangerous_ones_through",)),
    Guard("strict-key-exchange", "messages put into the key exchange (Terrapin)", ".patched/russh/src/server/mod.rs",
          "strict_kex && session.common.encrypted.is_none()", "false",
          ("t1_strict_key_exchange_is_offered_kept_and_resets_the_sequence",)),
    Guard("one-exchange-for-strangers", "the gateway's time, bought with key exchanges", ".patched/russh/src/server/mod.rs",
          "session.is_between_kex_and_auth()", "false",
          ("a_stranger_has_one_key_exchange_and_no_other",)),
    Guard("security-key-touched", "a security key used by whoever has its machine", ".patched/russh/src/server/encrypted.rs",
          "flags & 1 == 1", "flags & 1 <= 1",
          ("a_security_key_that_nobody_touched_proves_nothing",)),
    Guard("rsa-size", "RSA keys that are too small or absurdly large", "src/gateway/auth/publickey.rs",
          "MODULUS_BITS.contains(&modulus)", "(modulus > 0)",
          ("rsa_by_size_exponent_and_hash",)),
    Guard("configuration-is-ours", "a configuration that others can write", "src/config/ownership.rs",
          "found.mode() & WRITABLE != 0 && !guarded", "false",
          ("what_others_can_change_is_refused_with_the_command_that_mends_it",)),
    Guard("host-key-is-private", "a host key that others can read", "src/ssh/key_file.rs",
          "is.mode() & 0o077 != 0", "false",
          ("what_serve_refuses_check_refuses_in_the_same_words",)),
    Guard("stream-url", "a token sent to another host", "src/backend/aws/stream_url.rs",
          "!expected", "false",
          ("only_the_regions_own_message_service_is_dialled",)),
    Guard("plain-http-on-loopback-only", "credentials on a wire without TLS", "src/backend/aws/stream_url.rs",
          "!secure && !is_loopback(&host)", "false",
          ("plain_endpoints_are_loopback_only",)),
    Guard("frame-digest", "frames that were damaged or cut", "src/protocol/message.rs",
          "digest(&payload) != frame[OFFSET_DIGEST..OFFSET_PAYLOAD_TYPE]", "false",
          ("damage_is_refused_with_its_reason",)),
    Guard("sequence", "a frame delivered twice", "src/protocol/channel/inbound.rs",
          "frame.sequence == self.expected", "frame.sequence <= self.expected",
          ("duplicates_and_disorder_change_nothing",)),
    Guard("reorder-bound", "memory, where frames come out of order without end", "src/protocol/channel/inbound.rs",
          "self.held.len() < self.frames_max", "self.frames_max > 0",
          ("the_reorder_buffer_is_bounded_and_what_does_not_fit_is_not_acknowledged",)),
    Guard("parameter-encoding", "`$$` and `{{` of a command, read by the document", "src/transport/parameter.rs",
          "c == last && (c == '$' || c == '{')", "false",
          ("awkward_commands_arrive",)),
    Guard("lease", "a command left on a node by a gateway that has vanished", "src/transport/helper/node/python",
          "elif now >= self.deadline:", "elif False:",
          ("python::a_lapsed_lease_ends_a_silent_command",), expression=False),
    Guard("event-log-is-private", "an event log that others can read", "src/evidence",
          "metadata.mode() & 0o077 != 0", "false",
          ("refuses_links_open_files_and_a_second_writer",)),
    Guard("room-for-sessions", "strangers who fill the event log", "src/evidence",
          "self.limit / 10 * NOISE_TENTHS", "self.limit",
          ("strangers_cannot_use_up_the_room_of_sessions",)),
    Guard("evidence-before-bytes", "a session that nobody will know of", "src/evidence",
          "if let Err(error) = noted {", "if let Err(error) = noted.or_else(|_| Ok::<(), EvidenceError>(())) {",
          ("what_cannot_be_recorded_is_not_opened",)),
    Guard("session-share", "one session that fills the event log", "src/evidence/share.rs",
          "used > self.shares.session", "false",
          ("a_session_that_fills_its_part_of_the_log_ends_and_others_live",)),
    Guard("plain-text", "a node's text that the terminal would obey", "src/model/plain_text.rs",
          "c.is_whitespace() || c.is_control()", "c.is_whitespace()",
          ("what_a_terminal_would_obey_becomes_a_space",)),
    Guard("node-name", "a name that smuggles control characters", "src/model/node_name.rs",
          "text.is_empty() || text.len() > Self::MAX_BYTES || text.contains(char::is_control)", "text.is_empty()",
          ("what_is_of_no_form_is_refused_in_a_sentence",)),
    Guard("unknown-keys", "a misspelt limit that limits nothing", "src/config/file.rs",
          "#[serde(default, deny_unknown_fields)]\npub struct Gateway {", "#[serde(default)]\npub struct Gateway {",
          ("a_misspelt_key_has_its_place_and_a_suggestion",), expression=False),
]

SWITCH = "PORTCULLIS_GUARD_OFF"
OPTIONS = ["--locked", "--workspace", "--features", "testing"]
# nextest's exit codes: nextest_metadata::NextestExitCode
PASSED, FAILED, NOT_BUILT = 0, 100, 101


def code_of(place):
    """The files that a guard may be in."""
    top = ROOT / place
    return [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.suffix in (".rs", ".py", ".sh"))


def place_of(guard):
    """The one file that has the guard's line once."""
    found = [(path, path.read_text().count(guard.text)) for path in code_of(guard.where)]
    found = [(path, count) for path, count in found if count]
    if sum(count for _, count in found) != 1:
        places = ", ".join(f"{path.relative_to(ROOT)} ({count})" for path, count in found) or "nowhere"
        raise SystemExit(f"{guard.name}: its text is not once in {guard.where} but {places}:\n{guard.text}")
    return found[0][0].relative_to(ROOT)


def check():
    """Every guard's line is there, and every test that is named."""
    names = [guard.name for guard in GUARDS]
    if len(set(names)) != len(names):
        raise SystemExit("two guards have one name")
    code = "".join(path.read_text() for top in ("src", "tests") for path in sorted((ROOT / top).rglob("*.rs")))
    for guard in GUARDS:
        place_of(guard)
        for test in guard.tests:
            name = test.rsplit("::", 1)[-1]
            if not re.search(rf"fn {name}\b|^\s+{name}$", code, re.MULTILINE):
                raise SystemExit(f"{guard.name}: no test is called {name}")


def with_switch(guard):
    return f'(if ::std::env::var_os("{SWITCH}").is_some_and(|off| off == "{guard.name}") {{ {guard.off} }} else {{ {guard.text} }})'


class Scratch:
    """A copy of the tree, with switches."""

    def __init__(self, place):
        self.tree, self.target = place / "tree", place / "target"
        self.tree.mkdir(parents=True, exist_ok=True)
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                                capture_output=True).stdout.split(b"\0")
        wanted = {os.fsdecode(name) for name in listed if name and (ROOT / os.fsdecode(name)).is_file()}
        # what scripts/patch.sh makes, and git is told to overlook
        wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / ".patched").rglob("*") if path.is_file()}
        for path in [path for path in self.tree.rglob("*") if path.is_file()]:
            if str(path.relative_to(self.tree)) not in wanted:
                path.unlink()
        switched = {}
        for guard in GUARDS:
            if guard.expression:
                name = str(place_of(guard))
                switched[name] = switched.get(name, (ROOT / name).read_text()).replace(guard.text, with_switch(guard))
        for name in wanted:
            self.put(name, switched[name].encode() if name in switched else (ROOT / name).read_bytes())
            shutil.copymode(ROOT / name, self.tree / name)
        built = ROOT / "target" / "debug"
        if not self.target.exists() and built.is_dir():
            print("copying what is compiled of others' code", file=sys.stderr)
            for part in (".fingerprint", "build", "deps"):
                if (built / part).is_dir():
                    shutil.copytree(built / part, self.target / "debug" / part, symlinks=True)

    def put(self, name, content):
        """Writes a file, unless it is that already: what is not touched is not compiled again."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)

    def run(self, guards, off=""):
        """Runs the guards' tests with one switch thrown. Gives nextest's exit code, what became of each test, its words."""
        tests = sorted({test for guard in guards for test in guard.tests})
        command = ["cargo", "nextest", "run", *OPTIONS, "--no-fail-fast", "--retries", "0", "--status-level", "pass", "--color",
                   "never", "--final-status-level", "none", "-E", " | ".join(rf"test(/(^|::){name}$/)" for name in tests)]
        env = {**os.environ, "CARGO_TARGET_DIR": str(self.target), "CARGO_TERM_COLOR": "never", SWITCH: off}
        ran = subprocess.run(command, cwd=self.tree, env=env, capture_output=True, text=True)
        said = ran.stdout + ran.stderr
        became = {}
        for verdict, name in re.findall(r"^ +([A-Z]+) +\[[^]]*\] +(?:\([^)]*\) +)?\S+ (\S+)$", said, re.MULTILINE):
            if verdict not in ("SLOW", "SKIP"):
                became[name] = verdict
        return ran.returncode, became, said

    def without(self, guard):
        """Runs one guard's tests without it."""
        if guard.expression:
            return self.run([guard], guard.name)
        name = str(place_of(guard))
        whole = (self.tree / name).read_text()
        self.put(name, whole.replace(guard.text, guard.off).encode())
        try:
            return self.run([guard])
        finally:
            self.put(name, whole.encode())


def verdict(guard, code, became):
    """Whether the guard was missed, and the words for it."""
    if code == NOT_BUILT:
        return False, "does not compile without it"
    if code not in (PASSED, FAILED):
        return False, f"nextest ended with {code}"
    for test in guard.tests:
        verdicts = [verdict for name, verdict in became.items() if f"::{name}".endswith(f"::{test}")]
        if not verdicts:
            return False, f"{test} did not run"
        if "PASS" in verdicts:
            return False, f"{test} passes without it"
    return True, "missed"


def page(results):
    """The table for people."""
    lines = [
        "# Guards",
        "",
        "Written by `scripts/guards.py --write docs/guards.md`, which switches off one guard at a time and expects its test to",
        "fail. *missed* is what it must say: the test noticed. The lines, and what each is without its guard, are in the script;",
        "that every line is still there is one of the ordinary tests.",
        "",
        "| guard | what it protects | in | its test | without it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for guard in GUARDS:
        tests = ", ".join(f"`{test.rsplit('::', 1)[-1]}`" for test in guard.tests)
        lines.append(f"| {guard.name} | {guard.protects} | `{place_of(guard)}` | {tests} | {results.get(guard.name, '**not tried**')} |")
    return "\n".join(lines) + "\n"


def read_page(file):
    """What the page says of each guard."""
    rows = (line.strip("| ").split(" | ") for line in Path(file).read_text().splitlines() if line.startswith("| "))
    return {row[0]: row[-1] for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the guards and end")
    parser.add_argument("--check", action="store_true", help="only look whether every line and every test is there")
    parser.add_argument("--only", action="append", metavar="NAME", help="this guard; may be given several times")
    parser.add_argument("--write", metavar="FILE", help="write the table of results there")
    parser.add_argument("--scratch", default=ROOT / "target" / "guards", type=Path, metavar="DIR", help="kept between runs")
    options = parser.parse_args()
    if options.list:
        for guard in GUARDS:
            print(f"{guard.name:24} {guard.protects}")
        return 0
    check()
    if options.check:
        return 0
    guards = GUARDS
    if options.only:
        guards = [guard for guard in GUARDS if guard.name in options.only]
        if unknown := set(options.only) - {guard.name for guard in guards}:
            parser.error(f"no such guard: {', '.join(sorted(unknown))} (see --list)")

    scratch = Scratch(options.scratch.resolve())
    code, _, said = scratch.run(guards)
    if code != PASSED:
        print("\n".join(line for line in said.splitlines() if line.strip())[-8000:])
        raise SystemExit("with every guard in its place, their tests don't pass")
    # of the guards that are left out, the page keeps what it said
    results = read_page(options.write) if options.only and options.write else {}
    # what is compiled once more comes last
    for guard in sorted(guards, key=lambda guard: not guard.expression):
        began = time.monotonic()
        code, became, said = scratch.without(guard)
        fine, words = verdict(guard, code, became)
        results[guard.name] = words if fine else f"**{words}**"
        print(f"{'ok' if fine else 'NOT MISSED':11} {guard.name:24} {words} ({time.monotonic() - began:.0f} s)", flush=True)
        if not fine:
            print("\n".join(f"            | {line}" for line in said.splitlines()[-25:]), flush=True)
    missed = sum(results[guard.name] == "missed" for guard in guards)
    if options.write:
        Path(options.write).write_text(page(results))
    print(f"{missed} of {len(guards)} guards are missed when they are not there")
    return 0 if missed == len(guards) else 1


if __name__ == "__main__":
    sys.exit(main())
