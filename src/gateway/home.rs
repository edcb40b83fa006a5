//! A question for the home of the login: `echo ~<login>`, which with sshd is the user's name.
//!
//! Ansible asks it before anything else, by the name that it was told to log in with, and goes on with what comes back; a
//! shell on the node knows no user of that name and gives the word back, so files landed in a directory called
//! `~web-1+ticket`. Exactly this question is asked of the node with `~` in the name's place:
//!
//! ```text
//!  /bin/sh -c 'echo '"'"'~web-1+ticket'"'"' && sleep 0'   ─▶   /bin/sh -c 'echo ~ && sleep 0'
//!  echo ~web-1+ticket                                     ─▶   echo ~
//! ```
//!
//! What is run is what policy decides on and what the log has. Every other command goes to the node as it came.

use crate::identity::Login;
use crate::model::{ShellWord, shell_words};

/// What Ansible lets follow the question.
const PAUSE: &[u8] = b" && sleep 0";

/// The command to run in the place of one that asks for the home of this login; `None` for every other command.
pub(super) fn asked_for(command: &[u8], login: &Login) -> Option<Vec<u8>> {
    let words = shell_words(command)?;
    let words: Vec<&[u8]> = words.iter().map(|word| &word.bytes[..]).collect();
    let [shell, b"-c", script] = words[..] else { return question(command, login) };
    let plain = shell.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte));
    let script = match script.strip_suffix(PAUSE) {
        Some(rest) => [&question(rest, login)?[..], PAUSE].concat(),
        None => question(script, login)?,
    };
    plain.then(|| [shell, b" -c '", &script[..], b"'"].concat())
}

fn question(command: &[u8], login: &Login) -> Option<Vec<u8>> {
    let words = shell_words(command)?;
    let [ShellWord { bytes: echo, .. }, ShellWord { bytes: home, .. }] = &words[..] else { return None };
    let asked = echo == b"echo" && home.strip_prefix(b"~").is_some_and(|name| login.is_written(name));
    asked.then(|| b"echo ~".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(login: &str, command: &str) -> Option<String> {
        asked_for(command.as_bytes(), &Login::parse(login).unwrap()).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn the_question_for_the_logins_home_is_asked_of_the_node_as_one() {
        let quoted = r#"/bin/sh -c 'echo '"'"'~web-1+ticket'"'"' && sleep 0'"#;
        assert_eq!(run("web-1+ticket", quoted).as_deref(), Some("/bin/sh -c 'echo ~ && sleep 0'"));
        assert_eq!(
            run("web-1", "/bin/sh -c 'echo ~web-1 && sleep 0'").as_deref(),
            Some("/bin/sh -c 'echo ~ && sleep 0'")
        );
        assert_eq!(run("web-1", "bash -c 'echo ~web-1'").as_deref(), Some("bash -c 'echo ~'"));
        for login in ["root%web-1", "root@web-1", "ada/root%web-1+a b"] {
            assert_eq!(run(login, &format!("echo '~{login}'")).as_deref(), Some("echo ~"), "{login}");
        }
        assert_eq!(run("root%web-1", "echo ~root@web-1").as_deref(), Some("echo ~"));
    }

    #[test]
    fn no_other_command_is_touched() {
        for command in [
            "echo ~",
            "echo ~web-2",
            "echo ~web-1/x",
            "echo ~web-1; id",
            "echo ~web-1 && id",
            "echo ~web-1 $(id)",
            "echo a ~web-1",
            "ls ~web-1",
            "/bin/sh -c 'echo ~web-1 && sleep 1'",
            "/bin/sh -c 'echo ~web-1 && sleep 0' x",
            "/bin/sh -c 'echo ~web-1 && sleep 0; id'",
            "/bin/sh -x -c 'echo ~web-1'",
            "'/bin/s h' -c 'echo ~web-1'",
            "/bin/sh -c '/bin/sh -c \"echo ~web-1\"'",
            "",
        ] {
            assert_eq!(run("web-1", command), None, "{command}");
        }
    }
}
