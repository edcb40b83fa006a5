"""What a library can see of a connection that a program does not show: input on its way early, and time between channels."""

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
    """One command after the other on one connection: from the end of one to where the next may begin."""
    times = sorted(map(float, ok(Paramiko(place).ask("gaps", 20), None).out.split()))
    middle, longest = times[len(times) // 2], times[-1]
    # one may be late because the machine is; who makes others wait does so for seconds
    expect(middle <= 100 and longest <= 2000, f"{middle:.0f} ms between two channels, at the longest {longest:.0f} ms")
    return f"{middle:.1f} ms, at the longest {longest:.1f} ms"
