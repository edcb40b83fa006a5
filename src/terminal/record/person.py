"""Somebody at a terminal: keys at a human pace, typing errors and their corrections, waiting for what they wait for."""

import os

KEYS = {
    "enter": b"\r", "tab": b"\t", "backspace": b"\x7f", "esc": b"\x1b", "delete": b"\x1b[3~",
    "up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F",
    "shift-tab": b"\x1b[Z", "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~", "ctrl-right": b"\x1b[1;5C", "ctrl-left": b"\x1b[1;5D",
}  # fmt: skip


class Person:
    def __init__(self, terminal, chance, shell, home):
        self.terminal, self.chance, self.shell, self.home = terminal, chance, shell, home
        self.believed = []  # what the scenario thinks has run, only to find scenarios that did something else
        self.secrets = []
        self.columns = self.rows = 0
        self.mistakes = 0.02

    # keys

    def pause(self, low=0.03, high=0.12):
        self.terminal.wait(self.chance.uniform(low, high))

    def key(self, *names):
        for name in names:
            if name.startswith("ctrl-") and len(name) == 6:
                data = bytes([ord(name[5]) & 0x1F])
            elif name.startswith("alt-") and len(name) == 5:
                data = b"\x1b" + name[4].encode()
            else:
                data = KEYS[name]
                if self.terminal.application_cursor and data[:2] == b"\x1b[" and data[2:] in (b"A", b"B", b"C", b"D", b"H", b"F"):
                    data = b"\x1bO" + data[2:]
            self.terminal.send(data)
            self.pause()

    def type(self, text, careful=False):
        """Keys one by one, some in a burst; now and then a wrong one that is taken back at once."""
        burst = 0
        for character in text:
            if not careful and character.isalpha() and character.isascii() and self.chance.random() < self.mistakes:
                self.terminal.send(self.chance.choice("qxzjkv").encode())
                self.pause(0.08, 0.2)
                self.key("backspace")
            self.terminal.send(character.encode())
            if burst:
                burst -= 1
                self.pause(0.0, 0.012)
            else:
                burst = self.chance.choice([0] * 9 + [4])
                self.pause()

    def burst(self, text):
        """Everything at once, as type-ahead or a paste into a terminal that does not mark pastes."""
        self.terminal.send(text.encode())
        self.pause()

    def paste(self, text):
        """As a terminal pastes: line ends are carriage returns; marked if the program asked for that."""
        data = text.replace("\n", "\r").encode()
        if self.terminal.bracketed:
            data = b"\x1b[200~" + data + b"\x1b[201~"
        self.terminal.send(data)
        self.pause(0.1, 0.3)

    # looking

    def rest(self, quiet=0.15):
        self.terminal.rest(quiet)

    def prompt(self, quiet=0.15):
        """Until the shell that was started first waits for a line."""
        self.terminal.rest(quiet, at_prompt=True)

    def see(self, pattern, since=None):
        """Until output has come since the last Enter that matches."""
        self.terminal.wait_for(pattern, self.entered if since is None else since)

    entered = 0

    def enter(self):
        self.entered = len(self.terminal.seen)
        self.key("enter")

    # whole lines

    def run(self, command, careful=False):
        """Types a command, and waits for the next prompt."""
        self.type(command, careful)
        self.ran(command)

    def ran(self, command):
        """Enter on a line that has been made by editing; `command` is what it should have become."""
        self.enter()
        self.believe(command)
        self.prompt()

    def inside(self, command, quiet=0.35):
        """The same in a shell inside another one, or in a program."""
        self.type(command)
        self.enter()
        self.believe(command)
        self.rest(quiet)

    def say(self, text, quiet=0.25):
        """A line for a program that is no shell."""
        self.type(text)
        self.enter()
        self.rest(quiet)

    def believe(self, command):
        self.believed.append(command)

    def secret(self, text):
        """A line at a prompt without echo; no recording may have it in its output."""
        self.secrets.append(text)
        self.type(text, careful=True)
        self.enter()

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.terminal.resize(columns, rows)
        self.rest(0.3)

    def file(self, name, text, mode=0o644):
        """A file in the home directory, made behind the shell's back."""
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path
