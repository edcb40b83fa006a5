"""clients.sh [--binary FILE] [--only NAME,… | --big] [--check | --write] [--json FILE] [--keep-log FILE]

Drives the clients and tools at a gateway and prints what worked. NAME is a client, a tool or a group of them (--list). The exit status is 0
where everything that should work did. With --check the lines of this run must be the README's; --write writes the README's table."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from . import big, table
from .client import Failed
from .features import FEATURES
from .matrix import CLIENTS, GROUPS, TOOLS
from .place import Place
from .tools import Unavailable

YES, NOT, KNOWN, LACKS, SKIPPED = "yes", "**fails**", "no", "–", "SKIPPED"


class Matrix:
    def __init__(self, place):
        self.place, self.failures, self.skipped = place, [], []

    def attempt(self, what, check, *arguments):
        """Yes or no, and said aloud."""
        began = time.monotonic()
        try:
            noted = check(self.place, *arguments)
        except Unavailable as why:
            # said aloud; and where all of it must be tried, it is a failure
            self.skipped.append(what)
            if os.environ.get("CI") == "true":
                self.failures.append(f"{what}: can't be tried on this machine: {why}")
            return self.say(what, SKIPPED, began, str(why))
        except Known as why:
            return self.say(what, KNOWN, began, str(why))
        except (Failed, AssertionError, OSError, ValueError, LookupError, subprocess.SubprocessError) as wrong:
            told = str(wrong) if isinstance(wrong, Failed) else traceback.format_exc()
            self.failures.append(f"{what}: {told}")
            return self.say(what, NOT, began, told)
        return self.say(what, YES, began, noted or "")

    def say(self, what, cell, began, noted):
        print(f"{cell.strip('*'):8} {what} ({time.monotonic() - began:.1f} s){': ' + noted if noted else ''}", flush=True)
        return cell

    def client(self, slug):
        cells, client = {}, CLIENTS[slug](self.place)
        for feature, (check, title) in FEATURES.items():
            what = f"{client.name}, {title}"
            if feature in client.lacks:
                cells[feature] = self.say(what, LACKS, time.monotonic(), client.lacks[feature])
            elif feature in client.cannot:
                cells[feature] = self.attempt(what, doubted, check, client, client.cannot[feature])
            else:
                cells[feature] = self.attempt(what, check, client)
        return cells

    def tool(self, slug):
        tool = TOOLS[slug]
        return self.attempt(f"{tool.name}: {tool.what}", tool.check)


class Known(Exception):
    """It did not work, and that is known, with its reason."""


def doubted(place, check, client, why):
    """What is said not to work is tried as well: where it works, the reason has gone."""
    try:
        check(place, client)
    except Failed:
        raise Known(why) from None
    raise Failed(f"it works, and the table says that it does not: {why}")


def wanted(only):
    known = {**{slug: [slug] for slug in (*CLIENTS, *TOOLS)}, **{name: [*one, *two] for name, (one, two) in GROUPS.items()}}
    # a name may be both: what is asked for then is the group
    if not only:
        return [*CLIENTS, *TOOLS]
    names = only.split(",")
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"{', '.join(unknown)}: no client, tool or group of that name; there are {', '.join(known)}")
    return list(dict.fromkeys(slug for name in names for slug in known[name]))


def main():
    parser = argparse.ArgumentParser(prog="clients.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep-log", type=Path, help="a copy of the gateway's log")
    parser.add_argument("--big", action="store_true", help="3 GiB each way with recording on instead of all else: a quarter of an hour, 12 GiB of disk")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        for name, (clients, tools) in GROUPS.items():
            print(f"{name}: {' '.join([*clients, *tools])}")
        return 0
    if not options.binary:
        parser.error("--binary says which gateway; scripts/clients.sh builds one")
    if options.big and (options.only or options.check or options.write):
        parser.error("--big is of no table, and alone")
    chosen, found = [] if options.big else wanted(options.only), {}
    if options.write and options.only:
        parser.error("the README's table is of a whole run: --write without --only")
    with Place(options.binary.resolve()) as place:
        matrix = Matrix(place)
        if options.big:
            matrix.attempt("3 GiB each way with recording on", big.both_ways)
        for slug in chosen:
            found[slug] = matrix.client(slug) if slug in CLIENTS else matrix.tool(slug)
        if options.keep_log:
            shutil.copy(place.dir / f"log-{place.port}", options.keep_log)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if options.write and (matrix.skipped or matrix.failures):
        raise SystemExit("the README's table is of a run in which all was tried and nothing failed")
    if options.write:
        table.write(found)
    stale = table.differences({slug: cells for slug, cells in found.items() if cells != SKIPPED}) if options.check else []
    for line in stale:
        print(f"not in the README's table as this run found it (scripts/clients.sh --write): {line}")
    for failure in matrix.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(f"{len(chosen) or 1} lines, {len(matrix.failures)} failed, {len(matrix.skipped)} skipped")
    return 1 if matrix.failures or stale else 0


if __name__ == "__main__":
    sys.exit(main())
