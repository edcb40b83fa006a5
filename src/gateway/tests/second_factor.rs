//! A second factor in keyboard-interactive: asked for by OpenSSH's own client, answered with oathtool's codes.

use std::time::{Duration, Instant, SystemTime};

use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use tokio::process::Command;

use super::wire::{Raw, string, take};
use crate::identity::{Combination, EnoughFor, FirstProof, People, Purpose, RealmRoles, Roles, SecondProof};
use crate::testing::{TestGateway, complaint, content, finish, text};

const SECRET: &str = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK";

/// A gateway where ada's key is enough with a code alone, and bob's by itself.
struct Asking(TestGateway);

impl Asking {
    async fn start() -> Self {
        Self::remembering(Duration::ZERO).await
    }

    async fn remembering(time: Duration) -> Self {
        let asking = Self(TestGateway::start().await);
        asking.enough("ada", true, time);
        asking
    }

    /// Puts people in force of whom one needs a code.
    fn enough(&self, whom: &str, totp: bool, remembered: Duration) {
        let rule = |whom: &str, totp: bool| EnoughFor {
            people: vec![whom.to_owned()],
            enough: vec![Combination { first: FirstProof::Key, second: totp.then_some(SecondProof::Totp) }],
            ..EnoughFor::default()
        };
        let public = |name: &str| std::fs::read_to_string(self.0.path(&format!("{name}.pub"))).unwrap();
        let known = ["ada", "bob"].map(|name| (name, [public(name)]));
        let people = People::new(known.iter().map(|(name, keys)| (*name, &keys[..]))).unwrap();
        let rules = vec![rule(whom, totp), rule("*", false)];
        let mut people = people.in_roles(RealmRoles::for_test(Roles::Gateway)).with_enough(rules, remembered);
        assert_eq!(people.add_secrets(format!("ada {SECRET}\nbob {SECRET}\n").as_bytes()), []);
        self.0.roster.replace(people);
    }

    /// `ssh` that shows its questions to a program, which gives these answers and counts.
    fn ssh(&self, answers: &[&str], args: &[&str]) -> Command {
        std::fs::write(self.0.path("answers"), answers.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
        let program = self.0.path("askpass");
        if !program.exists() {
            let dir = self.0.dir.path().display();
            let script = format!(
                "#!/bin/sh\ncd {dir} || exit 1\necho \"$1\" >>asked\nsleep \"$(cat pause 2>/dev/null || echo 0)\"\n\
                 head -n 1 answers\nsed -i 1d answers\n"
            );
            std::fs::write(&program, script).unwrap();
            let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
            std::fs::set_permissions(&program, mode).unwrap();
        }
        let mut ssh = self.0.ssh(&[&["-o", "BatchMode=no"][..], args].concat());
        ssh.env("SSH_ASKPASS", program).env("SSH_ASKPASS_REQUIRE", "force");
        ssh
    }

    /// Every question so far.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.0.path("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    fn key(&self, name: &str) -> PrivateKey {
        PrivateKey::from_openssh(std::fs::read_to_string(self.0.path(name)).unwrap()).unwrap()
    }

    /// What a client gets who proves a key: the type of the answer, and whether it is half of what is wanted.
    async fn prove(&self, raw: &mut Raw, login: &str, name: &str) -> bool {
        let key = self.key(name);
        let sign = |data: &[u8]| {
            let signature: Signature = key.try_sign(data).unwrap();
            [&b"ssh-ed25519"[..], signature.as_bytes()].map(string).concat()
        };
        raw.prove(login, "ssh-ed25519", &key.public_key().to_bytes().unwrap(), sign).await
    }
}

/// A code of so many seconds ahead.
async fn code(ahead: i64) -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let at = format!("@{}", i64::try_from(seconds).unwrap() + ahead);
    let mut oathtool = Command::new("oathtool");
    oathtool.args(["--totp", "--base32", "--now", &at, SECRET]);
    content(&finish(oathtool).await).trim().to_owned()
}

/// What there is no code of now.
async fn wrong() -> String {
    let good = [code(-60).await, code(-30).await, code(0).await, code(30).await, code(60).await];
    (100_000..).map(|number| number.to_string()).find(|code| !good.contains(code)).unwrap()
}

