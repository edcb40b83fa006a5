//! `portcullis emulator` in AWS's place, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PORTCULLIS, program, wait};

/// A service and its node, which are ended in order when this goes out of scope.
pub(crate) struct Emulator {
    child: Child,
    pub(crate) url: String,
}

impl Emulator {
    /// With a node of that name; what it leaves are `keys`, `node`, `ca.pem` and `trail.jsonl`, wherever those are.
    pub(crate) fn start(node: &str, at: impl Fn(&str) -> String, more: &[&str]) -> Self {
        let mut child = program(PORTCULLIS)
            .args(["emulator", "--listen", "127.0.0.1:0", "--with-node", node, "--until-stdin-closes"])
            .args(["--keys-out", &at("keys"), "--node-dir", &at("node")])
            .args(["--tls-ca-out", &at("ca.pem"), "--trail", &at("trail.jsonl")])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut page = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = page.find(|line| line.starts_with("ready")).expect("the emulator is ready");
        let url = ready.split([' ', ',']).find(|word| word.starts_with("https://")).unwrap().to_owned();
        Self { child, url }
    }

    /// As when the way to it is interrupted (STOP), and when it is back (CONT).
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// As when its machine is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if wait(&mut self.child, Duration::from_secs(15)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
