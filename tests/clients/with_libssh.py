"""libssh (by the bindings of ssh-python), driven for scripts/clients: HOST PORT USER KEY WHAT ARGUMENTS… (see scripts/clients/client.py
for what each WHAT is)."""

import os
import select
import sys

from ssh import options
from ssh.channel import Channel
from ssh.exceptions import EOF, AuthenticationPartial
from ssh.key import import_privkey_file
from ssh.scp import SCP
from ssh.session import Session

READ, WRITE = 1, 0  # SSH_SCP_READ, SSH_SCP_WRITE
CHUNK = 1 << 15


def connect(host, port, user):
    session = Session()
    session.options_set(options.HOST, host)
    session.options_set_port(int(port))
    session.options_set(options.USER, user)
    session.connect()
    return session


def opened(session):
    channel = session.channel_new()
    channel.open_session()
    return channel


def relay(channel: Channel):
    """Standard input to the channel and back, both streams apart, to its end."""
    source = [0]
    streams = [(False, sys.stdout.buffer), (True, sys.stderr.buffer)]
    while streams:
        took = False
        for stream in list(streams):
            errors, to = stream
            try:
                size, data = channel.read_nonblocking(is_stderr=errors)
            except EOF:
                streams.remove(stream)
                continue
            if size > 0:
                to.write(data)
                to.flush()
                took = True
        if source and select.select(source, [], [], 0 if took else 0.01)[0]:
            data = os.read(0, CHUNK)
            if data:
                channel.write(data)
            else:
                channel.send_eof()
                source = []
        elif not source and not took:
            select.select([], [], [], 0.01)


def run(session, command):
    channel = opened(session)
    channel.request_exec(command)
    relay(channel)
    return channel.get_exit_status()


def shell(session):
    channel = opened(session)
    channel.request_pty_size("xterm", 132, 43)
    channel.request_shell()
    relay(channel)
    return channel.get_exit_status()


def sftp(session, local, there, back):
    files = session.sftp_new()
    files.init()
    files.mkdir(there, 0o700)
    with open(local, "rb") as source:
        target = files.open(f"{there}/file", os.O_WRONLY | os.O_CREAT, 0o600)
        while data := source.read(CHUNK):
            target.write(data)
        target.close()
    files.rename(f"{there}/file", f"{there}/moved")
    files.symlink("moved", f"{there}/link")
    files.chmod(f"{there}/moved", 0o600)
    read = files.readlink(f"{there}/link")
    assert read in (b"moved", "moved"), read
    # the bindings end a listing with an entry without a name
    names = {entry.name for entry in files.opendir(there) if entry.name}
    assert names - {b".", b".."} == {b"link", b"moved"}, names
    assert files.stat(f"{there}/moved").size == os.path.getsize(local)
    source = files.open(f"{there}/moved", os.O_RDONLY, 0)
    with open(back, "wb") as target:
        for size, data in source:
            if size <= 0:
                break
            target.write(data)
    source.close()
    return 0


def scp(session, local, there, back):
    with open(local, "rb") as source:
        data = source.read()
    up: SCP = session.scp_new(WRITE, os.path.dirname(there))
    up.push_file64(os.path.basename(there), len(data), 0o600)
    for at in range(0, len(data), CHUNK):
        up.write(data[at:at + CHUNK])
    up.close()
    down = session.scp_new(READ, there)
    down.pull_request()
    left = down.request_get_size64()
    down.accept_request()
    with open(back, "wb") as target:
        while left:
            size, part = down.read(min(left, CHUNK))
            target.write(part)
            left -= size
    return 0


def many(session, count):
    channels = [opened(session) for _ in range(int(count))]
    for number, channel in enumerate(channels):
        channel.request_exec(f"sleep 0.2; echo {number}; exit {number % 7}")
    for channel in channels:
        said = b""
        while True:
            size, data = channel.read(CHUNK)
            if size <= 0:
                break
            said += data
        print(said.decode().strip(), channel.get_exit_status())
    return 0


def forward(session, host, port):
    channel = session.channel_new()
    channel.open_forward(host, int(port), "127.0.0.1", 0)
    relay(channel)
    return 0


def main(host, port, user, key, what, *arguments):
    session = connect(host, port, user)
    pair = import_privkey_file(key)
    if what == "coded":
        code, *arguments = arguments
        try:
            session.userauth_publickey(pair)
            raise AssertionError("the key alone was enough")
        except AuthenticationPartial:
            pass
        # once for the questions, and once with the answers
        session.userauth_kbdint(user, "")
        assert session.userauth_kbdint_getnprompts() == 1, session.userauth_kbdint_getnprompts()
        session.userauth_kbdint_setanswer(0, code.encode())
        session.userauth_kbdint(user, "")
        what = "exec"
    else:
        session.userauth_publickey(pair)
    return {"exec": run, "shell": shell, "sftp": sftp, "scp": scp, "many": many, "forward": forward}[what](session, *arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
