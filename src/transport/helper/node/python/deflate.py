# Data that travels deflated, where both ends can and it is worth it: a record by itself, so that it may come again over
# another lane.
try:
    import zlib
except ImportError:
    # a Python may be built without
    zlib = None

# what is shorter goes in a few frames as it is, and is what somebody waits for
SHORT = 4096
# after data that did not shrink so much goes as it is, and twice as much each time in a row
PAUSE = 65536
LONGEST_PAUSE = 4194304


class Deflater:
    def __init__(self, wanted):
        self.works = wanted and zlib is not None
        self.pause = PAUSE
        # how much is to go as it is before this is tried again
        self.passing = 0

    def deflate(self, data):
        # None where it is not worth it
        size = len(data)
        if not self.works or size < SHORT:
            return None
        if self.passing > 0:
            self.passing -= size
            return None
        packed = zlib.compress(data, 1)
        # what is saved must outweigh the work at both ends
        if len(packed) <= size * 3 // 4:
            self.pause = PAUSE
            return packed
        self.passing = self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        return None


def inflate(data):
    return zlib.decompress(data)