impl Raw {
    /// Asks to be asked; gives the answer.
    async fn keyboard(&mut self, login: &str) -> Vec<u8> {
        let method = [login.as_bytes(), b"ssh-connection", b"keyboard-interactive", b"", b""].map(string).concat();
        self.send(&[&[50], &method[..]].concat()).await;
        self.about_the_login().await
    }

    async fn answer(&mut self, answers: &[&str]) -> Vec<u8> {
        let count = u32::try_from(answers.len()).unwrap().to_be_bytes();
        let all: Vec<u8> = answers.iter().flat_map(|answer| string(answer.as_bytes())).collect();
        self.send(&[&[61], &count[..], &all].concat()).await;
        self.about_the_login().await
    }

    async fn about_the_login(&mut self) -> Vec<u8> {
        loop {
            let packet = self.receive().await;
            if matches!(packet[0], 1 | 51 | 52 | 60) {
                return packet;
            }
        }
    }
}

/// The methods that a refusal offers.
fn offered(refusal: &[u8]) -> String {
    assert_eq!(refusal[0], 51);
    text(&take(&mut &refusal[1..]))
}

#[tokio::test]
async fn a_code_after_the_key_lets_in_and_is_asked_for_once() {
    let gateway = Asking::start().await;
    let ran = finish(gateway.ssh(&[&code(0).await], &["web", "echo in"])).await;
    assert_eq!(content(&ran), "in\n");
    assert_eq!(gateway.asked(), ["(web-1@127.0.0.1) Verification code: "]);
    for event in ["login.accepted", "session.opened"] {
        let event = gateway.0.event(|found| found["event"] == event).await;
        assert_eq!(event["second_factor"]["kind"], "totp", "{event}");
        assert!(event["proof"].as_str().unwrap().ends_with(" and totp") && event["second_factor"]["at"].is_string());
    }
    // whose key is enough is asked nothing, whatever they have
    content(&finish(gateway.ssh(&[], &["bob", "true"])).await);
    assert_eq!(gateway.asked().len(), 1);
}

#[tokio::test]
async fn a_code_is_good_once_across_connections() {
    let gateway = Asking::start().await;
    let (code, wrong) = (code(0).await, wrong().await);
    content(&finish(gateway.ssh(&[&wrong, &code], &["web", "true"])).await);
    assert_eq!(gateway.asked().len(), 2, "ssh asks again by itself");
    complaint(&finish(gateway.ssh(&[&code, &code, &code], &["web", "true"])).await);
    let refused = gateway.0.event(|event| event["event"] == "login.refused").await;
    assert_eq!(refused["code"], "second-factor-wrong", "{refused}");
}

