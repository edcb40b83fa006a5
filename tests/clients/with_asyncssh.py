"""AsyncSSH, driven for scripts/clients: HOST PORT USER KEY WHAT ARGUMENTS… (see scripts/clients/client.py for what each WHAT is)."""

import asyncio
import os
import sys

import asyncssh


def options(user, key):
    return {"username": user, "client_keys": [key], "known_hosts": None, "agent_path": None, "config": None}


async def relay(reader, writer, errors=None):
    """Standard input to the channel and back, both streams apart, to its end."""
    async def send():
        while data := await asyncio.to_thread(os.read, 0, 1 << 15):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def copy(stream, to):
        while data := await stream.read(1 << 15):
            to.write(data)
            to.flush()

    sending = asyncio.create_task(send())
    await asyncio.gather(copy(reader, sys.stdout.buffer), *([copy(errors, sys.stderr.buffer)] if errors else []))
    return sending


async def process(connection, command, **more):
    running = await connection.create_process(command, encoding=None, **more)
    await relay(running.stdout, running.stdin, running.stderr)
    await running.wait_closed()
    return running.returncode


async def sftp(connection, local, there, back):
    async with connection.start_sftp_client() as files:
        await files.mkdir(there)
        await files.put(local, f"{there}/file")
        await files.rename(f"{there}/file", f"{there}/moved")
        await files.symlink("moved", f"{there}/link")
        await files.chmod(f"{there}/moved", 0o600)
        assert await files.readlink(f"{there}/link") == "moved"
        assert sorted(set(await files.listdir(there)) - {".", ".."}) == ["link", "moved"]
        assert (await files.stat(f"{there}/moved")).size == os.path.getsize(local)
        await files.get(f"{there}/moved", back)
    return 0


async def scp(connection, local, there, back):
    await asyncssh.scp(local, (connection, there))
    await asyncssh.scp((connection, there), back)
    return 0


async def many(connection, count):
    async def one(number):
        ran = await connection.run(f"sleep 0.2; echo {number}; exit {number % 7}")
        return ran.stdout.strip(), ran.exit_status

    for said, status in await asyncio.gather(*map(one, range(int(count)))):
        print(said, status)
    return 0


async def forward(connection, host, port):
    reader, writer = await connection.open_connection(host, int(port))
    await relay(reader, writer)
    return 0


async def hop(connection, key, node, user, command):
    async with asyncssh.connect(node, 22, tunnel=connection, **options(user, key)) as inner:
        return await process(inner, command)


class Asked(asyncssh.SSHClient):
    def __init__(self, code):
        self.code = code

    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [self.code for _ in prompts]


async def main(host, port, user, key, what, *arguments):
    told = options(user, key)
    if what == "coded":
        code, *arguments = arguments
        told["client_factory"], what = lambda: Asked(code), "exec"
    async with asyncssh.connect(host, int(port), **told) as connection:
        if what == "exec":
            return await process(connection, *arguments)
        if what == "shell":
            return await process(connection, None, term_type="xterm", term_size=(132, 43))
        if what == "hop":
            return await hop(connection, key, *arguments)
        return await {"sftp": sftp, "scp": scp, "many": many, "forward": forward}[what](connection, *arguments)


if __name__ == "__main__":
    status = asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    # a thread may still wait for standard input
    os._exit(status)
