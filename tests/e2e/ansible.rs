//! Ansible with the inventory that anybody would write: the login is the `ansible_user`.

use std::process::Command;

use crate::harness::{Demo, PATIENCE, run};

#[test]
fn a_login_as_ansibles_user_has_the_nodes_home() {
    let demo = Demo::shared(&["--faithful"]);
    let dir = tempfile::tempdir().unwrap();
    let config = demo.dir().join("ssh_config");
    std::fs::write(
        dir.path().join("inventory"),
        format!(
            "demo ansible_user=demo+ticket-42 ansible_python_interpreter=auto_silent \
             ansible_ssh_common_args='-F \"{}\"'\n",
            config.display()
        ),
    )
    .unwrap();
    std::fs::write(
        dir.path().join("play.yml"),
        format!(
            "- hosts: demo\n  gather_facts: false\n  tasks:\n\
             \x20 - copy: {{content: copied, dest: '{0}/copied'}}\n\
             \x20 - command: sh -c 'echo later >{0}/later'\n    async: 60\n    poll: 1\n\
             \x20 - command: pwd\n    register: here\n\
             \x20 - copy: {{content: '{{{{ here.stdout }}}}', dest: '{0}/home'}}\n",
            dir.path().display()
        ),
    )
    .unwrap();
    let mut ansible = Command::new("ansible-playbook");
    ansible.args(["-i", "inventory", "play.yml"]).current_dir(dir.path()).env("ANSIBLE_HOST_KEY_CHECKING", "true");
    ansible
        .env("ANSIBLE_LOCAL_TEMP", dir.path().join("local"))
        .env("ANSIBLE_SSH_CONTROL_PATH_DIR", dir.path().join("cp"));
    let played = run(&mut ansible, b"", PATIENCE).ok();
    assert!(played.out().contains("failed=0") && !played.out().contains("unreachable=1"), "{played}");
    let written = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((written("copied").as_str(), written("later").as_str()), ("copied", "later\n"));
    // where the person is at home, there is no directory of the login's name
    let home = std::path::PathBuf::from(written("home"));
    assert!(!home.join("~demo+ticket-42").exists());
    // and the log has what was run
    let events = std::fs::read_to_string(demo.dir().join("evidence/events.jsonl")).unwrap();
    assert!(events.contains("/bin/sh -c 'echo ~ && sleep 0'"), "the question is recorded as it was asked of the node");
    assert!(!events.contains("echo '\\\"'\\\"'~demo"), "and not as it came");
}
