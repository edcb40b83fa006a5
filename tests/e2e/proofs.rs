//! Files of keys: read, checked, looked at every second, and in force without a restart.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{PATIENCE, run, until};
use crate::serve::Account;
use crate::terminal::Terminal;

/// As soon as a change must be in force, and some for a busy machine.
const SOON: Duration = Duration::from_secs(5);

impl Account {
    /// Puts ada's key into a file of its own, with these options.
    fn key_in_a_file(&self) -> String {
        let config = self.at("gateway.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let line = text.lines().find(|line| line.starts_with("keys = ")).unwrap();
        std::fs::write(&config, text.replace(line, "keys_from = [\"people\", \"more\"]")).unwrap();
        std::fs::create_dir(self.at("people")).unwrap();
        std::fs::write(self.at("more"), "# none yet\n").unwrap();
        let key = std::fs::read_to_string(self.at("user.pub")).unwrap();
        std::fs::write(self.at("people/ada.pub"), &key).unwrap();
        key
    }

    fn gets_in(&self) -> bool {
        self.ssh("web-1", "echo in").out() == "in\n"
    }

    /// A command that runs.
    fn long(&self) -> Child {
        let mut ssh = self.client("web-1");
        ssh.arg("echo runs; sleep 600").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        child
    }
}

fn said(child: Child) -> String {
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn z5_a_key_that_is_taken_out_of_its_file_ends_what_it_opened_and_opens_nothing() {
    let account = Account::new("");
    let key = account.key_in_a_file();
    account.portcullis(&["check", "--offline"]).ok();
    let _serving = account.serve();
    let first = account.long();
    // another's line that is wrong keeps nobody's key in force
    std::fs::write(account.at("more"), "no-pyt ssh-ed25519 AAAA\n").unwrap();
    std::fs::remove_file(account.at("people/ada.pub")).unwrap();
    until("the key is none", SOON, || !account.gets_in());
    let told = said(first);
    assert!(told.contains("how you logged in is no proof any more: nobody here has this key"), "{told}");
    assert!(account.log().contains("more:1:1: `no-pyt` is no option of a key"), "{}", account.log());
    // a policy that can't be used keeps no key in force, either
    std::fs::write(account.at("people/ada.pub"), &key).unwrap();
    until("the key is back", SOON, || account.gets_in());
    let between = account.long();
    let policy = std::fs::read_to_string(account.at("policies/access.cedar")).unwrap();
    std::fs::write(account.at("policies/access.cedar"), "permit (principal").unwrap();
    until("it is refused", SOON, || account.log().contains("what was in force stays"));
    std::fs::remove_file(account.at("people/ada.pub")).unwrap();
    assert!(said(between).contains("how you logged in is no proof any more"));
    until("the key is none", SOON, || !account.gets_in());
    std::fs::write(account.at("policies/access.cedar"), policy).unwrap();
    // back again, in the other file and with an option
    std::fs::write(account.at("more"), format!("no-pty {key}")).unwrap();
    until("the key is back", SOON, || account.gets_in());
    let second = account.long();
    // one that somebody else can write to is nobody's
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    std::fs::set_permissions(account.at("more"), mode).unwrap();
    assert!(said(second).contains("how you logged in is no proof any more"));
    until("the key is none", SOON, || !account.gets_in());
    assert!(account.log().contains("others can change it, and with it who gets in"), "{}", account.log());
}

#[test]
fn z5_a_session_ends_when_the_time_of_its_key_is_over() {
    let account = Account::new("");
    let key = account.key_in_a_file();
    let now = std::time::SystemTime::now();
    let mut date = Command::new("date");
    let seconds = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 15;
    date.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("@{seconds}")]);
    let end = run(&mut date, b"", PATIENCE).ok().out();
    std::fs::write(account.at("people/ada.pub"), format!("expiry-time=\"{}\" {key}", end.trim())).unwrap();
    let _serving = account.serve();
    let told = said(account.long());
    assert!(told.contains("the key's expiry-time has passed"), "{told}");
    assert!(!account.gets_in());
}

/// The minute before either end, since five take too long: who comes later than that is told at once how little is left.
#[test]
fn a_terminal_is_told_before_a_session_ends_by_its_key_or_by_its_time() {
    let by_key = || {
        let account = Account::new("");
        let key = account.key_in_a_file();
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 72;
        let mut date = Command::new("date");
        date.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("@{seconds}")]);
        let end = run(&mut date, b"", PATIENCE).ok().out();
        std::fs::write(account.at("people/ada.pub"), format!("expiry-time=\"{}\" {key}", end.trim())).unwrap();
        account
    };
    let by_time = || {
        let account = Account::new("");
        let policy =
            "@id(\"short\") @max_duration(\"68s\") permit (principal, action in Action::\"Sessions\", resource);";
        std::fs::write(account.at("policies/access.cedar"), policy).unwrap();
        account
    };
    let told = |account: Account, why: &str| {
        account.portcullis(&["documents", "--apply"]).ok();
        let _serving = account.serve();
        let mut ssh = account.client("web-1");
        ssh.args(["-tt", "echo runs; read line"]);
        let mut terminal = Terminal::start(&ssh, 80, 24);
        terminal.expect("runs");
        let piped = run(account.client("web-1").arg("sleep 12; echo piped"), b"", PATIENCE).ok();
        assert!(piped.out() == "piped\n" && !piped.err().contains("this session ends"), "{piped}");
        terminal.expect(&format!("portcullis: this session ends in 1 minute, {why}"));
        let at_once = format!("portcullis: this session ends in 2 minutes, {why}");
        assert_eq!(terminal.all().matches(&at_once).count(), 1, "{}", terminal.all());
        terminal.send("\r");
        assert_eq!(terminal.end().code(), Some(0));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| told(by_key(), "when the time of what you logged in with is over"));
        scope.spawn(|| told(by_time(), "which is as long as it may last"));
    });
}

