//! The gateway as an operator runs it, in a process of its own: `emulator` in AWS's place, `documents`, `check`, `serve`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::emulator::Emulator;
use crate::harness::{PATIENCE, PORTCULLIS, Run, noise, portcullis, processes, program, run, until, wait};

/// A service, an account with nothing in it, and a configuration for a gateway.
pub(crate) struct Account {
    emulator: Emulator,
    port: u16,
    dir: tempfile::TempDir,
}

/// What ada may do.
const POLICY: &str = "@id(\"ada-on-web\") permit (principal == Person::\"ada\", action in Action::\"Commands\", resource)\n\
                      when { resource.name == \"web-1\" };\n";

/// Ends a process in order when it goes out of scope.
pub(crate) struct Ended(pub(crate) Child);

impl Account {
    pub(crate) fn new(extra: &str) -> Self {
        Self::with(&[], "identity = \"gateway\"\n", "", extra)
    }

    /// One in which people have a role of their own, and a gateway's keys may what deploy/iam says.
    pub(crate) fn of_people() -> Self {
        let roles = "[[realms.roles]]\nrole = \"arn:aws:iam::123456789012:role/portcullis-you\"\npeople = [\"*\"]\n";
        let account = Self::with(&["--as-deployed"], "", roles, "");
        let mut documents = account.command(&["documents", "--apply"]);
        run(documents.env("AWS_PROFILE", "deployer"), b"", PATIENCE).ok();
        account
    }

    pub(crate) fn with(emulator: &[&str], realm: &str, roles: &str, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let emulator = Emulator::start("web-1", at, emulator);
        let url = &emulator.url;
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]), b"", PATIENCE).ok();
        }
        std::fs::create_dir(dir.path().join("evidence")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = std::fs::read_to_string(dir.path().join("user.pub")).unwrap();
        let config = format!(
            "[gateway]\nlisten = [\"127.0.0.1:{port}\"]\nhost_keys = [\"host\"]\n\
             [[people]]\nname = \"ada\"\nkeys = [\"{}\"]\n\
             [[realms]]\nname = \"main\"\n{realm}region = \"us-east-1\"\nca_bundle = \"ca.pem\"\n[realms.endpoints]\nssm = \"{url}\"\nsts = \"{url}\"\ntagging = \"{url}\"\n\
             {roles}[evidence]\ndirectory = \"evidence\"\n{extra}",
            key.trim()
        );
        std::fs::write(dir.path().join("gateway.toml"), config).unwrap();
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/access.cedar"), POLICY).unwrap();
        Self { emulator, port, dir }
    }

    /// Where AWS is for it.
    pub(crate) fn url(&self) -> &str {
        &self.emulator.url
    }

    /// Where its gateway listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(PORTCULLIS);
        command.args(args).arg("--config").arg(self.at("gateway.toml"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.at("keys")).env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    pub(crate) fn portcullis(&self, args: &[&str]) -> Run {
        run(&mut self.command(args), b"", PATIENCE)
    }

    pub(crate) fn serve(&self) -> Ended {
        self.serve_with(&[])
    }

    /// With these in the gateway's environment.
    pub(crate) fn serve_with(&self, environment: &[(&str, &str)]) -> Ended {
        let log = std::fs::File::create(self.at("log")).unwrap();
        let mut serving = self.command(&["serve"]);
        serving.envs(environment.iter().copied());
        let serving = serving.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let serving = Ended(serving);
        until("the gateway listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        serving
    }

    /// OpenSSH's client as ada, to this login; arguments are added by the caller.
    pub(crate) fn client(&self, login: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
        ssh.args(["-o", "StrictHostKeyChecking=no"]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.at("known").display()));
        ssh.arg("-i").arg(self.at("user")).args(["-p", &self.port.to_string(), &format!("{login}@127.0.0.1")]);
        ssh
    }

    pub(crate) fn ssh(&self, login: &str, remote: &str) -> Run {
        run(self.client(login).arg(remote), b"", PATIENCE)
    }

    /// Starts a command on the node that says nothing, and waits until it runs.
    fn silent_sleep(&self, mark: &str) -> Ended {
        let mut ssh = self.client("web-1");
        ssh.arg(format!("sleep {mark}")).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let client = Ended(ssh.spawn().unwrap());
        until("the sleep runs", PATIENCE, || sleeps(mark));
        client
    }

    /// Whether the node is as it was before anybody came.
    fn is_clean_of(&self, mark: &str) -> bool {
        !sleeps(mark) && std::fs::read_dir(self.at("node/run")).map_or(0, Iterator::count) == 0
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.at("log")).unwrap()
    }
}

