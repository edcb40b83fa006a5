//! One story in two books: what AWS's record has of a login, and what the gateway's log has of it, for each kind of proof.
//!
//! With `PORTCULLIS_SHOW_JOINED` in its environment the test prints the pairs that it has joined, as JSON:
//!
//! ```text
//! PORTCULLIS_SHOW_JOINED=1 cargo nextest run --features testing --no-capture -E 'test(each_kind_of_proof_is_one_story)'
//! ```

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Run, run, until};
use crate::serve::{Account, Ended};
use crate::sign_in::OpenId;

const ROLE: &str = "arn:aws:iam::123456789012:role/portcullis-you";
const NODE: &str = "mi-0fedcba9876543210";
const SECRET: &str = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK";
const EVERYBODY: &str = "@id(\"by-ticket\") @reason_pattern(\"INC-[0-9]+.*\") permit (principal, action in Action::\"Sessions\", resource);";

impl Account {
    fn lines(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.at(file)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Has this behind what the configuration says.
    fn configured(&self, more: &str) {
        let config = self.at("gateway.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{more}")).unwrap();
        std::fs::write(self.at("policies/access.cedar"), EVERYBODY).unwrap();
        self.portcullis(&["check"]).ok();
    }

    /// A client that is asked things, and whose answers this program of `sh` gives.
    fn asked(&self, answers: &str, login: &str) -> Command {
        let program = self.at("askpass");
        std::fs::write(&program, format!("#!/bin/sh\n{answers}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut ssh = self.client(login);
        ssh.env("SSH_ASKPASS", program).env("SSH_ASKPASS_REQUIRE", "force");
        ssh
    }

    /// What both books have of the one login that there was.
    fn joined(&self) -> Value {
        let count =
            |event: &str| self.lines("evidence/events.jsonl").iter().filter(|line| line["event"] == event).count();
        // one that came too late to be used is noted behind the end
        until("all is written", PATIENCE, || {
            count("session.closed") == 1 && count("session.lane") == started(&self.lines("trail.jsonl"))
        });
        let (events, trail) = (self.lines("evidence/events.jsonl"), self.lines("trail.jsonl"));
        let event = |name: &str, key: &str, id: &Value| {
            let mut found = events.iter().filter(|event| event["event"] == name && event[key] == *id);
            let found = (found.next().cloned(), found.count());
            let (Some(one), 0) = found else { panic!("{name} with {key} {id}: {found:?} in {events:#?}") };
            one
        };
        let record = |name: &str, id: &Value| {
            let mut found = trail.iter().filter(|record| record["eventName"] == name && record["requestID"] == *id);
            let found = (found.next().cloned(), found.count());
            let (Some(one), 0) = found else { panic!("{name} {id}: {found:?} in {trail:#?}") };
            one
        };
        let opened = events.iter().find(|event| event["event"] == "session.opened").expect("it was opened").clone();
        let accepted = event("login.accepted", "id", &opened["connection"]);
        let lanes = events.iter().filter(|event| event["event"] == "session.lane" && event["id"] == opened["id"]);
        let mut sessions = Vec::new();
        for lane in lanes {
            let started = record("StartSession", &lane["aws_request_id"]);
            let assumed = record("AssumeRole", &lane["aws_assume_role_request_id"]);
            told_alike(&accepted, &opened, lane, &started, &assumed);
            sessions.push(json!({ "session.lane": lane, "StartSession": started, "AssumeRole": assumed }));
        }
        assert!(!sessions.is_empty(), "{events:#?}");
        // and there is nothing in AWS's book that is not in ours
        assert_eq!(started(&trail), sessions.len());
        json!({ "login.accepted": accepted, "session.opened": opened, "sessions": sessions })
    }
}

/// The sessions that AWS began; `check` asks for one that it must refuse.
fn started(trail: &[Value]) -> usize {
    trail.iter().filter(|record| record["eventName"] == "StartSession" && record["errorCode"].is_null()).count()
}

/// Who, as whom, where, why and by what: each of it is the same in both.
fn told_alike(accepted: &Value, opened: &Value, lane: &Value, started: &Value, assumed: &Value) {
    assert_eq!((&accepted["person"], &accepted["proof"]), (&opened["person"], &opened["proof"]));
    assert_eq!((&opened["aws_identity"], &opened["aws_role"]), (&json!("person"), &json!(ROLE)));
    let (name, source) = (&opened["aws_session_name"], &opened["aws_source_identity"]);
    // the role's session
    let asked = &assumed["requestParameters"];
    assert_eq!((&asked["roleArn"], &asked["roleSessionName"], &asked["sourceIdentity"]), (&json!(ROLE), name, source));
    assert_eq!(assumed["userIdentity"]["arn"], "arn:aws:iam::123456789012:user/portcullis", "the gateway asks for it");
    let tag = |key: &str| {
        let tags = asked["tags"].as_array().unwrap();
        tags.iter().find(|tag| tag["key"] == key).map(|tag| tag["value"].clone()).unwrap_or_default()
    };
    assert_eq!((tag("portcullis:person"), tag("portcullis:node")), (opened["person"].clone(), opened["node"].clone()));
    // the session on the node, by its person
    let who = &started["userIdentity"];
    let (name, role) = (name.as_str().unwrap(), ROLE.rsplit('/').next().unwrap());
    assert_eq!(who["arn"], format!("arn:aws:sts::123456789012:assumed-role/{role}/{name}"));
    assert_eq!((&who["sessionContext"]["sourceIdentity"], &who["type"]), (source, &json!("AssumedRole")));
    assert_eq!(who["accessKeyId"], assumed["responseElements"]["credentials"]["accessKeyId"], "by those credentials");
    let asked = &started["requestParameters"];
    assert_eq!((&asked["target"], &asked["reason"]), (&opened["node"], &opened["reason"]));
    assert_eq!((&opened["node"], &started["errorCode"]), (&json!(NODE), &Value::Null));
    let id = &started["responseElements"]["sessionId"];
    assert_eq!(id, &lane["session_manager_id"]);
    assert!(id.as_str().unwrap().starts_with(&format!("{name}-")), "{id} is of {name}");
    let secret = started["responseElements"]["tokenValue"].as_str().unwrap();
    assert!(secret.contains("hidden"), "{secret}");
}

/// Where somebody has logged in, its gateway, and what they got.
type LoggedIn = (Account, Ended, Run);

/// How somebody logs in.
type LogIn = fn() -> LoggedIn;

fn by_key() -> LoggedIn {
    let account = Account::of_people();
    account.configured("");
    let serving = account.serve();
    let ran = account.ssh("web-1+INC-1 by key", "echo in");
    (account, serving, ran)
}

fn by_certificate() -> LoggedIn {
    let account = Account::of_people();
    let keygen = |args: &[&str]| {
        let mut keygen = Command::new("ssh-keygen");
        run(keygen.current_dir(account.at(".")).arg("-q").args(args), b"", PATIENCE).ok();
    };
    keygen(&["-t", "ed25519", "-N", "", "-f", "people-ca"]);
    let config = account.at("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let key = text.lines().find(|line| line.starts_with("keys = ")).unwrap();
    std::fs::write(&config, text.replace(key, "keys = []")).unwrap();
    let authority = std::fs::read_to_string(account.at("people-ca.pub")).unwrap();
    account
        .configured(&format!("[[certificate_authorities]]\nname = \"people-ca\"\nkeys = [\"{}\"]\n", authority.trim()));
    keygen(&["-s", "people-ca", "-I", "ada@laptop", "-n", "ada", "-V", "-5m:+1d", "-z", "7", "user.pub"]);
    let serving = account.serve();
    let ran = account.ssh("web-1+INC-2 by certificate", "echo in");
    (account, serving, ran)
}

fn by_key_and_code() -> LoggedIn {
    let account = Account::of_people();
    std::fs::write(account.at("totp"), format!("ada {SECRET}\n")).unwrap();
    std::fs::set_permissions(account.at("totp"), std::fs::Permissions::from_mode(0o600)).unwrap();
    account.configured(
        "[[proofs]]\npeople = [\"ada\"]\nenough = [\"key and totp\"]\n[second_factor]\ntotp_secrets = \"totp\"\n",
    );
    let serving = account.serve();
    let mut ssh = account.asked(&format!("oathtool --totp --base32 {SECRET}"), "web-1+INC-3 by key and code");
    let ran = run(ssh.arg("echo in"), b"", PATIENCE);
    (account, serving, ran)
}

fn by_sign_in() -> LoggedIn {
    let (account, provider) = (Account::of_people(), OpenId::start());
    std::fs::write(account.at("secret"), "a secret of the gateway's own\n").unwrap();
    std::fs::set_permissions(account.at("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    account.configured(&format!(
        "[[people]]\nname = \"ada@example.com\"\n[[proofs]]\npeople = [\"*\"]\nenough = [\"oidc\"]\n\
         [oidc]\nissuer = \"{}\"\nclient_id = \"gate\"\nname_claim = \"email\"\nscopes = [\"openid\", \"email\"]\n\
         client_secret_file = \"secret\"\n",
        provider.issuer
    ));
    let serving = account.serve();
    let mut ssh = account.asked("echo", "web-1+INC-4 by sign-in");
    ssh.args(["-o", "PubkeyAuthentication=no", "echo in"]);
    let began = std::time::Instant::now();
    let mut child = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut told, mut said) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    let url = loop {
        assert!(told.read_line(&mut said).unwrap() > 0, "ssh has ended: {said}");
        if let Some(url) = said.split_whitespace().find(|word| word.contains("user_code=")) {
            break url.to_owned();
        }
    };
    provider.sign_in(&url);
    child.stderr = Some(told.into_inner());
    let ended = child.wait_with_output().unwrap();
    let stderr = [said.as_bytes(), &ended.stderr].concat();
    (account, serving, Run { status: ended.status, stdout: ended.stdout, stderr, took: began.elapsed() })
}

#[test]
fn each_kind_of_proof_is_one_story_in_aws_s_record_and_in_the_gateway_s_log() {
    let proofs: [(&str, &str, LogIn); 4] = [
        ("publickey SHA256:", "ada", by_key),
        ("certificate SHA256:", "ada", by_certificate),
        ("publickey SHA256:", "ada", by_key_and_code),
        ("oidc http://127.0.0.1:", "ada@example.com", by_sign_in),
    ];
    let mut stories = serde_json::Map::new();
    for ((proof, person, log_in), name) in proofs.into_iter().zip(["key", "certificate", "key and code", "sign-in"]) {
        let (account, _serving, ran) = log_in();
        assert_eq!(ran.ok().out(), "in\n", "{name}: {}", account.log());
        let story = account.joined();
        let opened = &story["session.opened"];
        assert_eq!(opened["person"], person);
        assert!(opened["proof"].as_str().unwrap().starts_with(proof), "{opened}");
        assert_eq!(opened["proof"].as_str().unwrap().ends_with(" and totp"), name == "key and code", "{opened}");
        assert_eq!((&opened["policy"], &opened["aws_source_identity"]), (&json!("by-ticket"), &json!(person)));
        stories.insert(name.to_owned(), story);
    }
    if std::env::var_os("PORTCULLIS_SHOW_JOINED").is_some() {
        eprintln!("{:#}", Value::Object(stories));
    }
}
