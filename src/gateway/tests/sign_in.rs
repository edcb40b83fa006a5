//! Signing in at a certified OpenID provider, as OpenSSH's own client shows it and a person with a browser does it.

use std::process::Output;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::identity::{
    Combination, EnoughFor, FirstProof, People, Purpose, RealmRoles, Roles, SecondProof, SignIns, TokenRules,
};
use crate::oidc::{Provider, ProviderOptions};
use crate::testing::{OpenId, TestGateway, complaint, content, finish, text};

pub(super) const SIGN_IN: Combination = Combination { first: FirstProof::SignIn, second: None };
pub(super) const KEY: Combination = Combination { first: FirstProof::Key, second: None };
const KEY_AND_SIGN_IN: Combination = Combination { first: FirstProof::Key, second: Some(SecondProof::SignIn) };

/// A gateway whose people sign in at a provider.
pub(super) struct SigningIn {
    pub(super) gateway: TestGateway,
    pub(super) provider: OpenId,
    /// What the gateway asks it by.
    asks: Provider,
    /// Who is who in AWS.
    roles: Roles,
}

fn people_there() -> Value {
    json!({
        "ada": { "preferred_username": "ada", "email": "ada", "email_verified": true, "groups": ["dev"] },
        "bob": { "preferred_username": "bob", "email": "ada", "email_verified": false },
        "eve": { "preferred_username": "eve" },
    })
}

impl SigningIn {
    async fn start(enough: &[Combination]) -> Self {
        Self::with(enough, json!({}), |_| ()).await
    }

    async fn with(enough: &[Combination], more: Value, change: impl FnOnce(&mut ProviderOptions)) -> Self {
        let provider = OpenId::start(people_there(), more).await;
        let mut options = Self::asking(&provider);
        change(&mut options);
        let asks = Provider::new(options).unwrap();
        let gateway = TestGateway::with(|settings| settings.provider = Some(asks.clone())).await;
        Self::of(gateway, provider, asks, Roles::Gateway, enough)
    }

    /// How a gateway asks it.
    pub(super) fn asking(provider: &OpenId) -> ProviderOptions {
        ProviderOptions {
            rules: TokenRules {
                issuer: provider.issuer.clone(),
                client_id: "gate".to_owned(),
                name_claim: "preferred_username".to_owned(),
                groups_claim: Some("groups".to_owned()),
                ..TokenRules::default()
            },
            secret: None,
            scopes: ["openid", "profile", "email", "groups"].map(str::to_owned).to_vec(),
            max_age: Some(Duration::from_secs(300)),
            nonce: false,
            counts: None,
            recheck: Duration::from_secs(1),
            ca_bundle: None,
            proxy: None,
            pending: 8,
            pending_per_address: 2,
            starts_a_minute: 60,
        }
    }

    /// A gateway that is there, with this provider.
    pub(super) fn of(
        gateway: TestGateway,
        provider: OpenId,
        asks: Provider,
        roles: Roles,
        enough: &[Combination],
    ) -> Self {
        let signing_in = Self { gateway, provider, asks, roles };
        signing_in.put_in_force(enough, &["ada", "bob"]);
        signing_in
    }

    /// These people, with their keys, for whom this is enough.
    fn put_in_force(&self, enough: &[Combination], known: &[&str]) {
        let public = |name: &str| std::fs::read_to_string(self.gateway.path(&format!("{name}.pub"))).unwrap();
        let known: Vec<_> = known.iter().map(|name| (*name, [public(name)])).collect();
        let people = People::new(known.iter().map(|(name, keys)| (*name, &keys[..])))
            .unwrap()
            .in_roles(RealmRoles::for_test(self.roles.clone()));
        let rule = EnoughFor { people: vec!["*".to_owned()], groups: Vec::new(), enough: enough.to_vec() };
        let issuer = self.provider.issuer.clone();
        let people = people.with_enough(vec![rule], Duration::ZERO);
        self.gateway.roster.replace(people.who_sign_in(SignIns { issuer, unlisted_people: false }));
    }

    /// `ssh` that shows what it is told, and whose person presses Enter at once.
    fn ssh(&self, args: &[&str]) -> Command {
        let program = self.gateway.path("askpass");
        let dir = self.gateway.dir.path().display();
        // once: another ssh may be about to run it
        if !program.exists() {
            std::fs::write(&program, format!("#!/bin/sh\necho \"$1\" >>{dir}/asked\necho\n")).unwrap();
            let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
            std::fs::set_permissions(&program, mode).unwrap();
        }
        let mut ssh = self.gateway.ssh(&[&["-o", "BatchMode=no", "-o", "LogLevel=INFO"][..], args].concat());
        ssh.env("SSH_ASKPASS", program).env("SSH_ASKPASS_REQUIRE", "force");
        ssh
    }

