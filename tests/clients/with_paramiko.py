"""Paramiko, driven for scripts/clients: HOST PORT USER KEY WHAT ARGUMENTS… (see scripts/clients/client.py for what each WHAT is)."""

import os
import sys
import threading
import time

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST


class AnyHostKey(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client, hostname, key):
        pass


def connect(host, port, user, key):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(AnyHostKey())
    client.connect(host, int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
    return client


def relay(channel):
    """Standard input to the channel and back, both streams apart, to its end."""
    def send():
        while data := os.read(0, 1 << 15):
            channel.sendall(data)
        channel.shutdown_write()

    def copy(receive, to):
        while data := receive(1 << 15):
            to.write(data)
            to.flush()

    threading.Thread(target=send, daemon=True).start()
    errors = threading.Thread(target=copy, args=(channel.recv_stderr, sys.stderr.buffer))
    errors.start()
    copy(channel.recv, sys.stdout.buffer)
    errors.join()


def executed(transport, command):
    channel = transport.open_session()
    channel.exec_command(command)
    relay(channel)
    return channel.recv_exit_status()


def run(client, command):
    return executed(client.get_transport(), command)


def shell(client):
    channel = client.get_transport().open_session()
    channel.get_pty("xterm", 132, 43)
    channel.invoke_shell()
    relay(channel)
    return channel.recv_exit_status()


def sftp(client, local, there, back):
    files = client.open_sftp()
    files.mkdir(there)
    files.put(local, f"{there}/file")
    files.rename(f"{there}/file", f"{there}/moved")
    files.symlink("moved", f"{there}/link")
    files.chmod(f"{there}/moved", 0o600)
    assert files.readlink(f"{there}/link") == "moved"
    assert sorted(files.listdir(there)) == ["link", "moved"]
    assert files.stat(f"{there}/moved").st_size == os.path.getsize(local)
    files.get(f"{there}/moved", back)
    return 0


def many(client, count):
    channels = [client.get_transport().open_session() for _ in range(int(count))]
    for number, channel in enumerate(channels):
        channel.exec_command(f"sleep 0.2; echo {number}; exit {number % 7}")
    for channel in channels:
        said = channel.makefile().read().decode().strip()
        print(said, channel.recv_exit_status())
    return 0


def early(client, command, count):
    """Input that is on its way before anybody said that the command was started."""
    channel = client.get_transport().open_session()
    request = paramiko.Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("exec")
    request.add_boolean(True)
    request.add_string(command)
    client.get_transport()._send_user_message(request)
    channel.sendall(os.urandom(int(count)))
    channel.shutdown_write()
    print(channel.makefile().read().decode().strip())
    return channel.recv_exit_status()


def gaps(client, count):
    """The times, in milliseconds, from the close of a channel to where the next one has taken a command."""
    before = None
    for _ in range(int(count)):
        channel = client.get_transport().open_session()
        channel.exec_command("true")
        if before is not None:
            print((time.monotonic() - before) * 1000)
        channel.recv_exit_status()
        channel.close()
        before = time.monotonic()
    return 0


def forward(client, host, port):
    relay(client.get_transport().open_channel("direct-tcpip", (host, int(port)), ("127.0.0.1", 0)))
    return 0


def hop(client, key, node, user, command):
    channel = client.get_transport().open_channel("direct-tcpip", (node, 22), ("127.0.0.1", 0))
    inner = paramiko.Transport(channel)
    inner.start_client()
    try:
        inner.auth_none(user)
    except paramiko.BadAuthenticationType:
        inner.auth_publickey(user, paramiko.PKey.from_path(key))
    status = executed(inner, command)
    inner.close()
    return status


def coded(host, port, user, key, code, command):
    """The key, and then the code that is asked for."""
    transport = paramiko.Transport((host, int(port)))
    transport.start_client()
    left = transport.auth_publickey(user, paramiko.PKey.from_path(key))
    assert left == ["keyboard-interactive"], left
    transport.auth_interactive(user, lambda title, instructions, prompts: [code for _ in prompts])
    status = executed(transport, command)
    transport.close()
    return status


def main(host, port, user, key, what, *arguments):
    if what == "coded":
        return coded(host, port, user, key, *arguments)
    client = connect(host, port, user, key)
    if what == "hop":
        arguments = (key, *arguments)
    status = {"exec": run, "shell": shell, "sftp": sftp, "many": many, "early": early, "gaps": gaps, "forward": forward, "hop": hop}[what](client, *arguments)
    client.close()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
