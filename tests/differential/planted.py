"""The files that a comparison begins with on both sides, and what is in them afterwards."""

import os
import stat


def plant(root, directories, files):
    for name in directories:
        os.mkdir(os.path.join(root, name))
    os.chmod(os.path.join(root, b"sticky"), 0o1777)
    for name in files:
        with open(os.path.join(root, name), "wb") as f:
            f.write({b"empty": b"", b"big": bytes(range(256)) * 1200}.get(name, b"content of " + name))
    os.chmod(os.path.join(root, b"readonly"), 0o400)


def content(path, mode):
    """The bytes of a file, or where a link leads; None for the rest."""
    if stat.S_ISREG(mode):
        with open(path, "rb") as f:
            return f.read()
    return os.readlink(path) if stat.S_ISLNK(mode) else None
