# How every program begins: the right Python, the options, the right user.
import os
import pwd
import sys

from common import die, options, unquote


def become(name):
    # only a root agent comes here with a user still to become; others went through sudo
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir
    os.environ.pop("XDG_RUNTIME_DIR", None)


def begin():
    # the arguments are the options, what to run, and the text of the sh helper
    if sys.version_info < (3, 6):
        # whatever stands before this must compile and run in the oldest Python 3 that a node may have
        opts, what, text = sys.argv[1:4]
        os.execv("/bin/sh", ["sh", "-c", text, "portcullis", text, opts, what])
    opts = options(sys.argv[1])
    # before this is another user, and only for reading: not every node lets everybody have it
    null = os.open("/dev/null", os.O_RDONLY)
    if "u" in opts and os.getuid() == 0:
        try:
            become(unquote(opts["u"]).decode())
        except KeyError:
            die("there is no user %s on this node" % unquote(opts["u"]).decode(), 67)
    return opts, null
