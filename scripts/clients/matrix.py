"""What is tried: clients, feature by feature; and tools, each with what it is there for."""

from . import ansible, database, early, ide, openssh, putty, tools
from .dropbear import Dropbear
from .libraries import AsyncSsh, Ganymed, Jenkins, Jsch, Libssh, Paramiko, Ssh2, Trilead, XCrypto

CLIENTS = {client.slug: client for client in (openssh.OpenSsh, putty.Putty, Dropbear, Paramiko, AsyncSsh, Libssh, Ssh2, XCrypto, Jsch, Trilead,
                                               Jenkins, Ganymed)}


class Tool:
    """What is done with a tool."""

    def __init__(self, name, what, check):
        self.name, self.what, self.check = name, what, check


TOOLS = {
    "multiplexed": Tool("OpenSSH, ControlMaster", "200 commands through one connection, 8 at once: every exit status is its own", openssh.multiplexed),
    "forwards": Tool("OpenSSH, ControlMaster", "`-O forward` of four ports, twelve connections at once beside commands, `-W`, `-O cancel`", openssh.forwards),
    "background": Tool("OpenSSH", "`ssh -T -N -f -n`", openssh.background),
    "refused": Tool("OpenSSH, `-D`", "a destination that is refused is so within 50 ms, and the connection goes on", ide.refused_at_once),
    "bursts": Tool("PuTTY, plink `-L`", "4 MiB to a reader that takes little, in bursts; others beside it do not wait", putty.bursts),
    "early": Tool("Paramiko, x/crypto", "64 KiB of input that is sent before the command is confirmed arrive whole", early.early),
    "gaps": Tool("Paramiko", "20 commands one after the other on one connection: at most 100 ms from the end of one to where the next begins, each time", early.gaps),
    "curl-sftp": Tool("curl `sftp://` (libssh2)", "up, down, a part, list, rename, what is not there", tools.curl_sftp),
    "curl-scp": Tool("curl `scp://` (libssh2)", "up, down, what is not there", tools.curl_scp),
    "rsync": Tool("rsync", "a tree up and down, what changed, `--delete`, `--checksum`", tools.rsync),
    "git": Tool("git", "push, clone by protocol version 2, pull, what is not there", tools.git),
    "unison": Tool("unison", "two trees become one, both ways", tools.unison),
    "lftp": Tool("lftp", "a tree up, and down by four at once, rename, list", tools.lftp),
    "rclone": Tool("rclone", "sync, check by hashes that the node makes, copy, cat, move", tools.rclone),
    "sshfs": Tool("sshfs", "a tree written, read ahead, renamed, appended, cut, removed; free space: its FUSE requests from the test anywhere, and mounted where the machine allows it", tools.sshfs),
    "restic": Tool("restic over SFTP", "init, backup, check of all data, restore", tools.restic),
    "sshuttle": Tool("sshuttle", "a connection to an address behind the node", tools.sshuttle),
    "ansible": Tool("Ansible", "ping, copy, template, fetch, file; pipelining off and on", ansible.modules),
    "ansible-20": Tool("Ansible", "a playbook of 20 tasks", ansible.twenty(False)),
    "ansible-20-pipelining": Tool("Ansible, pipelining", "a playbook of 20 tasks", ansible.twenty(True)),
    "ansible-pings": Tool("Ansible, pipelining", "50 pings: the module comes on standard input each time", ansible.pings),
    "vscode": Tool("VS Code Remote-SSH", "the install script on standard input, five dials; its server outlives them", ide.vscode_install),
    "vscode-forward": Tool("VS Code Remote-SSH", "its server through `-D`, eight channels at once", ide.vscode_forward),
    "jetbrains": Tool("as JetBrains' IDEs dial (JSch)", "probes, the backend by SFTP, its start, its state", ide.jetbrains),
    "dbeaver": Tool("as DBeaver dials (JSch)", "a local port, keep-alives, a database that speaks first, twice", ide.dbeaver),
    "dbeaver-sql": Tool("as DBeaver dials (JSch, PostgreSQL's JDBC)", "three connections through a local port: a long result by pages, a blob, a statement that is stopped, a pause", database.dbeaver),
    "packer": Tool("as Packer's communicator (x/crypto)", "keep-alives, a script and a directory by scp, its run with and without a terminal, its exit status", ide.packer),
}

# which can't be tried here, and why; they have no row of their own that claims anything
NOT_HERE = {
    "JSch 0.1.54": "Debian has 0.1.55, which says 0.1.54 of itself",
    "mwiede's JSch, SSHJ, Apache MINA SSHD": "they are on Maven Central alone, which what builds and tests this does not reach; no package of "
    "Debian, PyPI or npm was found whose description names them",
    "J2SSH (Java)": "it knows the key exchange of group 1 and 3DES or Blowfish alone, which are spoken nowhere here",
    "VS Code, JetBrains' IDEs, DBeaver, Packer": "programs with windows or of vendors' own downloads: what they send is sent by the clients that they are made of",
    "WinSCP, FileZilla, MobaXterm": "programs with windows; WinSCP and FileZilla are made of PuTTY's code",
}

GROUPS = {
    "openssh": (["openssh"], ["multiplexed", "forwards", "background", "refused"]),
    "putty": (["putty", "dropbear"], ["bursts"]),
    "python": (["paramiko", "asyncssh", "libssh"], ["early", "gaps"]),
    "others": (["ssh2", "xcrypto"], ["packer"]),
    "java": (["jsch", "trilead", "jenkins", "ganymed"], ["jetbrains", "dbeaver", "dbeaver-sql"]),
    "files": ([], ["curl-sftp", "curl-scp", "rsync", "git", "unison", "lftp", "rclone", "sshfs", "restic", "sshuttle"]),
    "ansible": ([], ["ansible", "ansible-20", "ansible-20-pipelining", "ansible-pings"]),
    "editors": ([], ["vscode", "vscode-forward"]),
}

if left_out := {*CLIENTS, *TOOLS} - {slug for clients, its_tools in GROUPS.values() for slug in (*clients, *its_tools)}:
    raise AssertionError(f"in no group: {left_out}")
