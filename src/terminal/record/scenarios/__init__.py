"""What is recorded: each scenario is a function that is somebody at a terminal, and says in which shells and terminals."""

import collections

Scenario = collections.namedtuple("Scenario", "kind play shells at program rc env files user rows ssh marks note argv split")
SCENARIOS = {}
ALL = "bash zsh fish dash ash"
EDITORS = "bash zsh fish ash"  # dash has no line editor: the terminal's own erases characters, words and lines
# columns and lag in ms
USUAL = ((80, 0), (40, 120), (200, 0))
TWO = ((80, 0), (80, 200))


def scenario(kind, shells=ALL, at=USUAL, program=None, rc=None, env=None, files=None, user="ada", rows=24, ssh=False,
             marks=False, note="", argv=None, split=None):  # fmt: skip
    def add(play):
        assert kind not in SCENARIOS, kind
        SCENARIOS[kind] = Scenario(
            kind, play, shells.split(), at, program, rc or {}, env or {}, files or {}, user, rows, ssh, marks, note, argv, split
        )
        return play

    return add
