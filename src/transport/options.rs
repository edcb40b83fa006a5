//! The `options` parameter of the lanes' documents: how the helper is to run. `key=value;…`, with everything outside
//! `[A-Za-z0-9_.-]` percent-encoded, so that neither the agent nor a shell finds anything in it to interpret.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::channel::{Addresses, ChannelSetup, PtyRequest};
use super::environment::ByWay;
use super::helper::link::LEASE;
use super::helper::output_window::WIDEST_OUTPUT;
use crate::config::Helper;

/// What a helper owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// A shell or a command.
    Command,
    /// A file service.
    Files,
    /// A relay.
    Relay,
}

/// The options of one channel; the lanes differ in their role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    job: Job,
    /// What to run, with the terminal, the environment and the user.
    run: String,
    /// What every lane needs: the user and the choice of helper.
    common: String,
    /// How the name of the helper's directory begins. Its end is the node's to make: whoever reads these options on the node
    /// must not be able to take the name first.
    directory: String,
    /// Whether somebody types what is run, and reads what it says.
    interactive: bool,
    /// Whether data may be deflated on its way.
    compress: bool,
    /// How much output may be sent before the gateway grants more.
    credit: u32,
}

impl Options {
    /// The options of the user's login shell, in a directory of this (random) name.
    pub(super) fn shell(
        setup: &ChannelSetup,
        variables: &ByWay,
        os_user: Option<&str>,
        helper: Helper,
        directory: String,
    ) -> Self {
        let run = run("w=shell", setup, variables);
        Self::new(Job::Command, run, setup.pty.is_some(), common(os_user, helper), directory)
    }

    /// The options of a command.
    pub(super) fn command(
        setup: &ChannelSetup,
        variables: &ByWay,
        os_user: Option<&str>,
        helper: Helper,
        directory: String,
    ) -> Self {
        let run = run("w=command", setup, variables);
        Self::new(Job::Command, run, setup.pty.is_some(), common(os_user, helper), directory)
    }

    /// The options of a file service.
    pub(super) fn files(os_user: Option<&str>, helper: Helper, directory: String) -> Self {
        Self::new(Job::Files, "w=files".to_owned(), false, common(os_user, helper), directory)
    }

    /// The options of a relay.
    pub(super) fn relay(os_user: Option<&str>, helper: Helper, directory: String) -> Self {
        Self::new(Job::Relay, "w=relay".to_owned(), false, common(os_user, helper), directory)
    }

    fn new(job: Job, run: String, interactive: bool, common: String, directory: String) -> Self {
        Self { job, run, common, directory, interactive, compress: false, credit: WIDEST_OUTPUT }
    }

    /// The same line run by `/bin/sh`, whatever the user's own shell is: policy has read it as that shell does.
    pub(super) fn by_bin_sh(mut self) -> Self {
        self.run.push_str(";s=sh");
        self
    }

    /// The same where data may be deflated on its way. That of a terminal is not: there it is little, and what is typed and
    /// what is secret stand side by side.
    pub(super) fn compressed(self, allowed: bool) -> Self {
        Self { compress: allowed && !self.interactive, ..self }
    }

    /// The same with so much output before the gateway grants more.
    pub(super) fn with_credit(self, credit: u32) -> Self {
        Self { credit, ..self }
    }

    /// What they start.
    pub(super) fn job(&self) -> Job {
        self.job
    }

    /// How it is to be run, for a helper that is there already.
    pub(super) fn how_to_run(&self) -> &str {
        &self.run
    }

    /// For the lane that starts the helper.
    pub(super) fn start(&self, role: &str) -> String {
        let Self { run, common, directory, credit, .. } = self;
        let deflate = if self.compress { ";z=1" } else { "" };
        format!("v=1;r={role};d={directory};c={credit};l={};{run}{deflate}{common}", LEASE.as_secs())
    }

    /// For a lane that joins it. `directory` is the helper's own word for where it is, if it was heard.
    pub(super) fn attach(&self, role: &str, directory: Option<&str>, received: u32) -> String {
        format!("v=1;r={role};d={};a={received}{}", directory.unwrap_or(&self.directory), self.common)
    }

    /// The same in another directory: the first try may have left one.
    pub(super) fn elsewhere(&self) -> Self {
        Self { directory: format!("{}b", self.directory), ..self.clone() }
    }
}

/// What is run, with its terminal or pipes and its environment.
fn run(what: &str, setup: &ChannelSetup, variables: &ByWay) -> String {
    let mut run = what.to_owned();
    if let Some(pty) = &setup.pty {
        push_terminal(&mut run, pty);
    } else if setup.stdin_closed {
        run.push_str(";n=1");
    }
    if !variables.quick.is_empty() {
        let items = variables.quick.iter().map(|(name, value)| format!("{}:{}", encode(name), encode(value)));
        let _ = write!(run, ";e={}", items.collect::<Vec<_>>().join(","));
    }
    if variables.over_lane.is_some() {
        run.push_str(";ew=1");
    }
    if let Some(addresses) = setup.addresses {
        push_addresses(&mut run, addresses);
    }
    run
}