#[tokio::test]
async fn au2_half_of_who_somebody_is_counts_for_one_name_and_one_key() {
    let gateway = Asking::start().await;
    let mut raw = Raw::encrypted(gateway.0.address).await;
    assert!(!gateway.prove(&mut raw, "web-1", "ada").await);
    // under another name it is nothing, and neither is it then under the first
    assert_eq!(raw.keyboard("web-2").await[0], 51);
    assert_eq!(offered(&raw.keyboard("web-1").await), "publickey", "from the beginning");
    assert!(!gateway.prove(&mut raw, "web-1", "ada").await);
    assert_eq!(raw.keyboard("web-1").await[0], 60);
    // what else is tried ends the question
    assert!(!gateway.prove(&mut raw, "web-1", "stranger").await);
    assert_eq!(raw.answer(&[&code(0).await]).await[0], 51, "to no question");
    // and whoever signs last is who it is
    assert!(gateway.prove(&mut raw, "web-1", "bob").await);
    let accepted = gateway.0.event(|event| event["event"] == "login.accepted").await;
    assert_eq!((&accepted["person"], &accepted["second_factor"]), (&"bob".into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn au4_an_empty_answer_no_answer_and_two_answers_are_none() {
    let gateway = Asking::start().await;
    let mut raw = Raw::encrypted(gateway.0.address).await;
    let public = gateway.key("ada").public_key().to_bytes().unwrap();
    assert_eq!(raw.offer_key("web-1", "ssh-ed25519", &public).await.0, 60);
    assert_eq!(raw.keyboard("web-1").await[0], 51, "a key that nobody has signed with");
    assert!(!gateway.prove(&mut raw, "web-1", "ada").await);
    let code = code(0).await;
    for answers in [&[][..], &[""], &["", &code], &[&code, &code], &["\u{ff11}23456"]] {
        let question = raw.keyboard("web-1").await;
        assert_eq!(question[0], 60);
        assert_eq!(offered(&raw.answer(answers).await), "keyboard-interactive", "{answers:?}");
    }
    // five guesses: the next is told that it is of no use, and the right one is not looked at
    let told = raw.keyboard("web-1").await;
    assert!(told[0] == 60 && text(&told).contains("too many wrong codes"), "{}", text(&told));
    assert_eq!(raw.answer(&[&code]).await[0], 51);
}

#[tokio::test]
async fn au3_guesses_run_out_and_then_nobody_is_asked() {
    let gateway = Asking::start().await;
    let wrong = wrong().await;
    let many = ["-o", "NumberOfPasswordPrompts=9", "web", "true"];
    complaint(&finish(gateway.ssh(&[wrong.as_str(); 9], &many)).await);
    assert_eq!(gateway.asked().len(), 5);
    // on another connection, with the right one
    let said = complaint(&finish(gateway.ssh(&[&code(0).await], &["web", "true"])).await);
    assert_eq!(gateway.asked().len(), 5, "nobody is asked for what is not looked at");
    assert!(said.contains("Permission denied"), "{said}");
    let code = |code: &'static str| move |event: &serde_json::Value| event["code"] == code;
    gateway.0.event(code("too-many-guesses")).await;
    assert_eq!(content(&gateway.0.run(&["bob", "echo in"]).await), "in\n", "others are not concerned");
}

#[tokio::test]
async fn au3_wrong_codes_count_as_attempts_beside_all_else() {
    let gateway = Asking(TestGateway::with(|settings| settings.limits.auth_attempts = 3).await);
    gateway.enough("ada", true, Duration::ZERO);
    let wrong = wrong().await;
    let mut raw = Raw::encrypted(gateway.0.address).await;
    // half of what is wanted is none
    assert!(!gateway.prove(&mut raw, "web-1", "ada").await);
    for _ in 0..3 {
        assert_eq!(raw.keyboard("web-1").await[0], 60);
        assert_eq!(raw.answer(&[&wrong]).await[0], 51);
    }
    assert_eq!(
        raw.keyboard("web-1").await[..5],
        [1, 0, 0, 0, 14],
        "three is what there is, and the right code comes too late"
    );
}

#[tokio::test]
async fn au10_without_the_code_nothing_opens_whatever_is_asked_for() {
    let gateway = Asking::start().await;
    let config = gateway.0.path("ssh_config").display().to_string();
    std::fs::write(gateway.0.path("file"), "x").unwrap();
    let file = gateway.0.path("file").display().to_string();
    let control = format!("ControlPath={}", gateway.0.path("control").display());
    let forward = format!("{}:localhost:22", gateway.0.path("forwarded").display());
    for (program, args) in [
        ("ssh", &["-tt", "web"][..]),
        ("ssh", &["web", "true"]),
        ("ssh", &["-s", "web", "sftp"]),
        ("ssh", &["-N", "-L", &forward, "web"]),
        ("ssh", &["-N", "-R", "0:localhost:22", "web"]),
        ("ssh", &["-W", "localhost:22", "web"]),
        ("ssh", &["-o", "ControlMaster=yes", "-o", &control, "web", "true"]),
        ("ssh", &["gate", "nodes"]),
        ("scp", &[&file, "web:/tmp/x"]),
        ("scp", &["-O", &file, "web:/tmp/x"]),
        ("sftp", &["-b", "/dev/null", "web"]),
    ] {
        // BatchMode is what the configuration says
        let mut command = Command::new(program);
        command.args(["-F", &config]).args(args).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let said = complaint(&finish(command).await);
        assert!(said.contains("Permission denied (keyboard-interactive)"), "{program} {args:?}: {said}");
    }
    let events = gateway.0.events();
    let refused = events.iter().filter(|event| event["code"] == "second-factor-needed").count();
    assert!(refused > 0 && !events.iter().any(|event| event["event"] == "login.accepted"), "{events:#?}");
}

#[tokio::test]
async fn five_dials_ask_once_and_only_from_there_with_that_key() {
    let gateway = Asking::remembering(Duration::from_secs(600)).await;
    // the person takes their time
    std::fs::write(gateway.0.path("pause"), "2").unwrap();
    let dials: Vec<_> = {
        let code = code(0).await;
        (0..5).map(|_| tokio::spawn(finish(gateway.ssh(&[&code], &["web", "echo in"])))).collect()
    };
    for dial in dials {
        assert_eq!(content(&dial.await.unwrap()), "in\n");
    }
    assert_eq!(gateway.asked().len(), 1);
    // a client that can't ask, later
    assert_eq!(content(&gateway.0.run(&["web", "echo in"]).await), "in\n");
    let events = gateway.0.events();
    let times: std::collections::BTreeSet<String> = events
        .iter()
        .filter(|event| event["event"] == "login.accepted")
        .map(|event| event["second_factor"]["at"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(times.len(), 1, "all of them have the one that was asked for");
    // from another address of this machine
    let said = complaint(&gateway.0.run(&["-b", "127.0.0.2", "web", "true"]).await);
    assert!(said.contains("Permission denied (keyboard-interactive)"), "{said}");
}

#[tokio::test]
async fn where_nothing_is_remembered_one_asks_after_the_other() {
    let gateway = Asking::start().await;
    std::fs::write(gateway.0.path("pause"), "1").unwrap();
    let codes = [code(0).await, code(30).await];
    let answers: Vec<&str> = codes.iter().map(String::as_str).collect();
    let dials = [(); 2].map(|()| tokio::spawn(finish(gateway.ssh(&answers, &["web", "echo in"]))));
    for dial in dials {
        assert_eq!(content(&dial.await.unwrap()), "in\n");
    }
    assert_eq!(gateway.asked().len(), 2);
}

#[tokio::test]
async fn who_gives_up_leaves_the_question_to_the_next() {
    let gateway = Asking::remembering(Duration::from_secs(600)).await;
    let mut first = Raw::encrypted(gateway.0.address).await;
    assert!(!gateway.prove(&mut first, "web-1", "ada").await);
    assert!(text(&first.keyboard("web-1").await).contains("Verification code"));
    let mut second = Raw::encrypted(gateway.0.address).await;
    assert!(!gateway.prove(&mut second, "web-1", "ada").await);
    let waits = second.keyboard("web-1").await;
    assert!(text(&waits).contains("Another connection of yours"), "{}", text(&waits));
    let begun = Instant::now();
    assert!(!text(&second.answer(&[]).await).contains("code"), "it waits, and says so once");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(first);
    let mut asked = second.answer(&[]).await;
    while !text(&asked).contains("Verification code") {
        asked = second.answer(&[]).await;
    }
    assert_eq!(second.answer(&[&code(0).await]).await[0], 52);
}

#[tokio::test]
async fn a_rule_that_comes_to_want_a_code_ends_what_was_opened_without() {
    let gateway = Asking::start().await;
    let judge = || {
        let (people, now) = (gateway.0.roster.current(), SystemTime::now());
        gateway.0.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn))
    };
    let mut ada = gateway.ssh(&[&code(0).await], &["web", "echo runs; sleep 60"]);
    let ada = tokio::spawn(async move { ada.output().await.unwrap() });
    let mut bob = gateway.0.ssh(&["bob", "echo runs; sleep 60"]);
    let bob = tokio::spawn(async move { bob.output().await.unwrap() });
    gateway.0.runs(2).await;
    assert_eq!(judge(), 0);
    gateway.enough("bob", true, Duration::ZERO);
    assert_eq!(judge(), 1);
    let told = complaint(&tokio::time::timeout(Duration::from_secs(20), bob).await.unwrap().unwrap());
    assert!(told.contains("a second factor has to be there"), "{told}");
    // her secret is gone, and nobody asks for a code any more: she goes on
    let public = std::fs::read_to_string(gateway.0.path("ada.pub")).unwrap();
    let people = People::new([("ada", &[public][..])]).unwrap().in_roles(RealmRoles::for_test(Roles::Gateway));
    gateway.0.roster.replace(people.clone());
    assert_eq!(judge(), 0);
    let rule = EnoughFor {
        people: vec!["*".to_owned()],
        enough: vec![Combination { first: FirstProof::Key, second: Some(SecondProof::Totp) }],
        ..EnoughFor::default()
    };
    gateway.0.roster.replace(people.with_enough(vec![rule], Duration::ZERO));
    assert_eq!(judge(), 1);
    complaint(&tokio::time::timeout(Duration::from_secs(20), ada).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_policy_that_wants_a_second_factor_has_it_asked_for_and_denies_without() {
    let policies = "@id(\"web\") @second_factor(\"required\") permit (principal, action, resource)\n\
                    when { resource.name == \"web-1\" };\n\
                    @id(\"db\") permit (principal, action, resource) when { resource.name == \"db-9\" };";
    let gateway = Asking(TestGateway::under(policies).await);
    gateway.enough("nobody", false, Duration::ZERO);
    assert_eq!(content(&finish(gateway.ssh(&[&code(0).await], &["web", "echo in"])).await), "in\n");
    assert_eq!(gateway.asked().len(), 1);
    // of another node, and of the gateway itself, none is asked for
    assert!(!complaint(&gateway.0.run(&["nowhere", "true"]).await).contains("Permission denied"));
    assert!(content(&gateway.0.run(&["gate", "whoami"]).await).starts_with("ada (publickey SHA256:"));
    // who has no secret can't be asked, and is told
    let public = std::fs::read_to_string(gateway.0.path("ada.pub")).unwrap();
    let people = People::new([("ada", &[public][..])]).unwrap().in_roles(RealmRoles::for_test(Roles::Gateway));
    gateway.0.roster.replace(people);
    let said = complaint(&gateway.0.run(&["web", "true"]).await);
    assert!(said.contains("denied by policy \"web\": Exec on web-1 needs a second factor"), "{said}");
    let refused = gateway.0.event(|event| event["code"] == "second-factor-needed").await;
    assert_eq!(refused["event"], "channel.refused");
}

#[tokio::test]
async fn inside_a_hop_a_code_is_asked_for_where_a_policy_wants_one_and_nobody_is_asked_who_they_are() {
    let policies = "@id(\"hop\") permit (principal, action == Action::\"Hop\", resource);\n\
                    @id(\"web\") @second_factor(\"required\") permit (principal, action in Action::\"Sessions\", resource);";
    let gateway = Asking(TestGateway::under(policies).await);
    gateway.enough("nobody", false, Duration::ZERO);
    let mut raw = Raw::encrypted(gateway.0.inside("web-1").await).await;
    raw.ask_to_log_in().await;
    raw.send(&[&[50], &[&b"root"[..], b"ssh-connection", b"none"].map(string).concat()[..]].concat()).await;
    let half = raw.about_the_login().await;
    assert_eq!((half[0], half.last()), (51, Some(&1)), "half of what is wanted");
    // under another name it is the same half, of the same person
    let other = raw.keyboard("ada").await;
    assert_eq!((other[0], other.last()), (51, Some(&1)));
    assert_eq!(raw.keyboard("ada").await[0], 60);
    assert_eq!(raw.answer(&[&wrong().await]).await[0], 51);
    assert_eq!(raw.keyboard("ada").await[0], 60);
    assert_eq!(raw.answer(&[&code(0).await]).await, [52]);
    raw.exec(1, 1 << 20, 32768, "echo in").await;
    let opened = gateway.0.event(|event| event["action"] == "Exec").await;
    assert_eq!((&opened["person"], &opened["second_factor"]["kind"]), (&"ada".into(), &"totp".into()));
}