#[test]
fn check_reads_every_key_and_says_what_is_wrong_with_which_line() {
    let account = Account::new("");
    let key = account.key_in_a_file();
    let lines = format!(
        "# keys\n\nformm=\"192.0.2.1\" {key}from=\"gate.example\" {key}expiry-time=\"20270131\" {key}\
         permitopen=\"db:5432\" {key}no-pty {key}"
    );
    std::fs::write(account.at("more"), lines).unwrap();
    let refused = account.portcullis(&["check", "--offline", "--json"]).ends(3);
    let answer: serde_json::Value = serde_json::from_str(&refused.out()).unwrap();
    let found: Vec<(u64, String, String)> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            assert!(problem["file"].as_str().unwrap().ends_with("/more"), "{problem}");
            let text = |name: &str| problem[name].as_str().unwrap().to_owned();
            (problem["line"].as_u64().unwrap(), text("message"), text("help"))
        })
        .collect();
    for ((line, message, help), (at, says, helps)) in found.iter().zip([
        (3, "`formm` is no option", "did you mean `from`?"),
        (4, "`gate.example` is no address", "from=\"192.0.2.0/24"),
        (5, "does not say in which time zone", "20270131Z"),
        (6, "`permitopen` does not hold here", "a policy about Forward"),
        (7, "this key is here twice: it is ada's already", "one line for a key"),
    ]) {
        assert!(*line == at && message.contains(says) && help.contains(helps), "{found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
    // a place is drawn for a person, and the gateway serves all the same
    let refused = account.portcullis(&["check", "--offline"]).ends(3);
    assert!(refused.err().contains("5 problems"), "{refused}");
    let _serving = account.serve();
    assert!(account.gets_in());
}

/// The README's five lines, and what takes a certificate back.
#[test]
fn au6_what_is_revoked_is_refused_within_seconds_and_ends_what_it_opened() {
    let account = Account::new("");
    let keygen = |args: &[&str]| {
        let mut keygen = Command::new("ssh-keygen");
        run(keygen.current_dir(account.at(".")).arg("-q").args(args), b"", PATIENCE).ok();
    };
    keygen(&["-t", "ed25519", "-N", "", "-f", "people-ca"]);
    keygen(&["-k", "-f", "revoked.krl"]);
    let config = account.at("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let key = text.lines().find(|line| line.starts_with("keys = ")).unwrap();
    let authority = std::fs::read_to_string(account.at("people-ca.pub")).unwrap();
    let text = text.replace(key, "keys = []")
        + &format!(
            "[[certificate_authorities]]\nname = \"people-ca\"\nkeys = [\"{}\"]\nrevoked = [\"revoked.krl\"]\n\
             [revocation]\nfiles = [\"gone-for-all\"]\n",
            authority.trim()
        );
    std::fs::write(&config, &text).unwrap();
    std::fs::write(account.at("gone-for-all"), "# nobody\n").unwrap();
    let certify = |serial: &str| {
        keygen(&["-s", "people-ca", "-I", "ada@laptop", "-n", "ada", "-V", "-5m:+1d", "-z", serial, "user.pub"]);
    };
    certify("1");
    account.portcullis(&["check", "--offline"]).ok();
    let _serving = account.serve();
    assert!(account.ssh("ada", "whoami").ok().out().starts_with("ada (certificate SHA256:"));

    // the certificate, by its number
    let first = account.long();
    std::fs::write(account.at("gone"), "serial: 1\n").unwrap();
    keygen(&["-k", "-u", "-f", "revoked.krl", "-s", "people-ca.pub", "gone"]);
    let told = said(first);
    assert!(told.contains("how you logged in is no proof any more: certificate \"ada@laptop\" (serial 1)"), "{told}");
    assert!(told.contains("it, its key or its authority is revoked"), "{told}");
    assert!(!account.gets_in());
    let events = || std::fs::read_to_string(account.at("evidence/events.jsonl")).unwrap();
    until("the log has why", SOON, || events().contains("\"code\":\"revoked\""));
    certify("2");
    assert!(account.gets_in());

    // a list that can't be read: nothing of that authority counts
    let second = account.long();
    let list = std::fs::read(account.at("revoked.krl")).unwrap();
    std::fs::write(account.at("revoked.krl"), &list[..list.len() - 1]).unwrap();
    let told = said(second);
    assert!(told.contains("counts as if everything were"), "{told}");
    let refused = account.portcullis(&["check", "--offline"]).ends(3);
    assert!(refused.err().contains("revoked.krl") && refused.err().contains("it is damaged"), "{refused}");
    std::fs::write(account.at("revoked.krl"), &list).unwrap();
    until("it counts again", SOON, || account.gets_in());
    std::fs::remove_file(account.at("revoked.krl")).unwrap();
    until("nothing counts without the list", SOON, || !account.gets_in());
    std::fs::write(account.at("revoked.krl"), &list).unwrap();
    until("it counts again", SOON, || account.gets_in());

    // the authority's key, for everybody
    std::fs::write(account.at("gone-for-all"), &authority).unwrap();
    until("the authority is revoked", SOON, || !account.gets_in());
    // and a plain key
    std::fs::write(account.at("gone-for-all"), "# nobody\n").unwrap();
    std::fs::write(&config, text.replace("keys = []", key)).unwrap();
    std::fs::remove_file(account.at("user-cert.pub")).unwrap();
    until("the plain key counts", SOON, || account.gets_in());
    std::fs::copy(account.at("user.pub"), account.at("gone-for-all")).unwrap();
    until("the plain key is revoked", SOON, || !account.gets_in());
}
