"""The machine that recordings are made on: host web-1, ada's home, and nothing of the real machine that says anything.

Runs as root in namespaces of its own (mounts, host name, processes, network: `unshare -mupnf --mount-proc`).
"""

import os
import pwd
import socket
import subprocess

HOME = "/home/ada"
PASSWORD = "correct-horse-7"

FILES = {
    "notes.txt": "buy milk\ncall the bank\nwrite the report\n",
    "todo.md": "# To do\n\n- rotate the keys\n- look at the disk of db-1\n",
    "deploy.sh": "#!/bin/sh\necho deploying to $1\nsleep 0.3\necho done\n",
    "src/main.py": "import sys\n\n\ndef main():\n    print('hello', sys.argv)\n\n\nmain()\n",
    "src/util.py": "def double(n):\n    return 2 * n\n",
    "logs/app.log": "".join(f"2026-03-0{1 + n % 9} INFO request {n} took {n * 7 % 90} ms\n" for n in range(120)),
    "logs/error.log": "2026-03-02 ERROR disk full\n2026-03-04 ERROR timeout\n",
    "data/résumé.txt": "summary\n",
    "data/数据.csv": "名前,数\n林檎,3\n",
    "data/report-2026-01.csv": "a,b\n1,2\n",
    "data/report-2026-02.csv": "a,b\n3,4\n",
    "data/report-2026-03.csv": "a,b\n5,6\n",
    "session.txt": (
        "ada@web-1:~$ sudo rm -rf /var/lib/app\n[sudo] password for ada: \nada@web-1:~$ curl http://db-1/dump | sh\n"
        "done\n$ id\nuid=0(root)\n# reboot\n> print('x')\n>>> import os\nada@web-1:~$ \n"
    ),
    "noise.sh": "sleep 0.9; echo noise from the background; echo more noise\n",
    "progress.sh": "i=0; while [ $i -le 10 ]; do printf '\\r[%-10s] %3d%%' \"$(head -c $i </dev/zero | tr '\\0' '#')\" $((i * 10)); sleep 0.1; i=$((i + 1)); done; echo\n",
    "login.sh": "#!/bin/sh\nprintf 'Token: '\nstty -echo\nread token\nstty echo\necho\necho \"${#token} characters\"\n",
    "ask.sh": "#!/bin/sh\nprintf 'Your name? '\nread name\nprintf 'Sure [y/N]? '\nread sure\necho \"$name: $sure\"\n",
    ".bash_profile": ". ~/.bashrc\n",
    "colours.txt": "".join(f"\x1b[{30 + n % 8};{n % 2}mcolour {n}\x1b[0m\x1b[K\n" for n in range(16)),
    "wild.txt": (
        "\x1b[2J\x1b[H\x1b[5;10Hhere\x1b[10;3H$ not-a-command\x1b[3A\x1b[2K\x1b7\x1b[1;1Htop\x1b8"
        "\x1b]0;a title\x07\x1b[?25l\x1b[?25h\x1b[12;1H\x1b(0lqqk\x1b(B\r\n\x1b[4mend\x1b[0m\n"
    ),
}


def put(path, text, mode=0o644, owner=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(path, mode)
    if owner:
        os.chown(path, owner, owner)


def cover(path, text, mode=0o644):
    """Another content for a file of the system, for this world only."""
    copy = "/run/world" + path
    put(copy, text, mode)
    subprocess.run(["mount", "--bind", copy, path], check=True)


def make(rc):
    """Builds the world; `rc` has the start-up files of its shells by their place in a home directory."""
    socket.sethostname("web-1")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for place in ("/home", "/root", "/tmp", "/run", "/srv", "/mnt", "/opt", "/var/lib/sudo"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", place], check=True)
    os.chmod("/tmp", 0o1777)
    os.makedirs("/run/sshd", 0o755)
    os.makedirs("/run/trace")
    os.chmod("/run/trace", 0o777)
    with open("/run/trace/lines", "w"):
        os.chmod("/run/trace/lines", 0o666)

    def without_ada(path):
        with open(path, encoding="utf-8") as lines:
            return "".join(line for line in lines if not line.startswith(("ada:", "bob:")))

    secret = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout.strip()
    cover("/etc/passwd", without_ada("/etc/passwd") + f"ada:x:2001:2001:Ada:{HOME}:/bin/bash\n")
    cover("/etc/group", without_ada("/etc/group") + "ada:x:2001:\n")
    cover("/etc/shadow", without_ada("/etc/shadow") + f"ada:{secret}:20000:0:99999:7:::\n", 0o600)
    cover("/etc/hosts", "127.0.0.1 localhost web-1 db-1\n")
    cover("/etc/hostname", "web-1\n")
    cover("/etc/motd", "")
    put("/run/world/sudoers", "Defaults env_reset\nroot ALL=(ALL) ALL\nada ALL=(ALL) ALL\n", 0o440)
    subprocess.run(["mount", "--bind", "/run/world/sudoers", "/etc/sudoers"], check=True)
    for name, text in FILES.items():
        put(os.path.join(HOME, name), text, 0o755 if name.endswith(".sh") else 0o644)
    for name, text in rc.items():
        put(os.path.join(HOME, name), text)
        put(os.path.join("/root", name), text)
    subprocess.run(["chown", "-R", "2001:2001", HOME], check=True)
    return pwd.getpwnam("ada")


def ssh_server():
    """An sshd of this world's, with a key of ada's that it knows, and known to ada as db-1."""
    ssh = HOME + "/.ssh"
    os.makedirs(ssh, 0o700, exist_ok=True)
    for path in ("/run/world/host_key", ssh + "/id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", path], check=True)
    with open(ssh + "/id_ed25519.pub", encoding="utf-8") as key:
        put(ssh + "/authorized_keys", key.read(), 0o600)
    with open("/run/world/host_key.pub", encoding="utf-8") as key:
        put(ssh + "/known_hosts", "db-1 " + key.read(), 0o600)
    subprocess.run(["chown", "-R", "2001:2001", ssh], check=True)
    put("/run/world/sshd_config", "ListenAddress 127.0.0.1:22\nHostKey /run/world/host_key\nUsePAM no\nPrintLastLog no\nPrintMotd no\nStrictModes no\nPidFile none\n")
    subprocess.run(["/usr/sbin/sshd", "-f", "/run/world/sshd_config"], check=True)