impl Ended {
    pub(crate) fn signal(&mut self, signal: Signal) -> Option<i32> {
        let _ = kill_process(Pid::from_raw(self.0.id() as i32).unwrap(), signal);
        wait(&mut self.0, PATIENCE).and_then(|status| status.code())
    }
}

/// Whether a sleep of that many seconds runs on the node, which is this machine.
fn sleeps(mark: &str) -> bool {
    processes(&format!("sleep {mark}")).iter().any(|(_, line)| line.starts_with("sleep"))
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn from_an_empty_account_to_a_session_and_an_orderly_end() {
    let account = Account::new("");
    account.portcullis(&["check"]).ok();
    let missing = account.portcullis(&["documents"]).ends(8);
    assert!(missing.out().contains("Portcullis-OutLane: missing"), "{missing}");
    assert!(missing.err().contains("documents --apply"), "{missing}");
    let applied = account.portcullis(&["documents", "--apply"]).ok();
    assert!(applied.out().contains("Portcullis-InLane: created"), "{applied}");
    account.portcullis(&["documents"]).ok();

    let mut serving = account.serve();
    assert_eq!(account.ssh("web-1", "echo through").ok().out(), "through\n");
    let denied = account.ssh("root%web-1", "true");
    assert!(denied.code() != Some(0) && denied.err().contains("denied by policy"), "{denied}");
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", account.log());
    assert!(account.log().contains("\"message\":\"ready\""), "{}", account.log());
    let secret = std::fs::read_to_string(account.at("keys")).unwrap();
    let secret = secret.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(!account.log().contains(secret), "a secret key is in the log");
    let events = std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    assert!(events.contains("ada") && !events.contains(secret), "{events}");
}

#[test]
fn an_account_without_the_documents_is_served_over_one_lane() {
    let account = Account::new("");
    let _serving = account.serve();
    assert_eq!(account.ssh("web-1", "echo slower").ok().out(), "slower\n");
    assert!(account.log().contains("trying the next rung"), "{}", account.log());
}

#[test]
fn a_key_that_aws_refuses_is_a_sentence() {
    let account = Account::new("");
    let keys = std::fs::read_to_string(account.at("keys")).unwrap();
    std::fs::write(account.at("keys"), keys.replace("aws_secret_access_key = ", "aws_secret_access_key = x")).unwrap();
    let refused = account.portcullis(&["documents"]).ends(7);
    assert!(!refused.err().contains("DispatchFailure") && !refused.err().contains("{"), "{refused}");
    assert_eq!(refused.err().lines().count(), 1, "{refused}");
}

#[test]
fn a_gateway_that_aws_refuses_says_so_at_its_start_and_once_for_all_who_come() {
    let account = Account::new("");
    let keys = std::fs::read_to_string(account.at("keys")).unwrap();
    std::fs::write(account.at("keys"), keys.replace("aws_secret_access_key = ", "aws_secret_access_key = x")).unwrap();
    let checked = account.portcullis(&["check"]).ok();
    let warned = checked.err().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(warned.contains("does not accept the gateway's credentials"), "{checked}");
    assert!(checked.out().contains("fine, with 2 warnings") && !checked.err().contains('{'), "{checked}");
    let _serving = account.serve();
    until("the complaint", PATIENCE, || {
        account.log().contains("listening, but no session can be opened: AWS does not")
    });
    for _ in 0..3 {
        let refused = account.ssh("web-1", "true");
        assert_eq!(refused.code(), Some(255));
        assert!(refused.err().contains("no AWS credentials that work; whoever runs the gateway"), "{refused}");
    }
    let log = account.log();
    assert_eq!(log.matches("AWS refuses the gateway: AWS does not accept").count(), 1, "{log}");
    assert!(!log.contains("\"message\":\"ready\""), "{log}");
}

#[test]
fn a_gateway_that_starts_before_aws_can_be_reached_is_ready_when_it_can() {
    let account = Account::new("");
    account.portcullis(&["documents", "--apply"]).ok();
    account.emulator.signal(Signal::STOP);
    let _serving = account.serve();
    let says = |what: &str| account.log().contains(what);
    until("the complaint", PATIENCE, || {
        says("listening, but no session can be opened: Systems Manager has not answered")
    });
    assert!(!says("ready"));
    account.emulator.signal(Signal::CONT);
    until("the good news", PATIENCE, || says("Systems Manager answers now: ready"));
    assert_eq!(account.ssh("web-1", "echo in").ok().out(), "in\n");
}

#[test]
fn without_credentials_there_is_one_sentence_and_no_word_of_the_sdk() {
    let account = Account::new("");
    std::fs::write(account.at("keys"), "").unwrap();
    let checked = run(&mut account.command(&["check"]), b"", PATIENCE).ok();
    assert!(checked.err().contains("the gateway has no AWS credentials: there are none in"), "{checked}");
    assert!(!checked.err().contains('{') && !checked.err().contains("Attempted"), "{checked}");
    let refused = account.portcullis(&["documents"]).ends(7);
    assert_eq!(refused.err().lines().count(), 1, "{refused}");
}

/// The gateway, or the service with the node's agent, is killed while a command says nothing: with either helper, the
/// command and its directory must be gone within a minute. All four at once, because they wait most of their time.
#[test]
fn after_a_sudden_death_of_gateway_or_agent_the_node_cleans_up() {
    std::thread::scope(|scope| {
        for (digit, (helper, of_gateway)) in
            [("auto", true), ("auto", false), ("sh", true), ("sh", false)].into_iter().enumerate()
        {
            scope.spawn(move || {
                let mut account = Account::new(&format!("[lanes]\nhelper = \"{helper}\"\n"));
                account.portcullis(&["documents", "--apply"]).ok();
                let mut serving = account.serve();
                let mark = format!("3{}{digit}.0625", std::process::id());
                let mut client = account.silent_sleep(&mark);
                if of_gateway {
                    serving.signal(Signal::KILL);
                    assert_ne!(wait(&mut client.0, PATIENCE).expect("ssh ends").code(), Some(0), "the sleep succeeded");
                } else {
                    account.emulator.kill();
                }
                let what = format!("clean after a death, of the gateway: {of_gateway}, helper: {helper}");
                until(&what, Duration::from_secs(60), || account.is_clean_of(&mark));
                // whoever is still there must not take the silence for success
                let early = client.0.try_wait().unwrap();
                assert!(early.is_none_or(|status| !status.success()), "{what}: ssh ended with {early:?}");
            });
        }
    });
}

#[test]
fn one_connection_has_so_many_channels_and_no_more() {
    let account = Account::new("[limits]\nchannels = 2\n");
    account.portcullis(&["documents", "--apply"]).ok();
    let _serving = account.serve();
    let socket = account.at("m");
    let said = std::fs::File::create(account.at("said")).unwrap();
    let mut master = account.client("web-1");
    master.args(["-v", "-MN", "-S"]).arg(&socket).stdin(Stdio::null()).stderr(said);
    let _master = Ended(master.spawn().unwrap());
    until("the master is up", PATIENCE, || socket.exists());
    // no way but through the master: a client that is refused there would go on to a connection of its own
    let through = |remote: &str| {
        let mut ssh = account.client("web-1");
        ssh.args(["-o", "ProxyCommand=false", "-S"]).arg(&socket).arg(remote);
        ssh
    };
    let hold = |mark: &str| {
        let mut ssh = through(&format!("sleep {mark}"));
        let held = Ended(ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("the sleep runs", PATIENCE, || sleeps(mark));
        held
    };
    let mark = |number: u8| format!("2{}{number}.375", std::process::id());
    let (_first, mut second) = (hold(&mark(1)), hold(&mark(2)));
    let refused = run(&mut through("echo in"), b"", PATIENCE);
    assert!(refused.code() != Some(0) && refused.stdout.is_empty(), "a third channel: {refused}");
    // the sentence is in the protocol's own place for it, and there in the log of who owns the connection
    let sentence = "this connection has 2 channels already, which is the limit";
    until("the sentence", PATIENCE, || std::fs::read_to_string(account.at("said")).unwrap().contains(sentence));
    // what one connection is refused, another is not; and a place that is given back is a place
    assert_eq!(account.ssh("web-1", "echo in").ok().out(), "in\n");
    second.signal(Signal::TERM);
    until("the place is free", PATIENCE, || run(&mut through("echo in"), b"", PATIENCE).out() == "in\n");
}

#[test]
fn a_rotated_event_log_goes_on_in_a_new_file() {
    let account = Account::new("");
    let mut serving = account.serve();
    let log = account.at("evidence/events.jsonl");
    let refused =
        |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().matches("channel.refused").count();
    assert!(account.ssh("nowhere", "true").code() != Some(0));
    std::fs::rename(&log, account.at("evidence/old")).unwrap();
    // until it is told, the gateway goes on in the file that it has
    assert!(account.ssh("nowhere", "true").code() != Some(0));
    // and where no new one can be made yet
    std::fs::create_dir(&log).unwrap();
    kill_process(Pid::from_raw(serving.0.id() as i32).unwrap(), Signal::HUP).unwrap();
    until("the complaint", PATIENCE, || account.log().contains("the event log goes on where it was"));
    assert!(account.ssh("nowhere", "true").code() != Some(0));
    std::fs::remove_dir(&log).unwrap();
    until("the log is there again", PATIENCE, || log.exists());
    assert!(account.ssh("nowhere", "true").code() != Some(0));
    assert_eq!((refused(&account.at("evidence/old")), refused(&log)), (3, 1), "{}", account.log());
    assert!(account.log().contains("people and policies are what they were"), "{}", account.log());
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", account.log());
}

#[test]
fn z5_people_and_policies_are_in_force_within_seconds_and_end_what_they_allow_no_more() {
    let account = Account::new("");
    let mut serving = account.serve();
    let (config, policy) = (account.at("gateway.toml"), account.at("policies/access.cedar"));
    let events = || std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    let loaded = |nth: usize| {
        until("it is in force", Duration::from_secs(5), || events().matches("configuration.loaded").count() == nth);
    };
    loaded(1);
    let long = || {
        let mut ssh = account.client("web-1");
        ssh.arg("echo in; sleep 600").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        child
    };
    let said = |child: Child| String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    // a policy that does not let them do that any more; one that can't be used changes nothing
    let first = long();
    std::fs::write(&policy, "permit (principal").unwrap();
    until("it is refused", Duration::from_secs(5), || events().contains("configuration.refused"));
    assert_eq!(account.ssh("web-1", "echo in").ok().out(), "in\n");
    std::fs::write(&policy, POLICY.replace("in Action::\"Commands\"", "== Action::\"Shell\"")).unwrap();
    loaded(2);
    let told = said(first);
    let sentence = "the policies have changed: denied by policy \"default\": no policy lets ada do Exec on web-1";
    assert!(told.contains(sentence), "{told}");
    assert_ne!(account.ssh("web-1", "echo in").code(), Some(0));
    // back again; what goes on and is allowed goes on
    std::fs::write(&policy, POLICY).unwrap();
    loaded(3);
    let second = long();
    std::fs::write(&policy, format!("{POLICY}\n@id(\"b\") forbid (principal, action == Action::\"Shell\", resource);"))
        .unwrap();
    loaded(4);
    // somebody who is taken out; what that would do can be seen before
    let text = std::fs::read_to_string(&config).unwrap();
    let other = account.at("other.toml").display().to_string();
    std::fs::write(&other, text.replace("name = \"ada\"", "name = \"eve\"")).unwrap();
    let checked = portcullis(&["reload", "--check", "--config", &other]).ends(8);
    for part in ["policies: as they are\n", "people: new: eve; gone: ada\n", "would end: ada is there no more\n"] {
        assert!(checked.out().contains(part), "{part}: {checked}");
    }
    let now = portcullis(&["reload", "--check", "--config", &config.display().to_string()]).ok();
    assert!(now.out().ends_with("sessions that run: 1; that would end: 0\n"), "{now}");
    what_was_then(&account);
    std::fs::write(&config, text.replace("name = \"ada\"", "name = \"eve\"")).unwrap();
    loaded(5);
    let told = said(second);
    assert!(told.contains("how you logged in is no proof any more"), "{told}");
    let last = events();
    let last = last.lines().rfind(|line| line.contains("configuration.loaded")).unwrap();
    for part in ["\"cause\":\"change\"", "\"before\":\"", "\"ended\":1", "\"people\":1", "\"policies\":2"] {
        assert!(last.contains(part), "{part}: {last}");
    }
    // what waits for a restart is said
    std::fs::write(&config, format!("{text}[limits]\nchannels = 5\n")).unwrap();
    until("it is said", PATIENCE, || account.log().contains("\"sections\":\"limits\""));
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", account.log());
}

/// What the log and what is kept beside it say of the past.
fn what_was_then(account: &Account) {
    let log = account.at("evidence/events.jsonl").display().to_string();
    let text = std::fs::read_to_string(&log).unwrap();
    let times = text.lines().filter(|line| line.contains("configuration.loaded"));
    let times: Vec<&str> = times.map(|line| line.split('"').nth(3).unwrap()).collect();
    let evidence = account.at("evidence").display().to_string();
    for (at, answer) in [
        (times[0], "allowed by ada-on-web\n"),
        (
            times[1],
            "denied by policy \"default\": no policy lets ada do Exec on web-1; ask whoever keeps the policies (no-rule)\n",
        ),
        (times[2], "allowed by ada-on-web\n"),
    ] {
        let asked = ["--at", at, "--person", "ada", "--node", "web-1", "Exec", "--command", "id"];
        let args: Vec<&str> = ["policy", "explain", "--evidence", &evidence].into_iter().chain(asked).collect();
        let explained = portcullis(&args).ok();
        assert!(explained.out().starts_with(answer), "{at}: {explained}");
    }
    let before = ["--at", "2020-01-01T00:00:00Z", "--person", "ada", "--node", "web-1", "Shell"];
    let args: Vec<&str> = ["policy", "explain", "--evidence", &evidence].into_iter().chain(before).collect();
    assert!(portcullis(&args).ends(5).err().contains("nothing was in force then"));
    // what people did and were refused, asked of what is in force
    let access = account.at("policies/access.cedar").display().to_string();
    let rehearsed = portcullis(&["policy", "rehearse", "--policies", &access, &log]).ends(8);
    let turned = "denied by default; would be allowed by ada-on-web\n4 decisions, 1 would turn\n";
    assert!(rehearsed.out().ends_with(turned), "{rehearsed}");
    // somebody who changes what was kept is found out
    let kept = std::fs::read_dir(account.at("evidence/in-force")).unwrap().map(|entry| entry.unwrap().path());
    for kept in kept.filter(|path| path.display().to_string().contains("/policies-")) {
        let text = std::fs::read_to_string(&kept).unwrap();
        std::fs::write(&kept, text.replace("web-1", "web-2")).unwrap();
    }
    let asked = ["--at", times[0], "--person", "ada", "--node", "web-2", "Exec", "--command", "id"];
    let args: Vec<&str> = ["policy", "explain", "--evidence", &evidence].into_iter().chain(asked).collect();
    assert!(portcullis(&args).ends(5).err().contains("somebody has changed the file"));
}

#[test]
fn a_taken_port_is_4_and_a_wrong_host_key_is_3() {
    let account = Account::new("");
    let taken = std::net::TcpListener::bind(("127.0.0.1", account.port)).unwrap();
    let refused = account.portcullis(&["serve"]).ends(4);
    assert!(refused.err().contains(&account.port.to_string()), "{refused}");
    drop(taken);
    std::fs::write(account.at("host"), "no key").unwrap();
    let refused = account.portcullis(&["serve"]).ends(3);
    assert!(refused.err().contains("host key"), "{refused}");
}

#[test]
fn what_serve_refuses_check_refuses_in_the_same_words() {
    let account = Account::new("");
    let fine = std::fs::read_to_string(account.at("gateway.toml")).unwrap();
    let rsa = account.at("rsa");
    let mut keygen = Command::new("ssh-keygen");
    run(keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&rsa), b"", PATIENCE).ok();
    std::fs::write(account.at("junk"), "no key").unwrap();
    std::fs::set_permissions(account.at("junk"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::copy(account.at("host"), account.at("open")).unwrap();
    std::fs::set_permissions(account.at("open"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let host = "host_keys = [\"host\"]";
    let endpoint = fine.lines().find(|line| line.starts_with("ssm = ")).unwrap();
    for (from, to, says) in [
        (host, "host_keys = [\"rsa\"]", "host keys are not used here"),
        (host, "host_keys = [\"junk\"]", "it is no private key"),
        (host, "host_keys = [\"open\"]", "chown portcullis:"),
        ("\"ada\"", "\"Ada Lovelace\"", "a name is 1 to 64 letters"),
        ("\"us-east-1\"", "\"evil/\"", "is no AWS region"),
        ("\"ca.pem\"", "\"host.pub\"", "no certificate"),
        (endpoint, "ssm = \"http://10.0.0.1\"", "plain http is for loopback only"),
    ] {
        assert!(fine.contains(from), "{from} in {fine}");
        std::fs::write(account.at("gateway.toml"), fine.replace(from, to)).unwrap();
        for command in ["check", "serve"] {
            let refused = account.portcullis(&[command]).ends(3);
            let said = refused.err().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(says), "{command}, {to}: {refused}");
        }
    }
    std::fs::write(account.at("gateway.toml"), &fine).unwrap();
    for (mode, path) in [(0o664, account.at("gateway.toml")), (0o777, account.dir.path().to_owned())] {
        let before = path.metadata().unwrap().permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for command in ["check", "serve"] {
            let refused = account.portcullis(&[command]).ends(3);
            assert!(refused.err().contains("chmod go-w"), "{command}, {mode:o}: {refused}");
        }
        account.portcullis(&["check", "--offline"]).ok();
        std::fs::set_permissions(&path, before).unwrap();
    }
    std::fs::write(account.at("gateway.toml"), fine.replace(host, "host_keys = [\"rsa\"]")).unwrap();
    account.portcullis(&["check", "--offline"]).ok();
    std::fs::write(account.at("gateway.toml"), fine).unwrap();
    let refused = run(account.command(&["check"]).env("HTTPS_PROXY", "socks5://p:1"), b"", PATIENCE).ends(3);
    assert!(refused.err().contains("socks5"), "{refused}");
    std::fs::remove_dir(account.at("evidence")).unwrap();
    let refused = account.portcullis(&["check"]).ends(3);
    assert!(refused.err().contains("install -d"), "{refused}");
}

#[test]
fn z5_a_transfer_that_runs_ends_within_seconds_of_a_policy_that_lets_it_be_no_more() {
    let account = Account::new("");
    let file = account.at("policies/access.cedar");
    let policy = |action: &str| format!("@id(\"files\") permit (principal, action in Action::\"{action}\", resource);");
    std::fs::write(&file, policy("Sessions")).unwrap();
    account.portcullis(&["documents", "--apply"]).ok();
    std::fs::write(account.at("big"), noise(8 << 20, 5)).unwrap();
    let _serving = account.serve();
    let (login, options) = {
        let ssh = account.client("web-1");
        let mut words: Vec<String> = ssh.get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
        let login = words.pop().unwrap();
        // sftp and scp have another letter for it
        let words: Vec<String> =
            words.into_iter().map(|word| if word == "-p" { "-P".to_owned() } else { word }).collect();
        (login, words)
    };
    let (big, up) = (account.at("big").display().to_string(), account.at("up").display().to_string());
    // half a mebibyte a second
    let mut sftp = Command::new("sftp");
    sftp.args(["-b", "-", "-l", "4096"]).args(&options).arg(&login).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut sftp = sftp.stdout(Stdio::null()).spawn().unwrap();
    sftp.stdin.take().unwrap().write_all(format!("put {big} {up}\nls {up}\n").as_bytes()).unwrap();
    let arrived = || std::fs::metadata(account.at("up")).map_or(0, |found| found.len());
    until("some of it has come", PATIENCE, || arrived() > 500_000);
    std::fs::write(&file, policy("BrowseFiles")).unwrap();
    let log = || std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    until("it is refused", Duration::from_secs(7), || log().contains("\"outcome\":\"denied\""));
    // sftp looks at answers when it has sent two mebibytes more
    let ended = sftp.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.to_lowercase().contains("permission denied"), "{said}");
    assert!(arrived() < 5 << 20, "nothing that comes behind the change is written: {}", arrived());
    until("the session is over", PATIENCE, || log().contains("session.closed"));
    let events: Vec<serde_json::Value> = log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str, key: &str, value: &str| {
        events.iter().find(|event| event["event"] == name && event[key] == value).cloned()
    };
    let denied = of("file.operation", "outcome", "denied").expect("the refusal is in the log");
    assert_eq!((&denied["action"], &denied["policy"]), (&"Upload".into(), &"default".into()));
    let closed = of("file.closed", "action", "Upload").expect("what went over is in the log");
    assert_eq!(closed["bytes"], arrived());
    // the session itself was one that may go on
    let session = of("session.closed", "id", denied["id"].as_str().unwrap()).expect("its end is in the log");
    assert_eq!(session["outcome"], "finished", "{session}");
}
