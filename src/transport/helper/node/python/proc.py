# Other processes: what /proc says of one, and signals for some.
import os


def stat_of(pid):
    # its state, parent, group and so on: what comes after the name, which may be any bytes
    with open("/proc/" + pid + "/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].decode().split()


def signal_each(pids, number):
    # one that has gone meanwhile is as good as signalled
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass
