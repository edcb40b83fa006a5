//! Whose account a session runs in, and the environment it finds there.
//!
//! ```text
//!   container mode, or runAsElevated      the agent's own account
//!   runAsEnabled, agent is root           the named user, never root itself
//!   runAsEnabled, agent is not root       refused
//!   else                                  the agent's own account
//! ```
//!
//! The last line is where this agent differs from the real one, which as root makes an account `ssm-user` with full sudo
//! rights: an emulator must not do that to somebody's machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::config::AgentConfig;

/// The account of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Set if it is not the agent's own.
    pub(super) switch: Option<Switch>,
    /// What `HOME` says, if not what it said to the agent.
    home: Option<PathBuf>,
}

/// Numbers to switch to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

impl Account {
    /// Decides; the error is the agent's sentence.
    pub(super) async fn choose(config: &AgentConfig, run_as: Option<&str>, elevated: bool) -> Result<Self, String> {
        if elevated {
            let home = config.home.clone().unwrap_or_else(|| PathBuf::from("/root"));
            return Ok(Self { switch: None, home: Some(home) });
        }
        if config.container_mode {
            return Ok(Self { switch: None, home: config.home.clone() });
        }
        let Some(name) = run_as else {
            let home = config.home.clone().or_else(|| {
                let own = rustix::process::geteuid();
                if own.is_root() { None } else { user_name(own.as_raw()).map(|name| Path::new("/home").join(name)) }
            });
            return Ok(Self { switch: None, home });
        };
        if name.trim().is_empty() {
            return Err("please set the RunAs default user".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return Err("the agent must run as root to use RunAs".to_owned());
        }
        let unknown = || format!("failed to start pty since RunAs user {name} does not exist");
        let numbers = async |flag: &str| -> Result<Vec<u32>, String> {
            let output = tokio::process::Command::new("id").args([flag, "--", name]).output().await;
            let output = output.map_err(|error| format!("cannot run id: {error}"))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() {
                return Err(unknown());
            }
            text.split_whitespace().map(|number| number.parse().map_err(|_| unknown())).collect()
        };
        let uid = numbers("-u").await?.first().copied().unwrap_or_default();
        let gid = numbers("-g").await?.first().copied().unwrap_or_default();
        if uid == 0 || gid == 0 {
            return Err("invalid uid and gid".to_owned());
        }
        let switch = Switch { uid, gid, groups: numbers("-G").await? };
        Ok(Self { switch: Some(switch), home: Some(Path::new("/home").join(name)) })
    }

    /// The whole environment of a session's program: the agent's own, with what a terminal needs.
    pub(super) fn environment(&self, config: &AgentConfig) -> Vec<(OsString, OsString)> {
        let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let mut set = |name: &str, value: OsString| {
            environment.retain(|(known, _)| known != name);
            environment.push((name.into(), value));
        };
        set("TERM", "xterm-256color".into());
        if std::env::var_os("LANG").is_none_or(|lang| lang.is_empty()) {
            set("LANG", "C.UTF-8".into());
        }
        if let Some(home) = &self.home {
            set("HOME", home.into());
        }
        for (name, value) in &config.env {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), value.clone()));
        }
        environment
    }
}

fn user_name(uid: u32) -> Option<String> {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.or_else(|| std::env::var("USER").ok())
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::config;
    use super::*;

    fn find<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Vec<&'a str> {
        environment.iter().filter(|(known, _)| known == name).filter_map(|(_, value)| value.to_str()).collect()
    }

    #[tokio::test]
    async fn own_account() {
        let mut config = config();
        config.home = Some("/tmp/home".into());
        config.env = vec![("LANG".into(), "xx".into()), ("EXTRA".into(), "1".into())];
        let account = Account::choose(&config, None, false).await.unwrap();
        let environment = account.environment(&config);
        assert_eq!(find(&environment, "TERM"), ["xterm-256color"]);
        assert_eq!(find(&environment, "HOME"), ["/tmp/home"]);
        assert_eq!(find(&environment, "LANG"), ["xx"]);
        assert_eq!(find(&environment, "EXTRA"), ["1"]);
        assert!(account.switch.is_none());
    }

    #[tokio::test]
    async fn run_as_is_refused_where_it_cannot_be() {
        let config = config();
        let refuse = async |name: &str| Account::choose(&config, Some(name), false).await.unwrap_err();
        assert_eq!(refuse(" ").await, "please set the RunAs default user");
        if rustix::process::geteuid().is_root() {
            assert!(refuse("nobody-of-that-name").await.contains("does not exist"));
            assert!(refuse("-u").await.contains("does not exist"));
            assert_eq!(refuse("root").await, "invalid uid and gid");
        } else {
            assert_eq!(refuse("root").await, "the agent must run as root to use RunAs");
        }
    }

    #[tokio::test]
    async fn run_as_a_user_that_is_there() {
        let chosen = Account::choose(&config(), Some("nobody"), false).await;
        if !rustix::process::geteuid().is_root() {
            assert_eq!(chosen.unwrap_err(), "the agent must run as root to use RunAs");
            return;
        }
        let account = chosen.unwrap();
        assert!(account.switch.as_ref().is_some_and(|switch| switch.uid > 0 && switch.gid > 0));
        assert_eq!(find(&account.environment(&config()), "HOME"), ["/home/nobody"]);
    }

    #[tokio::test]
    async fn elevated_means_the_home_of_root() {
        let account = Account::choose(&config(), None, true).await.unwrap();
        assert_eq!(find(&account.environment(&config()), "HOME"), ["/root"]);
    }
}
