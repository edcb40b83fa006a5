"""The tables of the README: what a run found, as Markdown between two marks."""

from .features import FEATURES
from .matrix import CLIENTS, NOT_HERE, TOOLS
from .place import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- clients: made by scripts/clients.sh --write -->\n", "<!-- clients: end -->\n"


def rows(found):
    """By slug, each the line that the table has for it."""
    lines = {}
    for slug, client in CLIENTS.items():
        if slug in found:
            lines[slug] = f"| {client.name} | " + " | ".join(found[slug][feature] for feature in FEATURES) + " |"
    for slug, tool in TOOLS.items():
        if slug in found:
            lines[slug] = f"| {tool.name} | {tool.what} | {found[slug]} |"
    return lines


def notes():
    """Why a client has not, or can't, what its line says so of."""
    by_reason = {}
    for client in CLIENTS.values():
        for feature, why in {**client.lacks, **client.cannot}.items():
            by_reason.setdefault(f"{FEATURES[feature][1]}: {why}", []).append(client.name)
    return [f"{', '.join(names)}: no {reason}" for reason, names in by_reason.items()]


def frame():
    """What of the tables no run decides: what stands before, between and after their lines."""
    heads = [title for _, title in FEATURES.values()]
    first = ["| client | " + " | ".join(heads) + " |", "|" + " --- |" * (len(heads) + 1)]
    between = ["", "`–` is what a client has not.", ""]
    between += [f"- {note}" for note in notes()]
    between += ["", "| tool | what it does here | works |", "| --- | --- | --- |"]
    last = ["", "Not tried:", "", *(f"- {what}: {why}" for what, why in NOT_HERE.items())]
    return first, between, last


def text(found):
    lines, (first, between, last) = rows(found), frame()
    return "\n".join([*first, *(lines[slug] for slug in CLIENTS), *between, *(lines[slug] for slug in TOOLS), *last]) + "\n"


def kept():
    """What the README has between the marks."""
    before, _, rest = README.read_text().partition(BEGIN)
    table, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{README} has no place for the table: {BEGIN.strip()} … {END.strip()}")
    return before, table, after


def write(found):
    before, _, after = kept()
    README.write_text(before + BEGIN + text(found) + END + after)


def differences(found):
    """Lines of this run that the README does not have as they are, and what it has beside them that it should not."""
    has = kept()[1].splitlines()
    around = [line for part in frame() for line in part]
    wrong = [line for line in [*rows(found).values(), *around] if line not in has]
    if len(has) != len(around) + len(CLIENTS) + len(TOOLS):
        wrong.append("a line that no client or tool has")
    return wrong
