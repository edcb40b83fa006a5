//! People who sign in at a certified OpenID provider and are themselves in AWS by their own ID tokens, from OpenSSH's client to the records
//! of the embedded service, which believes the provider's published keys and nobody else.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use serde_json::{Value, json};

use super::sign_in::{KEY, SIGN_IN, SigningIn};
use crate::backend::aws::{AwsBackend, AwsOptions};
use crate::backend::preferences::Preferences;
use crate::backend::{Directory as _, Realms};
use crate::emulator::{ApiKey, IdentityProvider, NodeConfig, Role as IamRole};
use crate::identity::{Role, RoleOf, Roles};
use crate::model::{RealmName, RoleArn};
use crate::oidc::Provider;
use crate::testing::{Elsewhere, EmbeddedService, NODE, OpenId, TestGateway, complaint, content, text};
use crate::transport::{Transport, TransportOptions, documents};

const WEB: &str = "arn:aws:iam::123456789012:role/portcullis-web";
const NODES: &str = "arn:aws:iam::123456789012:role/portcullis-nodes";
const GATEWAY: &str = "arn:aws:iam::123456789012:user/gateway";
const DEPLOYER: &str = "arn:aws:iam::123456789012:user/deployer";

/// A gateway before an account that is as `deploy/iam` makes it, whose people sign in.
struct World {
    gate: SigningIn,
    service: EmbeddedService,
}

impl World {
    /// One in which everybody's role is this, got by a token.
    async fn start(role: &str) -> Self {
        let ada = json!({
            "preferred_username": "ada", "https://aws.amazon.com/source_identity": "ada",
            "https://aws.amazon.com/tags": { "principal_tags": { "team": ["blue"] } },
        });
        let provider = OpenId::start(json!({ "ada": ada }), json!({})).await;
        let keys = provider.keys().await;
        let service = EmbeddedService::builder()
            .configured(|config| {
                let host = provider.issuer.strip_prefix("http://").unwrap();
                let deployed = |name: &str| {
                    let path = format!("{}/deploy/iam/{name}", env!("CARGO_MANIFEST_DIR"));
                    let replaced = [
                        ("${Account}", "123456789012"),
                        ("${Gateway}", GATEWAY),
                        ("${Issuer}", host),
                        ("${ClientId}", "gate"),
                        ("${First}", WEB),
                    ];
                    let text = std::fs::read_to_string(path).unwrap();
                    replaced.iter().fold(text, |text, (name, value)| text.replace(name, value))
                };
                let sessions = || deployed("sessions-policy.json");
                config.keys[0] =
                    ApiKey::new("AKIDCLIENT", "client-secret", GATEWAY, vec![deployed("gateway-policy.json")]);
                let policies = vec![deployed("deployer-policy.json")];
                config.keys.push(ApiKey::new("AKIDDEPLOYER", "deployer-secret", DEPLOYER, policies));
                let first = vec![deployed("web-identity-policy.json"), sessions()];
                config.roles = vec![
                    IamRole::new(WEB, deployed("web-identity-trust.json"), first),
                    IamRole::new(NODES, deployed("chained-trust.json"), vec![sessions()]),
                ];
                let audiences = vec!["gate".to_owned()];
                config.identity_providers = vec![IdentityProvider { issuer: provider.issuer.clone(), audiences, keys }];
                config.nodes = vec![NodeConfig::named(NODE, "web-1").tag("portcullis", "allowed")];
                config.trail = Some("trail.jsonl".into());
            })
            .start()
            .await;
        let keys = Credentials::new("AKIDDEPLOYER", "deployer-secret", None, None, "test");
        let options = AwsOptions { credentials: Some(keys), ..service.aws_options() };
        let deployer = AwsBackend::new(RealmName::for_test(), options).await.unwrap();
        for (name, content) in documents(&Preferences::of_account(&deployer).await.unwrap()) {
            deployer.put_document(name, &content).await.unwrap();
        }
        let backend = Arc::new(AwsBackend::new(RealmName::for_test(), service.aws_options()).await.unwrap());
        let realms = Realms::for_test(backend.clone());
        let transport = Arc::new(Transport::new(&realms, backend, TransportOptions::default()));
        let asks = Provider::new(SigningIn::asking(&provider)).unwrap();
        let elsewhere = Elsewhere { realms, transport };
        let gateway = TestGateway::before(elsewhere, |settings| settings.provider = Some(asks.clone())).await;
        let [arn, first] = [role, WEB].map(|arn| RoleArn::parse(arn).unwrap());
        let role = Role { arn, external_id: None, duration: Duration::from_secs(900), web_identity: Some(first) };
        let all = RoleOf { people: vec!["*".to_owned()], groups: Vec::new(), role: Arc::new(role) };
        let gate = SigningIn::of(gateway, provider, asks, Roles::OfPeople(vec![all]), &[SIGN_IN, KEY]);
        Self { gate, service }
    }

    /// What ssh prints for somebody who signs in.
    async fn signs_in(&self, args: &[&str]) -> String {
        let (url, client) = self.gate.shown(args).await;
        self.gate.provider.sign_in(&url, "ada").await;
        content(&client.ends().await)
    }

    fn trail(&self) -> String {
        std::fs::read_to_string(self.service.trail().unwrap()).unwrap_or_default()
    }

