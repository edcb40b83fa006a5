//! What is asked of a node's sshd before something runs: a terminal, variables, and what to run. All of it is sent at once, so that a
//! node far away costs one round trip; its answers come in the order of the questions.

use std::time::Duration;

use russh::Pty;
use tokio::time::timeout;

use super::connect::NodeChannel;
use super::error::SshdError;
use super::inbox::Word;
use crate::model::says_nothing;
use crate::transport::channel::{ChannelSetup, PtyRequest};

/// How long it may take to say whether it starts something.
const STARTS: Duration = Duration::from_secs(30);

/// The longest argument that Linux takes (`MAX_ARG_STRLEN`), with room for what is around it.
const LONGEST_LINE: usize = 120 * 1024;

/// What is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Shell,
    Command(Vec<u8>),
    /// Its SFTP server.
    Files,
}

/// What was begun without, which the person is told of once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Without {
    /// A variable that the client set, and the node's sshd does not take.
    pub(super) variables: bool,
}

/// What a question was about.
enum Asked {
    Terminal,
    /// Whether somebody would miss it.
    Variable(bool),
    Start,
}

/// Has it started.
pub(super) async fn begin(channel: &mut NodeChannel, what: &What, setup: &ChannelSetup) -> Result<Without, SshdError> {
    let writer = channel.writer.clone();
    let asking = async move {
        let mut asked = Vec::new();
        if let Some(pty) = &setup.pty {
            let PtyRequest { term, size, modes } = pty;
            let modes: Vec<(Pty, u32)> =
                modes.iter().filter_map(|&(code, value)| Some((Pty::from_u8(code)?, value))).collect();
            let [cols, rows, x, y] = [size.cols, size.rows, size.x_pixels, size.y_pixels].map(u32::from);
            writer.request_pty(true, term, cols, rows, x, y, &modes).await?;
            asked.push(Asked::Terminal);
        }
        for (name, value) in &setup.env {
            // what is no text comes from nobody: the gateway takes none
            let Ok(value) = std::str::from_utf8(value) else { continue };
            writer.set_env(true, name.as_str(), value).await?;
            asked.push(Asked::Variable(!says_nothing(name, value)));
        }
        match what {
            What::Shell => writer.request_shell(true).await?,
            What::Command(line) => writer.exec(true, line.clone()).await?,
            What::Files => writer.request_subsystem(true, "sftp").await?,
        }
        asked.push(Asked::Start);
        Ok::<_, russh::Error>(asked)
    };
    let begun = async {
        let asked = asking.await?;
        let mut without = Without::default();
        for question in asked {
            let done = reply(channel).await?;
            match question {
                Asked::Terminal if !done => return Err(SshdError::NoTerminal),
                Asked::Start if !done && *what == What::Files => return Err(SshdError::NoFiles),
                Asked::Start if !done => return Err(SshdError::NotStarted),
                Asked::Variable(missed) => without.variables |= missed && !done,
                Asked::Terminal | Asked::Start => {}
            }
        }
        Ok(without)
    };
    let late = || SshdError::NoSession("it did not answer in time".to_owned());
    timeout(STARTS, begun).await.unwrap_or_else(|_| Err(late()))
}

/// The next answer. A node says nothing else before it has started something.
async fn reply(channel: &mut NodeChannel) -> Result<bool, SshdError> {
    loop {
        match channel.next().await {
            Word::Reply(done) => return Ok(done),
            Word::Data(_, bytes) => channel.take(bytes.len()),
            Word::Exit(_) => {}
            Word::Closed => return Err(SshdError::NoSession("it closed it at once".to_owned())),
            Word::Lost(why) => return Err(SshdError::Lost(why)),
        }
    }
}

/// The line that has `/bin/sh` run this one, whatever shell the user has: policy has read it as that shell does. Nothing in it means
/// anything to another shell inside its quotes.
pub(super) fn by_bin_sh(line: &[u8]) -> Result<Vec<u8>, SshdError> {
    let is_plain = |byte: &u8| !b"'\\!\n".contains(byte) && *byte != b'\r';
    if line.iter().all(is_plain) && line.len() <= LONGEST_LINE {
        return Ok([b"exec /bin/sh -c '", line, b"'"].concat());
    }
    let octal: String = line.iter().map(|byte| format!("\\0{byte:03o}")).collect();
    // a line's last line feeds, which `$()` takes away, mean nothing
    let text = format!("exec /bin/sh -c 'eval \"$(printf %b \"{octal}\")\"'");
    if text.len() > LONGEST_LINE {
        return Err(SshdError::TooLong(LONGEST_LINE / 5));
    }
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_modelled_shell_gets_the_line_as_it_is_from_any_shell() {
        for line in ["echo a b", "echo 'it''s' \"$HOME\" \\\\ !x", "printf '%s\\n' a\necho b", "echo ${0##*/} $#"] {
            let expected = Command::new("/bin/sh").args(["-c", line]).output().unwrap().stdout;
            let wrapped = String::from_utf8(by_bin_sh(line.as_bytes()).unwrap()).unwrap();
            for shell in ["dash", "bash", "sh"] {
                let ran = Command::new(shell).args(["-c", &wrapped]).output().unwrap();
                assert_eq!(
                    String::from_utf8_lossy(&ran.stdout),
                    String::from_utf8_lossy(&expected),
                    "{shell}: {wrapped}"
                );
            }
        }
        assert!(by_bin_sh(&b"'".repeat(LONGEST_LINE / 5)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_word_arrives(word in "[a-z'\"\\\\!$` é\n]{0,20}") {
            let quoted = format!("printf %s '{}'", word.replace('\'', "'\\''"));
            let wrapped = by_bin_sh(quoted.as_bytes()).unwrap();
            let ran = Command::new("bash").arg("-c").arg(String::from_utf8(wrapped).unwrap()).output().unwrap();
            prop_assert_eq!(String::from_utf8(ran.stdout).unwrap(), word);
        }
    }
}
