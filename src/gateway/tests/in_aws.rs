//! Who somebody is in AWS, as they and the log see it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::identity::{People, Purpose, RealmRoles, Role, RoleOf, Roles};
use crate::model::RoleArn;
use crate::testing::{TestGateway, text};

const ROLE: &str = "arn:aws:iam::123456789012:role/portcullis-ops";

fn role(people: &str, groups: &[&str]) -> Roles {
    let arn = RoleArn::parse(ROLE).unwrap();
    let role = Arc::new(Role { arn, external_id: None, duration: Duration::from_secs(3600), web_identity: None });
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    Roles::OfPeople(vec![RoleOf { people: vec![people.to_owned()], groups, role }])
}

/// The same people, with these roles.
fn in_roles(gateway: &TestGateway, roles: Roles) {
    let key = std::fs::read_to_string(gateway.path("ada.pub")).unwrap();
    let (keys, groups) = ([key], ["ops".to_owned(), "dev".to_owned()]);
    let people = People::new([("ada", &keys[..])]).unwrap().in_groups([("ada", &groups[..])]);
    gateway.roster.replace(people.in_roles(RealmRoles::for_test(roles)));
}

#[tokio::test]
async fn who_has_no_role_in_aws_opens_nothing_and_is_told() {
    let gateway = TestGateway::start().await;
    for roles in [Roles::default(), role("bob", &["on-call"])] {
        in_roles(&gateway, roles);
        let ran = gateway.run(&["web", "echo in"]).await;
        assert_eq!(text(&ran.stdout), "");
        let sentence = "portcullis: there is no role in AWS for ada in the realm test: none of its [[realms.roles]] names them or a group";
        assert!(text(&ran.stderr).contains(sentence), "{ran:?}");
        let who = text(&gateway.run(&["gate", "whoami"]).await.stdout);
        assert!(
            who.ends_with("in AWS: nobody, so no session opens; none of the realm's [[realms.roles]] is for you\n"),
            "{who}"
        );
    }
    let refused = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!((&refused["code"], &refused["person"]), (&json!("no-aws-role"), &json!("ada")));
    assert!(gateway.events().iter().all(|event| event["event"] != "session.opened"));
}

#[tokio::test]
async fn what_aws_will_see_is_what_whoami_says_and_what_the_log_has() {
    let gateway = TestGateway::start().await;
    assert!(text(&gateway.run(&["gate", "whoami"]).await.stdout).contains("in AWS: this gateway"));
    gateway.works().await;
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!((&opened["aws_identity"], opened.get("aws_role")), (&json!("gateway"), None));
    in_roles(&gateway, role("*", &[]));
    let who = text(&gateway.run(&["gate", "whoami"]).await.stdout);
    let key = who.split("publickey ").nth(1).unwrap().split(')').next().unwrap();
    let expected = format!(
        "ada (publickey {key})\nin AWS: role {ROLE}\n  session name     ada\n  source identity  ada\n  \
         tag  portcullis:person = ada\n  tag  portcullis:key = {key}\n  tag  portcullis:groups = :dev:ops:\n  \
         tag  portcullis:node = the node's id\n"
    );
    assert_eq!(who, expected);
    gateway.works().await;
    let opened = gateway.event(|event| event["event"] == "session.opened" && event["aws_identity"] == "person").await;
    assert_eq!((&opened["aws_role"], &opened["aws_session_name"]), (&json!(ROLE), &json!("ada")));
    assert_eq!((&opened["aws_source_identity"], opened.get("aws_left_out")), (&json!("ada"), None));
}

#[tokio::test]
async fn z5_a_session_ends_when_its_person_has_another_role() {
    let gateway = TestGateway::start().await;
    let mut ssh = gateway.ssh(&["web", "echo in; read line"]);
    let ssh = ssh.stdin(Stdio::piped()).spawn().unwrap();
    gateway.runs(1).await;
    let judge_anew = || {
        let (people, now) = (gateway.roster.current(), std::time::SystemTime::now());
        gateway.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn))
    };
    assert_eq!(judge_anew(), 0, "nothing has changed");
    in_roles(&gateway, role("ada", &[]));
    assert_eq!(judge_anew(), 1);
    let said = text(&ssh.wait_with_output().await.unwrap().stderr);
    assert!(said.contains("portcullis: your role in AWS has changed"), "{said}");
}

#[tokio::test]
async fn z5_who_is_taken_out_while_a_node_is_looked_for_has_no_session_there() {
    let gateway = TestGateway::start().await;
    let key = gateway.path("bob").display().to_string();
    let mut ssh = gateway.ssh(&["-i", &key, "-l", "slow-1", "nokey", "echo in; read line"]);
    let ssh = ssh.stdin(Stdio::piped()).spawn().unwrap();
    gateway.nodes.slow_asked.notified().await;
    let public = std::fs::read_to_string(gateway.path("ada.pub")).unwrap();
    let others = People::new([("ada", &[public][..])]).unwrap().in_roles(RealmRoles::for_test(Roles::Gateway));
    gateway.roster.replace(others);
    // nothing runs that could be asked about
    let (people, now) = (gateway.roster.current(), std::time::SystemTime::now());
    assert_eq!(gateway.sessions.judge_anew(|identity| people.renew(identity, now, Purpose::GoOn)), 0);
    gateway.nodes.slow_let_go.notify_one();
    let ended = tokio::time::timeout(Duration::from_secs(20), ssh.wait_with_output()).await.unwrap().unwrap();
    assert!(text(&ended.stderr).contains("how you logged in is no proof any more"), "{ended:?}");
}
