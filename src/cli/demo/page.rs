//! What the demo says when it is ready: a short page of commands to copy, then one line for machines.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::dir::TRAIL;

/// The page and the `ready` line.
pub(super) fn page(dir: &Path, gateway: SocketAddr) -> String {
    let config = shell_word(&dir.join("ssh_config").display().to_string());
    let mut page = String::new();
    let _ = write!(
        page,
        "\
Three nodes, all of them this machine, as you: demo, web-1 (env=dev), db-1 (env=prod). In another terminal:

  ssh -F {config} demo
  ssh -F {config} demo 'uname -a; exit 3'; echo $?
  scp -F {config} README.md demo:/tmp/
  sftp -F {config} demo
  ssh -F {config} gate whoami

Policies say who may do what: you are on call, ada is a developer. She is refused in production, you are asked for
a ticket there (INC-1234 is one) and get in, and AWS has a record of who, where and why:

  ssh -F {config} -i {ada} web-1 uptime
  ssh -F {config} -i {ada} db-1 uptime
  ssh -F {config} db-1
  ssh -F {config} db-1+INC-1234@gate uptime
  grep StartSession {trail} | tail -n 1

No sshd is involved, everything goes over the Session Manager protocol; IAM lets you start sessions, in a role of
yours, and not the gateway.
Policies are in {policies}, what was done is in {evidence}

ready: listening on {gateway}; Ctrl-C ends the demo
",
        ada = shell_word(&dir.join("ada_key").display().to_string()),
        policies = shell_word(&dir.join("policies").display().to_string()),
        evidence = shell_word(&dir.join("evidence/events.jsonl").display().to_string()),
        trail = shell_word(&dir.join(TRAIL).display().to_string()),
    );
    page
}

/// A word as a shell reads it back.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_last_line_is_the_ready_line_and_paths_are_words() {
        let page = page(Path::new("/home/it's me/demo"), "127.0.0.1:2222".parse().unwrap());
        assert!(page.lines().last().unwrap().starts_with("ready: listening on 127.0.0.1:2222"));
        assert!(page.contains(r"ssh -F '/home/it'\''s me/demo/ssh_config' demo"), "{page}");
    }
}
