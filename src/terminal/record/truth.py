"""What a shell itself says it ran, without a sign of it on the terminal.

bash, zsh and fish write each line to a file when they begin to run it (see `RC`): process, time and line, each ended by a NUL.
dash and busybox's ash have no such hook. They run under strace. dash reads whole lines, and which prompt it wrote before says
whether one goes on with a command. ash has an editor and reads keys: its lines are what its `history` says after the recording,
and strace says when each was entered, and after which prompt.
"""

import re

TRACE = "/run/trace/lines"
CALLS = "/run/trace/calls"
ASH = "/run/trace/history"

RC = {
    # PS0 is expanded when a line has been read and before it is run, in a process of its own. The number in the history is
    # that of the line, so a paste of several lines that were read as one is one. Every line has to be in the history for it,
    # and as it was typed: HISTCONTROL and lithist.
    "bash": f"""
HISTCONTROL= HISTIGNORE=
shopt -s cmdhist lithist
__told() {{ printf '%s\\0%s\\0%s\\0' "$$" "$EPOCHREALTIME" "$(HISTTIMEFORMAT= history 1)" >>{TRACE}; }}
PS0='$(__told)'"$PS0"
""",
    "zsh": f"""
zmodload zsh/datetime
__told() {{ printf '%s\\0%s\\0%s\\0' "$$" "$EPOCHREALTIME" "$1" >>{TRACE}; }}
preexec_functions+=(__told)
""",
    "fish": f"""
function __told --on-event fish_preexec
    printf '%s\\0%s\\0%s\\0' $fish_pid (date +%s.%N) "$argv[1]" >>{TRACE}
end
""",
}

# what dash and ash are told to write where a command goes on
PS2 = "> "


def from_hooks(data, began, outer):
    """The lines of shells with a hook."""
    fields = data.split(b"\0")[:-1]
    lines, last = [], {}
    for process, moment, line in zip(*[iter(fields)] * 3):
        text = line.decode("utf-8", "surrogateescape")
        process = int(process)
        numbered = re.match(r" *(\d+)[ *] ?", text)
        if numbered and text.startswith(" "):  # bash's history
            if last.get(process) == numbered[1]:
                continue
            last[process] = numbered[1]
            text = text[numbered.end() :]
        # EPOCHREALTIME has a comma in some locales
        at = float(moment.replace(b",", b".")) - began
        lines.append({"command": text.rstrip(), "at": round(at, 3), "nested": process != outer})
    return [line for line in lines if line["command"]]


CALL = re.compile(r'^(?:\d+ +)?(\d+\.\d+) (read|write)\((\d+)<([^>]*)>, "([^"]*)"(?:\.\.\.)?, (\d+)\) += (-?\d+)')


def unescape(text):
    return bytes(int(part, 16) for part in re.findall(r"\\x([0-9a-f]{2})", text))


OSC = re.compile(rb"\x1b\][^\x07]*\x07")


def calls(text):
    """What the shell read and wrote at its terminal, and ^C: (time, "read" | "write" | "interrupt", bytes, bytes asked for)."""
    for call in text.splitlines():
        if "--- SIGINT" in call:
            yield float(call.split()[0]), "interrupt", b"", 0
        found = CALL.match(call)
        if found and re.match(rb"/dev/(pts/|tty)", unescape(found[4])):
            yield float(found[1]), found[2], unescape(found[5]), int(found[6])


class Joined:
    """Lines that become commands: one after the continuation's prompt goes on with the one before."""

    def __init__(self):
        self.commands = []
        self.open = False

    def line(self, text, at, goes_on):
        if goes_on and self.open:
            self.commands[-1]["command"] += "\n" + text
            self.commands[-1]["at"] = at
        elif text.strip():
            self.commands.append({"command": text, "at": at, "nested": False})
            self.open = True
        else:
            self.open = False

    def interrupted(self, at_continuation):
        if at_continuation and self.open:
            self.commands.pop()
        self.open = False

    def all(self):
        return [{**one, "command": one["command"].rstrip()} for one in self.commands]


def of_dash(text, began):
    joined, prompt = Joined(), b""
    for moment, what, data, asked in calls(text):
        if what == "write":
            prompt = OSC.sub(b"", data)
        elif what == "interrupt":
            joined.interrupted(prompt == PS2.encode())
            prompt = b""
        # its builtin `read` asks for single bytes
        elif what == "read" and asked > 1 and data:
            # several lines may be there at once; it asks for each with a prompt, but reads them together
            for n, line in enumerate(data.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")):
                joined.line(line, round(moment - began, 3), n == 0 and prompt == PS2.encode())
            prompt = b""
    return joined.all()


def of_ash(text, history, began):
    """None where the history does not have the lines that were entered."""
    # it asks where the cursor is after a prompt unless more is typed already: then the prompt is known by its end
    joined, prompt, keys, ends = Joined(), None, b"", {PS2.encode()}
    lines = [line[5:] for line in history.decode("utf-8", "surrogateescape").split("\n") if line]
    # the question for it is the last
    lines = lines[:-1]
    entered = []
    for moment, what, data, _ in calls(text):
        if what == "write":
            asks = data.endswith(b"\x1b[6n")
            shown = OSC.sub(b"", data[:-4] if asks else data)
            if prompt is None and (asks or shown[-2:] in ends):
                ends.add(shown[-2:])
                prompt, keys = shown, b""
        elif what == "interrupt" or (what == "read" and data == b"\x03"):
            if prompt is not None:
                entered.append((moment, prompt, None))
            prompt = None
        elif what == "read" and prompt is not None:
            keys += data
            if data in (b"\r", b"\n"):
                typed = re.sub(rb"\x1b\[\d+;\d+R", b"", keys).strip()
                entered.append((moment, prompt, typed))
                prompt = None
    while entered and not entered[-1][2]:
        entered.pop()
    entered = entered[:-1]
    if sum(1 for _, _, typed in entered if typed) != len(lines):
        return None
    for moment, shown, typed in entered:
        goes_on = shown == PS2.encode()
        if typed is None:
            joined.interrupted(goes_on)
        else:
            joined.line(lines.pop(0) if typed else "", round(moment - began, 3), goes_on)
    return joined.all()