    /// The same without a key, up to where it shows an address with a code in it; that, and the client.
    pub(super) async fn shown(&self, args: &[&str]) -> (String, Client) {
        self.shown_by(self.ssh(&[&["-o", "PubkeyAuthentication=no"][..], args].concat())).await
    }

    async fn shown_by(&self, mut ssh: Command) -> (String, Client) {
        let mut client = Client { child: ssh.spawn().unwrap(), said: String::new() };
        let mut lines = BufReader::new(client.child.stderr.take().unwrap()).lines();
        let mut url = None;
        while url.is_none() {
            let line =
                tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.expect("it says something");
            let line = line.unwrap().unwrap_or_else(|| panic!("ssh has ended: {}", client.said));
            client.said.push_str(&format!("{line}\n"));
            url = line
                .trim()
                .strip_prefix(&self.provider.issuer)
                .filter(|rest| rest.contains("user_code="))
                .map(str::to_owned);
        }
        client.child.stderr = Some(lines.into_inner().into_inner());
        (format!("{}{}", self.provider.issuer, url.unwrap()), client)
    }

    fn asked(&self) -> usize {
        std::fs::read_to_string(self.gateway.path("asked")).unwrap_or_default().lines().count()
    }

    pub(super) async fn refused(&self, code: &str) -> Value {
        self.gateway.event(|event| event["event"] == "login.refused" && event["code"] == code).await
    }

    fn judge(&self) -> usize {
        let (people, now) = (self.gateway.roster.current(), SystemTime::now());
        self.gateway.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn))
    }
}

pub(super) struct Client {
    child: Child,
    /// On its stderr so far.
    said: String,
}

impl Client {
    pub(super) async fn ends(self) -> Output {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait_with_output()).await;
        let mut output = ended.expect("ssh did not come to its end").unwrap();
        output.stderr = [self.said.as_bytes(), &output.stderr].concat();
        output
    }
}

#[tokio::test]
async fn somebody_without_a_key_signs_in_and_is_in() {
    let gate = SigningIn::start(&[SIGN_IN]).await;
    let (url, client) = gate.shown(&["web", "echo in"]).await;
    assert!(client.said.contains("Sign in with a browser within 2 minutes"), "{}", client.said);
    gate.provider.sign_in(&url, "ada").await;
    let ran = client.ends().await;
    assert_eq!(content(&ran), "in\n");
    let asked = std::fs::read_to_string(gate.gateway.path("asked")).unwrap();
    assert_eq!(asked, "(web-1@127.0.0.1) Press Enter when you have signed in: \n");
    for event in ["login.accepted", "session.opened"] {
        let event = gate.gateway.event(|found| found["event"] == event).await;
        assert_eq!(event["proof"], format!("oidc {} ada", gate.provider.issuer), "{event}");
        assert_eq!(
            (&event["oidc"]["issuer"], &event["oidc"]["subject"]),
            (&gate.provider.issuer.as_str().into(), &"ada".into())
        );
        assert!(event["oidc"]["at"].is_string() && event["person"] == "ada", "{event}");
    }
    // no token is anywhere
    let log = std::fs::read_to_string(gate.gateway.path(crate::evidence::EventLog::FILE)).unwrap();
    assert!(!log.contains("eyJ") && !text(&ran.stderr).contains("eyJ"), "{log}");
}

#[tokio::test]
async fn whoami_says_by_whom_somebody_is_known_and_policies_may_look_at_it() {
    let policies = "@id(\"web\") permit (principal in Group::\"dev\", action, resource) when { resource.name == \"web-1\" && \
                    context.proof == \"oidc\" && context.authentication has oidc && \
                    context.authentication.oidc.subject == \"ada\" && !(context.authentication has key) };";
    let gate = SigningIn::start(&[SIGN_IN, KEY]).await;
    gate.gateway.policies.replace(crate::policy::Policy::for_test(policies));
    let (url, client) = gate.shown(&["web", "echo in"]).await;
    gate.provider.sign_in(&url, "ada").await;
    assert_eq!(content(&client.ends().await), "in\n");
    // by her key she is in none of the provider's groups
    complaint(&gate.gateway.run(&["web", "echo in"]).await);
    let (url, client) = gate.shown(&["gate", "whoami"]).await;
    gate.provider.sign_in(&url, "ada").await;
    assert!(content(&client.ends().await).starts_with(&format!("ada (oidc {} ada)", gate.provider.issuer)));
}

