"""terminal.py [--answer PROMPT ANSWER] PROGRAM…: a person at a terminal of 132 columns and 43 lines. Types the answer when the prompt is
shown, then what comes on standard input; what is shown goes to standard output, and the program's exit status is this one's."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios


def main(words):
    prompt = answer = None
    if words[0] == "--answer":
        prompt, answer, words = words[1].encode(), words[2].encode() + b"\r", words[3:]
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 43, 132, 0, 0))
        os.execvp(words[0], words)
    shown, typing = b"", prompt is None
    while True:
        ready, _, _ = select.select([terminal, 0] if typing else [terminal], [], [])
        if terminal in ready:
            try:
                data = os.read(terminal, 1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            os.write(1, data)
            shown += data
            if prompt is not None and prompt in shown:
                os.write(terminal, answer)
                prompt, typing = None, True
        elif 0 in ready:
            data = os.read(0, 1 << 10)
            if data:
                os.write(terminal, data)
            else:
                typing = False
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