    /// The records of a call.
    fn records(&self, name: &str) -> Vec<Value> {
        let text = self.trail();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["eventName"] == name).collect()
    }

    /// No token is anywhere.
    fn tells_no_token(&self) {
        let log = std::fs::read_to_string(self.gate.gateway.path(crate::evidence::EventLog::FILE)).unwrap();
        assert!(!log.contains("eyJ") && !self.trail().contains("eyJ"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signs_in_is_in_aws_by_their_own_token_and_every_record_names_them() {
    let world = World::start(WEB).await;
    assert_eq!(world.signs_in(&["web", "echo in"]).await, "in\n");
    let provider = format!("arn:aws:iam::123456789012:oidc-provider/{}", world.gate.provider.issuer.split_at(7).1);
    let exchanged = world.records("AssumeRoleWithWebIdentity");
    assert!(!exchanged.is_empty());
    for record in &exchanged {
        assert_eq!(
            record["userIdentity"],
            json!({
                "type": "WebIdentityUser", "principalId": format!("{provider}:gate:ada"), "userName": "ada",
                "identityProvider": provider,
            })
        );
        let asked = &record["requestParameters"];
        assert_eq!((&asked["roleArn"], &asked["sourceIdentity"]), (&json!(WEB), &json!("ada")));
        assert_eq!(asked["principalTags"], json!({ "team": "blue" }));
    }
    assert!(world.records("AssumeRole").is_empty());
    let started = world.records("StartSession");
    assert!(!started.is_empty());
    for record in started {
        let identity = &record["userIdentity"];
        assert_eq!(identity["arn"], "arn:aws:sts::123456789012:assumed-role/portcullis-web/ada");
        assert_eq!(identity["sessionContext"]["sourceIdentity"], "ada");
        assert_eq!(identity["sessionContext"]["webIdFederationData"]["federatedProvider"], provider);
    }
    let opened = world.gate.gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!((&opened["aws_role"], &opened["aws_web_identity"]), (&json!(WEB), &json!(WEB)));
    assert_eq!((&opened["aws_source_identity"], &opened["person"]), (&json!("ada"), &json!("ada")));
    let left_out = json!(["portcullis:person ada", format!("portcullis:node {NODE}")]);
    assert_eq!(opened["aws_left_out"], left_out);
    let who = world.signs_in(&["gate", "whoami"]).await;
    let expected = format!(
        "in AWS: role {WEB}\n  got by           your own ID token\n  session name     ada\n  source identity  ada\n  \
         tag  team = blue (your ID token says it)\n  left out: portcullis:person ada\n"
    );
    assert!(who.ends_with(&expected), "{who}");
    world.tells_no_token();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_role_is_assumed_from_the_one_that_a_person_s_token_is_exchanged_for() {
    let world = World::start(NODES).await;
    assert_eq!(world.signs_in(&["web", "echo in"]).await, "in\n");
    for record in world.records("AssumeRoleWithWebIdentity") {
        assert_eq!((&record["userIdentity"]["userName"], &record["errorCode"]), (&json!("ada"), &Value::Null));
        assert_eq!(record["requestParameters"]["roleArn"], WEB);
    }
    let assumed = world.records("AssumeRole");
    assert!(!assumed.is_empty());
    for record in assumed {
        let identity = &record["userIdentity"];
        assert_eq!(identity["arn"], "arn:aws:sts::123456789012:assumed-role/portcullis-web/ada");
        assert_eq!(identity["sessionContext"]["sourceIdentity"], "ada");
        assert_eq!((&record["requestParameters"]["roleArn"], &record["errorCode"]), (&json!(NODES), &Value::Null));
    }
    for record in world.records("StartSession") {
        let identity = &record["userIdentity"];
        assert_eq!(identity["arn"], "arn:aws:sts::123456789012:assumed-role/portcullis-nodes/ada");
        assert_eq!(identity["sessionContext"]["sourceIdentity"], "ada");
    }
    let opened = world.gate.gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!((&opened["aws_role"], &opened["aws_web_identity"]), (&json!(NODES), &json!(WEB)));
    assert_eq!(opened.get("aws_left_out"), None);
    let who = world.signs_in(&["gate", "whoami"]).await;
    assert!(
        who.contains(&format!("in AWS: role {NODES}\n  got by           your own ID token, through the role {WEB}\n")),
        "{who}"
    );
    world.tells_no_token();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z9_whoever_comes_with_a_key_alone_is_nobody_where_it_takes_a_sign_in_and_is_told_so() {
    let world = World::start(NODES).await;
    let gateway = &world.gate.gateway;
    let said = complaint(&gateway.run(&["web", "echo in"]).await);
    assert!(said.contains("it takes a sign-in to be ada in AWS in the realm test"), "{said}");
    assert!(said.contains("PubkeyAuthentication=no"), "{said}");
    let refused = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!((&refused["code"], &refused["person"]), (&json!("aws-role-needs-sign-in"), &json!("ada")));
    let who = text(&gateway.run(&["gate", "whoami"]).await.stdout);
    assert!(who.contains("in AWS: nobody, so no session opens; your role is got by a sign-in"), "{who}");
    assert_eq!(world.trail(), "", "nobody was asked for anything in AWS's name");
    assert_eq!(world.signs_in(&["web", "echo in"]).await, "in\n");
}