#[tokio::test]
async fn beside_a_key_it_must_be_its_owner_who_signs_in() {
    let gate = SigningIn::start(&[KEY_AND_SIGN_IN]).await;
    let (url, client) = gate.shown_by(gate.ssh(&["web", "echo in"])).await;
    gate.provider.sign_in(&url, "ada").await;
    assert_eq!(content(&client.ends().await), "in\n");
    let opened = gate.gateway.event(|event| event["event"] == "session.opened").await;
    let proof = opened["proof"].as_str().unwrap();
    assert!(
        proof.starts_with("publickey SHA256:") && proof.ends_with(" ada") && proof.contains(" and oidc "),
        "{proof}"
    );
    assert_eq!(opened["second_factor"]["kind"], "oidc");
    let (url, client) = gate.shown_by(gate.ssh(&["web", "echo in"])).await;
    gate.provider.sign_in(&url, "bob").await;
    let said = complaint(&client.ends().await);
    assert!(said.contains("may not log in here by that"), "{said}");
    let refused = gate.refused("sign-in-of-nobody").await;
    assert!(refused["reason"].as_str().unwrap().contains("the key or certificate is ada's"), "{refused}");
    // who has no key is not asked for anything
    let asked = gate.asked();
    complaint(&finish(gate.ssh(&["-o", "PubkeyAuthentication=no", "web", "true"])).await);
    assert_eq!(gate.asked(), asked);
    gate.refused("method-not-taken").await;
}

#[tokio::test]
async fn au1_whoever_is_nobody_here_or_says_no_or_too_late_is_refused_and_the_log_says_why() {
    let gate = SigningIn::start(&[SIGN_IN]).await;
    let (url, client) = gate.shown(&["web", "true"]).await;
    gate.provider.deny(&url).await;
    assert!(complaint(&client.ends().await).contains("The sign-in was denied at the provider."));
    gate.refused("sign-in-failed").await;
    let (url, client) = gate.shown(&["web", "true"]).await;
    gate.provider.sign_in(&url, "eve").await;
    let said = complaint(&client.ends().await);
    assert!(said.contains("may not log in here by that") && !said.contains("eve"), "{said}");
    let refused = gate.refused("sign-in-of-nobody").await;
    assert!(refused["reason"].as_str().unwrap().contains("eve has signed in, and is none of [[people]]"), "{refused}");
    // somebody else than the login names
    let (url, client) = gate.shown(&["-l", "bob/web-1", "web", "true"]).await;
    gate.provider.sign_in(&url, "ada").await;
    complaint(&client.ends().await);
    let named = |event: &Value| event["reason"] == "ada has signed in, and the login names bob";
    gate.gateway.event(named).await;
    // and one code a connection: the client's further tries show no other
    assert_eq!(gate.asked(), 3);
}

/// A code is no token of anybody's: it is good for the connection that asked for it, once, and while that is there.
#[tokio::test]
async fn au11_a_code_lets_in_the_connection_that_asked_for_it_once_and_no_other() {
    let gate = SigningIn::start(&[SIGN_IN]).await;
    let accepted = || gate.gateway.events().iter().filter(|event| event["event"] == "login.accepted").count();
    let (first_url, first) = gate.shown(&["web", "echo first"]).await;
    let (second_url, second) = gate.shown(&["web", "echo second"]).await;
    assert_ne!(first_url, second_url);
    gate.provider.sign_in(&first_url, "ada").await;
    assert_eq!(content(&first.ends().await), "first\n");
    // the other one asks for as long as an answer comes to it, and longer
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(accepted(), 1, "another connection's sign-in is nothing to it");
    // what was used is of no use to whoever finds it
    let said = gate.provider.tries_to_sign_in(&first_url, "bob").await;
    assert!(!said.contains("Success"), "{said}");
    // nor is what belonged to a connection that has gone
    drop(second);
    gate.gateway.event(|event| event["event"] == "login.refused" && event["code"] == "sign-in-failed").await;
    gate.provider.tries_to_sign_in(&second_url, "ada").await;
    // another one that comes gets a code of its own, and waits for that
    let (third_url, third) = gate.shown(&["web", "echo third"]).await;
    assert_ne!(third_url, second_url);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(accepted(), 1);
    gate.provider.sign_in(&third_url, "bob").await;
    let said = text(&third.ends().await.stdout);
    assert_eq!(said, "third\n");
    let people: Vec<Value> =
        gate.gateway.events().into_iter().filter(|event| event["event"] == "login.accepted").collect();
    let people: Vec<&Value> = people.iter().map(|event| &event["person"]).collect();
    assert_eq!(people, ["ada", "bob"], "each is who has signed in for it");
}

