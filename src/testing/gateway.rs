//! A gateway, a node, people with keys, and `ssh` told about all of them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{ShellNode, TwoNodes, finish, keygen, text};
use crate::backend::Realms;
use crate::config::{Algorithms, Environment, Limits};
use crate::evidence::EventLog;
use crate::gateway::{Gateway, HostCa, HostKeys, Settings};
use crate::identity::{People, RealmRoles, Roles, Roster};
use crate::policy::{Policies, Policy};
use crate::session::{NodeTransport, SessionOpener};

/// Long for a busy machine, and much shorter than the deadline for a login: who is hung up on within this, is for a reason.
pub(crate) const SOON: Duration = Duration::from_secs(8);

/// Who may do what there. Nobody is in no policy.
const POLICIES: &str = "
@id(\"all-of-web\")
permit (principal == Person::\"ada\", action in Action::\"Sessions\", resource)
when { [\"web-1\", \"down-1\"].contains(resource.name) }
unless { context has os_user && context.os_user != \"deploy\" };

@id(\"web-as-deploy\")
permit (principal == Person::\"ada\", action == Action::\"RunAs\", resource)
when { [\"web-1\", \"down-1\"].contains(resource.name) && context has os_user && context.os_user == \"deploy\" };

@id(\"bob-may-exec\")
permit (principal == Person::\"bob\", action in Action::\"Commands\", resource);

@id(\"bob-may-speak\")
permit (principal == Person::\"bob\", action == Action::\"SetVariable\", resource) when { context.variable == \"LANG\" };
";

/// A gateway that runs until this is dropped.
pub(crate) struct TestGateway {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) node: Arc<ShellNode>,
    /// Which names there are.
    pub(crate) nodes: Arc<TwoNodes>,
    pub(crate) sessions: Arc<SessionOpener>,
    /// Who may do what, and who may log in.
    pub(crate) policies: Policies,
    pub(crate) roster: Roster,
    /// The bytes that people have sent and nobody has taken.
    pub(crate) held_bytes: Box<dyn Fn() -> usize + Send + Sync>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// Nodes, and the way to them.
pub(crate) struct Elsewhere {
    pub(crate) realms: Realms,
    pub(crate) transport: Arc<dyn NodeTransport>,
}

impl TestGateway {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A gateway with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(change, &[], &[]).await
    }

    /// A gateway where ada has more keys, of these kinds.
    pub(crate) async fn with_keys(kinds: &[(&str, &[&str])]) -> Self {
        Self::build(|_| (), kinds, &[]).await
    }

    /// A gateway where ada has these public keys too, which need not be any good.
    pub(crate) async fn with_public_keys(lines: &[String]) -> Self {
        Self::build(|_| (), &[], lines).await
    }

    /// A gateway with these policies.
    pub(crate) async fn under(policies: &str) -> Self {
        Self::build_under(policies, |_| (), &[], &[]).await
    }

    /// A gateway whose nodes are elsewhere than on [`Self::node`].
    pub(crate) async fn before(elsewhere: Elsewhere, change: impl FnOnce(&mut Settings)) -> Self {
        Self::build_before(Some(elsewhere), POLICIES, change, &[], &[]).await
    }

    /// A gateway whose evidence is kept like this.
    pub(crate) async fn recording(log: impl FnOnce(&Path) -> EventLog) -> Self {
        Self::build_with(None, POLICIES, |_| (), &[], &[], log).await
    }

    async fn build(change: impl FnOnce(&mut Settings), kinds: &[(&str, &[&str])], lines: &[String]) -> Self {
        Self::build_under(POLICIES, change, kinds, lines).await
    }

    async fn build_under(
        policies: &str,
        change: impl FnOnce(&mut Settings),
        kinds: &[(&str, &[&str])],
        lines: &[String],
    ) -> Self {
        Self::build_before(None, policies, change, kinds, lines).await
    }

    async fn build_before(
        elsewhere: Option<Elsewhere>,
        policies: &str,
        change: impl FnOnce(&mut Settings),
        kinds: &[(&str, &[&str])],
        lines: &[String],
    ) -> Self {
        let log = |directory: &Path| EventLog::open(directory, 64 << 20).unwrap();
        Self::build_with(elsewhere, policies, change, kinds, lines, log).await
    }

    async fn build_with(
        elsewhere: Option<Elsewhere>,
        policies: &str,
        change: impl FnOnce(&mut Settings),
        kinds: &[(&str, &[&str])],
        lines: &[String],
        log: impl FnOnce(&Path) -> EventLog,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind) in [("ada", "ed25519"), ("bob", "ed25519"), ("nobody", "ed25519"), ("stranger", "ed25519")] {
            keygen(&dir.path().join(name), &["-t", kind]).await;
        }
        let public = |name: &str| std::fs::read_to_string(dir.path().join(format!("{name}.pub"))).unwrap();
        let host_keys = HostKeys::load_or_create(&dir.path().join("host_key")).unwrap();
        let node = Arc::new(ShellNode::new());
        let policies = Policies::new(Policy::for_test(policies));
        let log = Arc::new(log(dir.path()));
        let nodes = Arc::new(TwoNodes::default());
        let mut settings = Settings::new(&Limits::default(), &Environment::default(), None);
        settings.drain = Duration::from_millis(200);
        // the tests' own client speaks little
        settings.algorithms = Algorithms::Compatible;
        change(&mut settings);
        let spoken = settings.algorithms_for.iter().map(|some| some.algorithms).chain([settings.algorithms]);
        let host_keys = match spoken.into_iter().any(|algorithms| algorithms == Algorithms::Legacy) {
            true => {
                let legacy = dir.path().join("legacy_host_key");
                keygen(&legacy, &["-t", "rsa", "-b", "2048"]).await;
                host_keys.with_legacy(&[legacy]).unwrap()
            }
            false => host_keys,
        };
        let mut keys = lines.to_vec();
        for (name, kind) in kinds {
            keygen(&dir.path().join(name), kind).await;
            keys.push(public(name));
        }
        let known = ["ada", "bob", "nobody"].map(|name| (name, [public(name)]));
        let people = People::new(known.iter().map(|(name, keys)| (*name, &keys[..]))).unwrap();
        let mut people = people.in_roles(RealmRoles::for_test(Roles::Gateway));
        for line in keys {
            let wire = STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap();
            people = people.with_any_key("ada", &wire);
        }
        let roster = Roster::from(people);
        let Elsewhere { realms, transport } =
            elsewhere.unwrap_or_else(|| Elsewhere { realms: Realms::for_test(nodes.clone()), transport: node.clone() });
        let sessions = Arc::new(SessionOpener::new(roster.clone(), policies.clone(), realms, transport, log));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let host_ca = HostCa::for_test();
        let known_ca = format!("@cert-authority * {}\n", host_ca.public_line());
        std::fs::write(dir.path().join("known_ca"), known_ca).unwrap();
        let gateway =
            Gateway::bind(&[any], &host_keys, host_ca, roster.clone(), sessions.clone(), settings).await.unwrap();
        let address = gateway.addresses()[0];
        let held_bytes = gateway.held_bytes();
        let known: String =
            host_keys.public_lines().iter().map(|key| format!("[127.0.0.1]:{} {key}\n", address.port())).collect();
        std::fs::write(dir.path().join("known_hosts"), known).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        let started = Self {
            dir,
            address,
            node,
            nodes,
            sessions,
            policies,
            roster,
            held_bytes,
            stop: Some(stop),
            running: Some(running),
        };
        started.write_config();
        started
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The gateway goes on after whatever was done to it.
    pub(crate) async fn works(&self) {
        assert_eq!(text(&self.run(&["web", "echo fine"]).await.stdout), "fine\n", "the gateway goes on");
    }

    fn write_config(&self) {
        let mut text = String::new();
        let dir = self.dir.path().display();
        for (host, user, key) in [
            ("web", "web-1", "ada"),
            ("deploy", "deploy%web-1", "ada"),
            ("gate", "ada", "ada"),
            ("down", "down-1", "ada"),
            ("nowhere", "db-9", "ada"),
            ("bob", "web-1", "bob"),
            ("nobody-at-gate", "nobody", "nobody"),
            ("bobs-nowhere", "db-9", "bob"),
            ("stranger", "web-1", "stranger"),
        ] {
            writeln!(text, "Host {host}\n  User {user}\n  IdentityFile {dir}/{key}").unwrap();
        }
        writeln!(text, "Host nokey\n  User web-1").unwrap();
        writeln!(
            text,
            "Host *\n  HostName 127.0.0.1\n  Port {}\n  UserKnownHostsFile {dir}/known_hosts\n  IdentitiesOnly yes\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n  IdentityAgent none\n  LogLevel ERROR",
            self.address.port()
        )
        .unwrap();
        std::fs::write(self.path("ssh_config"), text).unwrap();
    }

    /// `ssh -F … args`, with nothing on its standard input.
    pub(crate) fn ssh(&self, args: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.path("ssh_config")).args(args);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        finish(self.ssh(args)).await
    }

    /// Runs it with something on its standard input.
    pub(crate) async fn run_with(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Output {
        let mut ssh = self.ssh(args);
        let mut child = ssh.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.into();
        let writes = tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
        });
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
        writes.abort();
        output.expect("ssh did not come to its end").unwrap()
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path(EventLog::FILE)).unwrap();
        // one that is being written has no end yet
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until it holds no bytes for anybody.
    pub(crate) async fn until_nothing_is_held(&self) {
        for _ in 0..400 {
            if (self.held_bytes)() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} bytes are still held", (self.held_bytes)());
    }

    /// Waits until so many sessions run. Their events come a little before: who judges what runs waits for this.
    pub(crate) async fn runs(&self, count: usize) {
        let mut changes = self.sessions.registry().subscribe();
        let come = async {
            while changes.running().len() != count {
                changes.changed().await;
            }
        };
        assert!(tokio::time::timeout(SOON, come).await.is_ok(), "what runs: {:?}", changes.running());
    }

    /// Waits until an event is there that fits.
    pub(crate) async fn event(&self, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        for _ in 0..200 {
            if let Some(found) = self.events().into_iter().find(|event| fits(event)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no such event in {:#?}", self.events());
    }

    /// Stops the gateway and waits until it has.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
    }
}