fn push_addresses(run: &mut String, addresses: Addresses) {
    let ends = match addresses {
        // as IPv4, also where one listener takes both
        Addresses::Known { client, gateway } => {
            [client, gateway].map(|end| format!("{},{}", end.ip().to_canonical(), end.port()))
        }
        // sshd's own words where there is no connection that it knows
        Addresses::Hidden => ["UNKNOWN,65535", "UNKNOWN,65535"].map(str::to_owned),
    };
    let _ = write!(run, ";sc={}", ends.join(","));
}

fn common(os_user: Option<&str>, helper: Helper) -> String {
    let mut common = String::new();
    if helper == Helper::Sh {
        common.push_str(";h=sh");
    }
    if let Some(user) = os_user {
        let _ = write!(common, ";u={}", encode(user));
    }
    common
}

fn push_terminal(run: &mut String, pty: &PtyRequest) {
    let size = pty.size;
    let _ = write!(run, ";t={},{},{},{}", size.cols, size.rows, size.x_pixels, size.y_pixels);
    let _ = write!(run, ";tn={}", encode(&pty.term));
    // each once, the last that was said of it, and no more of it than a termios has: a character or a switch
    let modes: BTreeMap<u8, u32> = pty.modes.iter().map(|&(opcode, value)| (opcode, value.min(255))).collect();
    let modes: Vec<String> = modes.iter().map(|(opcode, value)| format!("{opcode}:{value}")).collect();
    if !modes.is_empty() {
        let _ = write!(run, ";m={}", modes.join(","));
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02x}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WindowSize;
    use crate::transport::environment::by_way;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_s_options() {
        let pty = PtyRequest {
            term: "xterm-256color".into(),
            size: WindowSize { cols: 80, rows: 24, x_pixels: 0, y_pixels: 0 },
            modes: vec![(3, 127), (53, 0)],
        };
        let env = vec![("LANG".into(), "C.UTF-8".into())];
        let [client, gateway] = ["[::ffff:192.0.2.7]:50022", "[2001:db8::1]:22"].map(|end| end.parse().unwrap());
        let addresses = Some(Addresses::Known { client, gateway });
        let setup = ChannelSetup { pty: Some(pty), env, addresses, stdin_closed: false };
        let options = Options::shell(&setup, &by_way(&setup.env), Some("ec2-user"), Helper::Sh, "ab12".into());
        assert_eq!(
            options.start("out"),
            "v=1;r=out;d=ab12;c=2097152;l=48;w=shell;t=80,24,0,0;tn=xterm-256color;m=3:127,53:0;e=LANG:C.UTF-8\
             ;sc=192.0.2.7,50022,2001:db8::1,22;h=sh;u=ec2-user"
        );
        assert_eq!(options.attach("in", Some("%2frun"), 0), "v=1;r=in;d=%2frun;a=0;h=sh;u=ec2-user");
        assert_eq!(options.clone().compressed(true), options);
    }

    #[test]
    fn what_is_no_terminal_s_may_be_deflated_where_that_is_allowed() {
        let command = Options::command(&ChannelSetup::default(), &ByWay::default(), None, Helper::Auto, "ab".into());
        for options in [command, Options::files(None, Helper::Auto, "ab".into())] {
            assert!(options.clone().compressed(true).start("out").contains(";z=1"));
            assert!(!options.compressed(false).start("out").contains(";z="));
        }
    }

    /// With the program itself they are the parameter of the one-lane rung, of which AWS takes 64 KiB.
    #[test]
    fn whatever_a_client_sets_the_options_stay_short() {
        let size = WindowSize { cols: 65535, rows: 65535, x_pixels: 65535, y_pixels: 65535 };
        let modes = (0..=255).chain(0..=255).map(|opcode| (opcode, u32::MAX)).collect();
        let pty = PtyRequest { term: "x".repeat(64), size, modes };
        let names = (0..100).map(|n| (format!("LC_{n}"), vec![b'%'; 250]));
        let locale = ["LANG", "LC_ALL", "LC_TIME"].map(|name| (name.to_owned(), b"en_US.UTF-8".to_vec()));
        let setup = ChannelSetup {
            pty: Some(pty),
            env: names.chain(locale).collect(),
            addresses: Some(Addresses::Hidden),
            ..ChannelSetup::default()
        };
        let options = Options::shell(&setup, &by_way(&setup.env), Some(&"u".repeat(32)), Helper::Sh, "ab".repeat(16))
            .start("both");
        assert!(options.len() < 3 << 10, "{} bytes", options.len());
        assert!(
            options.contains(";e=LANG:en_US.UTF-8,LC_ALL:en_US.UTF-8") && options.contains(";ew=1;sc=UNKNOWN,65535")
        );
    }

    proptest! {
        #[test]
        fn nothing_to_interpret_is_left(text in ".{0,60}") {
            prop_assert!(encode(&text).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-%".contains(&byte)));
        }
    }
}