#[tokio::test]
async fn an_address_that_nobody_has_verified_is_no_name() {
    let gate = SigningIn::with(&[SIGN_IN], json!({}), |options| options.rules.name_claim = "email".to_owned()).await;
    let (url, client) = gate.shown(&["web", "echo in"]).await;
    gate.provider.sign_in(&url, "bob").await;
    assert!(complaint(&client.ends().await).contains("can't be verified"));
    let refused = gate.refused("sign-in-failed").await;
    assert!(refused["reason"].as_str().unwrap().contains("email_verified"), "{refused}");
    let (url, client) = gate.shown(&["web", "echo in"]).await;
    gate.provider.sign_in(&url, "ada").await;
    assert_eq!(content(&client.ends().await), "in\n");
}

#[tokio::test]
async fn what_the_provider_does_not_say_back_was_not_for_this_sign_in_and_a_code_ends() {
    // this provider knows no nonce in a device flow
    let gate = SigningIn::with(&[SIGN_IN], json!({}), |options| options.nonce = true).await;
    let (url, client) = gate.shown(&["web", "true"]).await;
    gate.provider.sign_in(&url, "ada").await;
    complaint(&client.ends().await);
    assert!(gate.refused("sign-in-failed").await["reason"].as_str().unwrap().contains("nonce"));
    let gate = SigningIn::with(&[SIGN_IN], json!({ "codeTtl": 8 }), |_| ()).await;
    let (_, client) = gate.shown(&["web", "true"]).await;
    assert!(complaint(&client.ends().await).contains("The time for the sign-in is over."));
}

#[tokio::test]
async fn a_provider_that_is_down_lets_nobody_in_and_says_so_and_keys_go_on() {
    let mut gate = SigningIn::start(&[SIGN_IN, KEY]).await;
    gate.provider.stop().await;
    let said = complaint(&finish(gate.ssh(&["-o", "PubkeyAuthentication=no", "web", "true"])).await);
    assert!(said.contains("Nobody can sign in now"), "{said}");
    let refused = gate.refused("sign-in-unavailable").await;
    assert!(refused["reason"].as_str().unwrap().starts_with("the provider can't be asked: "), "{refused}");
    assert_eq!(content(&gate.gateway.run(&["web", "echo in"]).await), "in\n");
    assert_eq!(gate.asked(), 0);
}

#[tokio::test]
async fn strangers_begin_few_and_none_where_no_rule_wants_any() {
    let gate = SigningIn::start(&[SIGN_IN]).await;
    let (_, first) = gate.shown(&["web", "true"]).await;
    let (_, second) = gate.shown(&["web", "true"]).await;
    let said = complaint(&finish(gate.ssh(&["-o", "PubkeyAuthentication=no", "web", "true"])).await);
    assert!(said.contains("Too many people sign in at once."), "{said}");
    gate.refused("sign-in-unavailable").await;
    // the end of a connection is the end of its sign-in
    drop((first, second));
    let mut begun = None;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        begun = gate.asks.begin([127, 0, 0, 1].into(), Duration::from_secs(1)).ok();
        if begun.is_some() {
            break;
        }
    }
    assert!(begun.is_some());
    gate.put_in_force(&[KEY], &["ada"]);
    let asked = gate.asked();
    complaint(&finish(gate.ssh(&["-o", "PubkeyAuthentication=no", "web", "true"])).await);
    assert_eq!(gate.asked(), asked);
}

#[tokio::test]
async fn z5_whoever_is_taken_out_and_whoever_the_provider_does_not_stand_to_ends() {
    let gate = SigningIn::with(&[SIGN_IN], json!({}), |options| options.scopes.push("offline_access".to_owned())).await;
    let runs = ["web", "echo runs; sleep 60"];
    let (url, client) = gate.shown(&runs).await;
    gate.provider.sign_in(&url, "ada").await;
    let client = tokio::spawn(client.ends());
    gate.gateway.runs(1).await;
    assert_eq!(gate.judge(), 0);
    gate.put_in_force(&[SIGN_IN], &["bob"]);
    assert_eq!(gate.judge(), 1);
    let told = complaint(&client.await.unwrap());
    assert!(told.contains("ada has signed in, and is none of [[people]]"), "{told}");

    gate.put_in_force(&[SIGN_IN], &["ada"]);
    let (url, client) = gate.shown(&runs).await;
    gate.provider.sign_in(&url, "ada").await;
    let client = tokio::spawn(client.ends());
    gate.gateway.runs(1).await;
    // asked again each second meanwhile, and standing to it
    let end_expired = || {
        let (people, now) = (gate.gateway.roster.current(), SystemTime::now());
        gate.gateway.sessions.end_expired(now, |identity| people.renew(identity, now, Purpose::GoOn))
    };
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(end_expired(), 0);
    gate.provider.sign_everybody_out();
    let mut ended = 0;
    for _ in 0..100 {
        ended += end_expired();
        if ended > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ended, 1);
    let told = complaint(&client.await.unwrap());
    assert!(told.contains("the provider does not stand to your sign-in any more"), "{told}");
}
