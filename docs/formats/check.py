"""The vectors beside this, checked without any code of Portcullis: signed notes, trees, fingerprints and files' hashes.

It needs Python's `cryptography`. It follows docs/formats.md, C2SP's signed-note and tlog-checkpoint, and RFC 6962; it is no
`portcullis verify`, and says only whether all is right.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\1" + root(leaves[:k]) + root(leaves[k:]))


def opened(note: str, key: str) -> list[str]:
    """The lines of a note's text, if the key has signed it."""
    name, key_id, encoded = key.split("+", 2)
    public = base64.b64decode(encoded, validate=True)
    assert public[0] == 1 and sha256(f"{name}\n".encode() + public)[:4].hex() == key_id
    text, signature = note.split("\n\n")
    dash, signer, encoded = signature.rstrip("\n").split(" ")
    signed = base64.b64decode(encoded, validate=True)
    assert (dash, signer, signed[:4].hex()) == ("—", name, key_id)
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(signed[4:], f"{text}\n".encode())
    return text.split("\n")


def checkpoints(path: Path, key: str, trees: dict[str, list[bytes]]) -> list[list[str]]:
    """The extension lines of each checkpoint of a file, once its place and its tree are right."""
    parts = path.read_text().rstrip("\n").split("\n\n")
    notes = [f"{text}\n\n{signature}\n" for text, signature in zip(parts[::2], parts[1::2], strict=True)]
    previous, found = "none", []
    for note in notes:
        origin, size, tree, time, before, *more = opened(note, key)
        assert base64.b64decode(tree, validate=True) == root(trees[origin][: int(size)])
        assert time.startswith("time ") and before == f"previous {previous}"
        previous = base64.b64encode(sha256(note.encode())).decode()
        found.append(more)
    return found


def said(line: bytes, session: str, file: str, number: int, key: bytes) -> bytes:
    """What a line of an encrypted file says: a JWE (RFC 7516) in its compact form, for that place."""
    header, wrapped, iv, ciphertext, tag = line.split(b".")
    place = {"alg": "dir", "enc": "A256GCM", "kid": session, "file": file, "line": number}
    assert bytes64(header) == json.dumps(place, separators=(",", ":")).encode() and wrapped == b""
    return AESGCM(key).decrypt(bytes64(iv), bytes64(ciphertext) + bytes64(tag), header)


def bytes64(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def plain(folder: Path, file: str, key: bytes) -> bytes:
    """What an encrypted file says."""
    lines = (folder / file).read_bytes().removesuffix(b"\n").split(b"\n")
    return b"".join(said(line, folder.name, file, number, key) for number, line in enumerate(lines, 1))


def events(folder: Path, text: bytes | None = None) -> list[bytes]:
    """The lines of events.jsonl, once each has its fingerprint and names the one before."""
    text = text or (folder / "events.jsonl").read_bytes()
    lines = text.removesuffix(b"\n").split(b"\n")
    before, time = None, 0
    for number, line in enumerate(lines, 1):
        event = json.loads(line)
        own = event["attestation"]["fingerprint"]["value"]
        ending = f',"fingerprint":{{"algorithm_id":3,"value":"{own}"}}}}}}'.encode()
        assert line.endswith(ending) and sha256(line.removesuffix(ending) + b"}}").hex() == own
        named = event["attestation"].get("prev_event", {"fingerprint": {"value": None}})
        assert named["fingerprint"]["value"] == before
        assert event["attestation"]["chain_uid"] == folder.name
        assert event["metadata"]["sequence"] == number and event["time"] >= time
        before, time = own, event["time"]
    return lines


def main(here: Path) -> None:
    key = (here / "key.pub").read_text().strip()
    name = key.split("+")[0]
    [folder] = (here / "session").iterdir()
    heads = checkpoints(folder / "checkpoints", key, {f"{name}/session/{folder.name}": events(folder)})
    assert [more[-1] == "final" for more in heads] == [False] * (len(heads) - 1) + [True]
    for more in heads:
        for line in more[: len(more) - (more[-1] == "final")]:
            word, file, length, digest = line.split(" ")
            data = (folder / file).read_bytes()[: int(length)]
            assert (word, len(data)) == ("file", int(length))
            assert base64.b64encode(sha256(data)).decode() == digest
    for entry in json.loads((folder / "manifest.json").read_text())["files"]:
        data = (folder / entry["name"]).read_bytes()
        assert (len(data), sha256(data).hex()) == (entry["bytes"], entry["sha256"])

    # of this one the key is not wrapped by anybody, and stands where a wrapped one does
    [encrypted] = (here / "encrypted").iterdir()
    data_key = base64.b64decode(json.loads((encrypted / "key.json").read_text())["wrapped"])
    for file in ("events.jsonl", "terminal.cast", "commands.jsonl", "files.jsonl", "stdout.head"):
        assert plain(encrypted, file, data_key) == (folder / file).read_bytes()
    lines = (encrypted / "events.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")
    checkpoints(encrypted / "checkpoints", key, {f"{name}/session/{encrypted.name}": lines})
    events(encrypted, plain(encrypted, "events.jsonl", data_key))
    private = json.loads((encrypted / "manifest.json").read_text())["private"].encode()
    assert json.loads(said(private, encrypted.name, "manifest.json", 1, data_key))["command"] == "make 1"

    trees: dict[str, list[bytes]] = {}
    before = None
    for line in (here / "journal" / "events.jsonl").read_bytes().removesuffix(b"\n").split(b"\n"):
        event = json.loads(line)
        tree = trees.setdefault(f"{name}/journal/{event['run']}", [])
        assert event.get("prev") == before and event["seq"] == len(tree) + 1
        tree.append(line)
        before = sha256(line).hex()
    checkpoints(here / "journal" / "events.checkpoints", key, trees)
    origin, size, tree, *_ = opened((here / "journal" / "anchor").read_text(), key)
    assert base64.b64decode(tree) == root(trees[origin][: int(size)])
    print("all is as it should be")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
