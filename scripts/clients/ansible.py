"""Ansible with the inventory of the README: its modules, a playbook of 20 tasks, and 50 commands whose program comes on standard input."""

from .client import expect, ok
from .openssh import OpenSsh


def inventory(place, work):
    config = OpenSsh(place).config
    (work / "inventory").write_text(f"demo ansible_user={place.login} ansible_python_interpreter=auto_silent "
                                    f"ansible_ssh_common_args='-F \"{config}\"'\n")


def environment(work, pipelining):
    return {"ANSIBLE_HOST_KEY_CHECKING": "true", "ANSIBLE_LOCAL_TEMP": str(work / "local"), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(work / "cp"),
            "ANSIBLE_PIPELINING": "true" if pipelining else "false", "ANSIBLE_REMOTE_TEMP": str(work / "remote"), "ANSIBLE_CONFIG": str(work / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1"}


def play(place, name, tasks, pipelining=False, timeout=240):
    work = place.fresh(name)
    inventory(place, work)
    (work / "ansible.cfg").touch()
    (work / "template").write_text("{{ 6 * 7 }} for {{ inventory_hostname }}\n")
    (work / "play.yml").write_text("- hosts: demo\n  gather_facts: false\n  tasks:\n" + "".join(f"    - {task}\n" for task in tasks(work)))
    done = ok(["ansible-playbook", "-i", "inventory", "play.yml"], None, cwd=work, env=environment(work, pipelining), timeout=timeout)
    expect(b"failed=0" in done.out and b"unreachable=0" in done.out, done)
    return work, done


def modules(place):
    def tasks(work):
        return ["ping:", f"copy: {{content: copied, dest: '{work}/copied', mode: '0640'}}", f"template: {{src: template, dest: '{work}/templated'}}",
                f"fetch: {{src: '{work}/templated', dest: '{work}/fetched', flat: true}}", f"file: {{path: '{work}/made', state: directory}}"]

    for pipelining in (False, True):
        work, _ = play(place, f"ansible-modules-{pipelining}", tasks, pipelining)
        expect((work / "copied").read_text() == "copied" and (work / "copied").stat().st_mode & 0o777 == 0o640, "copied otherwise")
        expect((work / "fetched").read_text() == "42 for demo\n", "fetched otherwise")
        expect((work / "made").is_dir(), "not made")


def twenty(pipelining):
    def tasks(work):
        for number in range(10):
            yield f"copy: {{content: 'n{number}', dest: '{work}/{number}'}}"
            yield f"command: cat {work}/{number}\n      register: said\n      failed_when: said.stdout != 'n{number}'"

    def check(place):
        _, done = play(place, f"ansible-twenty-{pipelining}", tasks, pipelining)
        expect(b"ok=20" in done.out, done)
        return f"{done.took:.0f} s"

    return check


def pings(place):
    """Where early input is lost, a module's program is empty, and so is what it says."""
    def tasks(work):
        return ["ping: {data: '{{ item }}'}\n      loop: '{{ range(50) | list }}'\n      register: said\n      failed_when: said.ping | int != item"]

    play(place, "ansible-pings", tasks, pipelining=True)
