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


def text(found):
    lines = rows(found)
    heads = [title for _, title in FEATURES.values()]
    table = ["| client | " + " | ".join(heads) + " |", "|" + " --- |" * (len(heads) + 1)]
    table += [lines[slug] for slug in CLIENTS]
    table += ["", "`–` is what a client has not; *not yet* is what the gateway refuses so far, and the client says so and goes on:", ""]
    table += [f"- {note}" for note in notes()]
    table += ["", "| tool | what it does here | works |", "| --- | --- | --- |"]
    table += [lines[slug] for slug in TOOLS]
    table += ["", "Not tried:", ""]
    table += [f"- {what}: {why}" for what, why in NOT_HERE.items()]
    return "\n".join(table) + "\n"


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
    """Lines of this run that the README does not have as they are."""
    has = set(kept()[1].splitlines())
    return [line for line in rows(found).values() if line not in has]
