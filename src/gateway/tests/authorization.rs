//! Who may do what: each thing that is asked for is asked about by itself.

use std::time::Duration;

use crate::policy::Policy;
use crate::testing::{TestGateway, text};

/// What a client may ask for, and the action that it takes.
const REQUESTS: [(&str, &[&str]); 4] = [
    ("Shell", &["web"]),
    ("Commands", &["web", "echo it; exit 3"]),
    ("ReadFiles", &["-s", "web", "sftp"]),
    ("ReadFiles", &["web", "scp -f nothing"]),
];

/// What no policy lets anybody have.
const UNSERVED: [(&[&str], &str); 4] = [
    (&["-W", "169.254.169.254:80", "web"], "target-forbidden"),
    (&["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "web"], "forwarding-not-served"),
    (&["-N", "-w", "0:0", "web"], "request-not-served"),
    (&["-s", "web", "netconf"], "subsystem-not-served"),
];

/// What came of what was asked for after so many events.
async fn told(gateway: &TestGateway, before: usize) -> serde_json::Value {
    let came = |event: &serde_json::Value| event["event"] == "session.opened" || event["event"] == "channel.refused";
    for _ in 0..200 {
        if let Some(found) = gateway.events().split_off(before).into_iter().find(came) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("nothing came of it: {:#?}", gateway.events().split_off(before));
}

#[tokio::test]
async fn z1_leave_for_one_thing_is_leave_for_no_other() {
    let gateway = TestGateway::start().await;
    for permitted in ["Shell", "Commands", "ReadFiles", "SetVariable", "RunAs", "Forward", "Hop"] {
        let rule = if ["Commands", "ReadFiles"].contains(&permitted) { "in" } else { "==" };
        let policy =
            format!("@id(\"{permitted}\") permit (principal, action {rule} Action::\"{permitted}\", resource);");
        gateway.policies.replace(Policy::for_test(&policy));
        for (action, args) in REQUESTS {
            let before = gateway.events().len();
            let ran = gateway.run(args).await;
            let told = told(&gateway, before).await;
            let opened = told["event"] == "session.opened";
            assert_eq!(opened, action == permitted, "{permitted} and {args:?}: {told}, {ran:?}");
            // scp's own words for it are in its protocol
            let said = format!("{}{}", text(&ran.stdout), text(&ran.stderr));
            assert_eq!(said.contains("no policy lets ada do"), !opened, "{permitted} and {args:?}: {said}");
        }
    }
}

#[tokio::test]
async fn z1_what_is_not_served_is_no_policy_s_to_permit() {
    let all = "@id(\"all\") permit (principal, action, resource);";
    let gateway = TestGateway::under(all).await;
    for (args, code) in UNSERVED {
        let before = gateway.events().len();
        let refused = gateway.run(args).await;
        assert!(!refused.status.success(), "{args:?}: {refused:?}");
        let told = told(&gateway, before).await;
        assert_eq!((&told["event"], &told["code"]), (&"channel.refused".into(), &code.into()), "{args:?}");
    }
}

#[tokio::test]
async fn a_name_of_several_nodes_is_told_with_those_that_one_may_know_of() {
    let said = async |policies: &str, login: &str| {
        let gateway = TestGateway::under(policies).await;
        let ran = gateway.run(&["-l", login, "web", "true"]).await;
        text(&ran.stderr).lines().next().unwrap_or_default().to_owned()
    };
    let tagged = |env: &str| {
        format!(
            "@id(\"p\") permit (principal, action, resource)\n\
             when {{ resource.hasTag(\"env\") && resource.getTag(\"env\") == \"{env}\" && context has reason }};"
        )
    };
    let all = "@id(\"all\") permit (principal, action, resource);";
    let several = said(all, "web").await;
    assert_eq!(several, "portcullis: 3 nodes are called web; use one of i-web-1, i-web-2, i-web-3");
    assert_eq!(said(&tagged("test"), "web").await, "portcullis: 2 nodes are called web; use one of i-web-1, i-web-2");
    let one = said(&tagged("prod"), "web").await;
    assert_eq!(one, "portcullis: web is not the name of one node alone; use i-web-3");
    // who may know of none of them is told what is told of a node that is others'
    let none = said(&tagged("dev"), "web").await;
    let denied =
        "portcullis: denied by policy \"default\": no policy lets ada do Exec on web; ask whoever keeps the policies";
    assert_eq!(none, denied);
    assert_eq!(none.replace("on web", "on web-1"), said(&tagged("dev"), "web-1").await);
    let absent = said(all, "wbe-1").await;
    assert_eq!(absent, "portcullis: no node is called wbe-1; did you mean web-1?");
}

#[tokio::test]
async fn z10_a_name_that_has_become_another_node_s_is_decided_about_anew() {
    let policies = "@id(\"web\") permit (principal, action, resource) when { resource.name == \"web-1\" };\n\
                    @id(\"not-that\") forbid (principal, action, resource == Node::\"i-0123456789abcdef0\");";
    let gateway = TestGateway::under(policies).await;
    let socket = gateway.path("mux").display().to_string();
    let shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-S", &socket, "web", "echo here"];
    assert_eq!(text(&gateway.run(&shared).await.stdout), "here\n");
    let opened = gateway.event(|event| event["event"] == "session.opened").await;
    assert_eq!(opened["node"], "i-web-1");
    // the tag has been moved: the same connection, and another node
    *gateway.nodes.web.lock().unwrap() = "i-0123456789abcdef0".to_owned();
    let refused = gateway.run(&shared).await;
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let event = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!((&event["policy"], &event["node"]), (&"not-that".into(), &"i-0123456789abcdef0".into()));
    *gateway.nodes.web.lock().unwrap() = "i-11111111111111111".to_owned();
    assert_eq!(text(&gateway.run(&shared).await.stdout), "here\n");
    gateway.event(|event| event["event"] == "session.opened" && event["node"] == "i-11111111111111111").await;
    drop(gateway.run(&["-O", "exit", "-S", &socket, "web"]).await);
}
