"""What a library can see of a connection that a program does not show: input on its way early, and time between channels."""

from measured.places import Sshd

from .client import expect, ok
from .libraries import Paramiko, XCrypto

SIZE = 64 << 10


def early(place):
    """64 KiB of it, by two libraries that do not wait; ten times each, since what is lost is lost by chance."""
    for client in (Paramiko(place), XCrypto(place)):
        for _ in range(10):
            done = ok(client.ask("early", "wc -c", SIZE), None)
            expect(done.out.strip() == str(SIZE).encode(), f"{client.name}: {done}")


def gaps(place):
    """One command after the other on one connection: from the end of one to where the next may begin. Every one of them counts; what of the
    longest is the machine's, an sshd beside it shows in the same minute: it is what its own longest is over its usual one."""
    client = Paramiko(place)

    def times(port, user, key):
        return sorted(map(float, ok([*client.program, "127.0.0.1", port, user, key, "gaps", 20], None).out.split()))

    with Sshd() as sshd:
        ours, theirs = [], []
        for _ in range(3):
            ours += times(place.ports["compatible"], place.login, place.keys["ed25519"])
            theirs += times(sshd.port, place.os_user, sshd.dir / "user")
    middle, longest, busy = sorted(ours)[len(ours) // 2], max(ours), max(theirs) - sorted(theirs)[len(theirs) // 2]
    told = f"{middle:.1f} ms, at the longest {longest:.1f} ms; of an sshd here {sorted(theirs)[len(theirs) // 2]:.1f} ms and {max(theirs):.1f} ms"
    expect(longest <= 100 or longest - busy <= 100, f"between two channels {told}")
    return told
