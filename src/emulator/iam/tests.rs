//! Policies against requests: the rules of evaluation, AWS's samples, and what holds for every policy.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/operators";
const ALICE: &str = "arn:aws:iam::123456789012:user/alice";
const NODE: &str = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0";

fn policy(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn allow(action: &str, resource: &str) -> String {
    policy(json!({ "Effect": "Allow", "Action": action, "Resource": resource }))
}

#[track_caller]
fn allowed(policy: &str, action: &str, resource: &str, facts: &[(&str, &str)]) -> bool {
    Trial { action, resource, facts }.allowed(&[policy], None).expect("a policy")
}

#[test]
fn what_nothing_allows_is_denied_and_a_deny_wins() {
    let trial = Trial { action: "ssm:StartSession", resource: NODE, facts: &[] };
    assert_eq!(trial.allowed(&[], None), Some(false));
    let all = allow("*", "*");
    assert_eq!(trial.allowed(&[&all], None), Some(true));
    for action in ["ssm:StartSession", "SSM:startsession", "ssm:Start*", "ssm:*Session", "ssm:?tartSession"] {
        assert_eq!(trial.allowed(&[&allow(action, "*")], None), Some(true), "{action}");
        let deny = policy(json!({ "Effect": "Deny", "Action": [action], "Resource": ["*"] }));
        assert_eq!(trial.allowed(&[&all, &deny], None), Some(false), "{action}");
    }
    assert_eq!(trial.allowed(&[&allow("ssm:StartSession", NODE)], None), Some(true));
    assert_eq!(trial.allowed(&[&allow("ssm:StartSession", &NODE[..NODE.len() - 1])], None), Some(false));
    assert_eq!(trial.allowed(&[&allow("ssm:StartSessions", "*")], None), Some(false));
}

#[test]
fn a_session_policy_only_takes_away() {
    let trial = Trial { action: "ssm:StartSession", resource: NODE, facts: &[] };
    let (all, one, other) = (allow("*", "*"), allow("ssm:StartSession", NODE), allow("ssm:ResumeSession", "*"));
    assert_eq!(trial.allowed(&[&all], Some(&one)), Some(true));
    assert_eq!(trial.allowed(&[&all], Some(&other)), Some(false));
    assert_eq!(trial.allowed(&[&other], Some(&all)), Some(false));
    let deny = policy(json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "NotAction": "ssm:ResumeSession", "Resource": "*" },
    ]));
    assert_eq!(trial.allowed(&[&all], Some(&deny)), Some(false));
}

#[test]
fn all_but_what_is_listed() {
    let but = policy(json!({ "Effect": "Allow", "NotAction": ["ssm:Terminate*", "iam:*"], "NotResource": [NODE] }));
    assert!(allowed(&but, "ssm:StartSession", "arn:aws:ec2:us-east-1:123456789012:instance/i-1", &[]));
    assert!(!allowed(&but, "ssm:StartSession", NODE, &[]));
    assert!(!allowed(&but, "ssm:TerminateSession", "arn:aws:ssm:us-east-1:123456789012:session/x", &[]));
    // a variable without a value makes the statement say nothing, rather than something of everything
    let unknown = policy(json!({ "Effect": "Allow", "Action": "*", "NotResource": "arn:aws:x:::${aws:username}" }));
    assert!(!allowed(&unknown, "ssm:StartSession", NODE, &[]));
}

#[test]
fn every_condition_must_hold() {
    let tagged = policy(json!({
        "Effect": "Allow", "Action": "ssm:StartSession", "Resource": "arn:aws:ec2:*:*:instance/*",
        "Condition": {
            "StringLike": { "ssm:resourceTag/env": ["dev", "test-*"], "aws:PrincipalTag/team": "blue" },
            "StringEquals": { "ssm:resourceTag/team": "${aws:PrincipalTag/team}" },
            "BoolIfExists": { "ssm:SessionDocumentAccessCheck": "true" },
        },
    }));
    let ask = |facts: &[(&str, &str)]| allowed(&tagged, "ssm:StartSession", NODE, facts);
    let (env, team) = (("ssm:resourceTag/env", "test-1"), ("ssm:resourceTag/team", "blue"));
    assert!(ask(&[env, team]) && ask(&[env, team, ("ssm:SessionDocumentAccessCheck", "true")]));
    assert!(!ask(&[env, team, ("ssm:SessionDocumentAccessCheck", "false")]));
    assert!(!ask(&[env]) && !ask(&[team]) && !ask(&[env, ("ssm:resourceTag/team", "red")]));
    assert!(!ask(&[("ssm:resourceTag/env", "prod"), team]));
}

#[test]
fn variables_name_the_caller() {
    let own = allow("ssm:TerminateSession", "arn:aws:ssm:*:*:session/${aws:username}-*");
    let of = |who: &str| format!("arn:aws:ssm:us-east-1:123456789012:session/{who}-0123");
    assert!(allowed(&own, "ssm:TerminateSession", &of("ann"), &[("aws:username", "ann")]));
    assert!(!allowed(&own, "ssm:TerminateSession", &of("bob"), &[("aws:username", "ann")]));
    assert!(!allowed(&own, "ssm:TerminateSession", &of("ann"), &[]), "a role's session has no user name");
    assert!(!allowed(&own, "ssm:TerminateSession", &of("bob"), &[("aws:username", "*")]), "letters, no wildcard");
    let by_id = allow("ssmmessages:OpenDataChannel", "arn:aws:ssm:*:*:session/${aws:userid}-*");
    let id = format!("{}:ann", unique_id("AROA", ROLE));
    assert!(allowed(&by_id, "ssmmessages:OpenDataChannel", &of(&id), &[]));
    // before 2012 these were letters
    let old = json!({ "Version": "2008-10-17", "Statement": { "Effect": "Allow", "Action": "*", "Resource": "arn:aws:ssm:*:*:session/${aws:username}-*" } });
    assert!(!allowed(&old.to_string(), "ssm:TerminateSession", &of("ann"), &[("aws:username", "ann")]));
}

#[test]
fn what_is_no_policy_is_refused_with_the_place() {
    let one = |statement: Value| policy(json!([statement]));
    for (text, told) in [
        ("{".to_owned(), "no JSON (line 1"),
        (r#"{"Statement":[],"Statement":[]}"#.to_owned(), "no JSON"),
        ("[]".to_owned(), "the policy: it is no object"),
        ("{}".to_owned(), "Statement is missing"),
        (r#"{"Version":"2012-10-18","Statement":[]}"#.to_owned(), "its Version is 2012-10-17"),
        (json!({ "Statements": [] }).to_string(), "Statements does not belong here"),
        (one(json!({ "Action": "*", "Resource": "*" })), "statement 1: Effect is missing"),
        (one(json!({ "Effect": "allow", "Action": "*", "Resource": "*" })), "it is Allow or Deny"),
        (one(json!({ "Effect": "Allow", "Resource": "*" })), "Action is missing"),
        (one(json!({ "Effect": "Allow", "Action": "*" })), "Resource is missing"),
        (one(json!({ "Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*" })), "as well"),
        (one(json!({ "Effect": "Allow", "Action": [], "Resource": "*" })), "the list is empty"),
        (one(json!({ "Effect": "Allow", "Action": "StartSession", "Resource": "*" })), "is no action"),
        (one(json!({ "Effect": "Allow", "Action": "*", "Resource": "i-1" })), "is no ARN"),
        (one(json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" })), "Principal does not"),
        (
            one(json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "StringLikes": {} } })),
            "no condition operator",
        ),
        (
            one(
                json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "Bool": { "aws:x": "si" } } }),
            ),
            "true or false",
        ),
        (
            one(json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "Bool": { "x": "true" } } })),
            "has a prefix",
        ),
        ("x".repeat(10_241), "longer than 10240"),
    ] {
        let error = IdentityPolicy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    for (principal, told) in [
        (json!({ "AWS": "arn:aws:iam::123456789012:role/*" }), "no account and no ARN"),
        (json!({ "AWS": "alice" }), "no account and no ARN"),
        (json!({ "Person": "*" }), "AWS, Service, Federated"),
        (json!("alice"), "\"*\" or an object"),
        (json!({}), "it names nobody"),
    ] {
        let text = policy(json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" }));
        let error = TrustPolicy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

/// Who asks to become the role, with what.
struct Asks {
    caller: Principal,
    tags: BTreeMap<String, String>,
    source: Option<&'static str>,
    external: Option<&'static str>,
}

impl Asks {
    fn alice(identity: &str) -> Self {
        let caller = Principal {
            arn: ALICE.to_owned(),
            user_id: unique_id("AIDA", ALICE),
            kind: Kind::User,
            policies: [IdentityPolicy::parse(identity).unwrap()].into(),
            tags: BTreeMap::new(),
        };
        Self { caller, tags: BTreeMap::new(), source: None, external: None }
    }

    fn tagged(mut self) -> Self {
        self.tags.insert("portcullis:person".to_owned(), "ann".to_owned());
        self
    }

    fn named(self) -> Self {
        Self { source: Some("ann"), ..self }
    }

    fn with_external_id(self) -> Self {
        Self { external: Some("x-1"), ..self }
    }

    /// Which action is in the way, if one is.
    fn refused(&self, trust: Value) -> Option<&'static str> {
        let trust = TrustPolicy::parse(&policy(trust)).unwrap();
        let asked = Become {
            role_arn: ROLE,
            role_tags: &BTreeMap::new(),
            trust: &trust,
            session_name: "ann",
            external_id: self.external,
            source_identity: self.source,
            tags: &self.tags,
            transitive: &[],
        };
        asked.allowed_for(&self.caller, self.caller.facts(OffsetDateTime::UNIX_EPOCH)).err().map(|not| not.action)
    }
}

#[test]
fn a_role_is_for_whom_it_trusts() {
    let (may, may_not) = (allow("sts:*", "*"), allow("ssm:*", "*"));
    let trusts = |principal: Value| json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
    // named itself, the caller needs no permission of its own; named by the account it does
    for (principal, needs_none, needs_one) in [
        (json!({ "AWS": ALICE }), None, None),
        (json!("*"), None, None),
        (json!({ "AWS": "123456789012" }), Some("sts:AssumeRole"), None),
        (json!({ "AWS": ["arn:aws:iam::123456789012:root"] }), Some("sts:AssumeRole"), None),
        (json!({ "AWS": "210987654321" }), Some("sts:AssumeRole"), Some("sts:AssumeRole")),
        (json!({ "Service": "ec2.amazonaws.com" }), Some("sts:AssumeRole"), Some("sts:AssumeRole")),
        (json!({ "AWS": "arn:aws:iam::123456789012:user/bob" }), Some("sts:AssumeRole"), Some("sts:AssumeRole")),
    ] {
        assert_eq!(Asks::alice(&may_not).refused(trusts(principal.clone())), needs_none, "{principal}");
        assert_eq!(Asks::alice(&may).refused(trusts(principal.clone())), needs_one, "{principal}");
    }
    let denied = policy(json!({ "Effect": "Deny", "Action": "sts:AssumeRole", "Resource": ROLE }));
    assert_eq!(Asks::alice(&denied).refused(trusts(json!({ "AWS": ALICE }))), Some("sts:AssumeRole"));
}

#[test]
fn tags_and_a_source_identity_are_permissions_of_their_own() {
    let may = allow("sts:*", "*");
    let trusts = |actions: Value| json!({ "Effect": "Allow", "Principal": { "AWS": ALICE }, "Action": actions });
    let only_assume = || trusts(json!("sts:AssumeRole"));
    assert_eq!(Asks::alice(&may).tagged().refused(only_assume()), Some("sts:TagSession"));
    assert_eq!(Asks::alice(&may).named().refused(only_assume()), Some("sts:SetSourceIdentity"));
    let with_tags = || trusts(json!(["sts:AssumeRole", "sts:TagSession"]));
    assert_eq!(Asks::alice(&may).tagged().refused(with_tags()), None);
    assert_eq!(Asks::alice(&may).tagged().named().refused(with_tags()), Some("sts:SetSourceIdentity"));
    let with_all = trusts(json!(["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]));
    assert_eq!(Asks::alice(&may).tagged().named().refused(with_all), None);
}

#[test]
fn a_trust_policy_looks_at_external_id_source_identity_and_tags() {
    let may = allow("sts:*", "*");
    let trusts = |condition: Value| json!({ "Effect": "Allow", "Principal": { "AWS": ALICE }, "Action": "sts:*", "Condition": condition });
    let external = || trusts(json!({ "StringEquals": { "sts:ExternalId": "x-1" } }));
    assert_eq!(Asks::alice(&may).refused(external()), Some("sts:AssumeRole"), "a confused deputy");
    assert_eq!(Asks::alice(&may).with_external_id().refused(external()), None);
    let source =
        || trusts(json!({ "StringLike": { "sts:SourceIdentity": "a*" }, "Null": { "sts:SourceIdentity": "false" } }));
    assert_eq!(Asks::alice(&may).refused(source()), Some("sts:AssumeRole"));
    assert_eq!(Asks::alice(&may).named().refused(source()), None);
    let tags = || {
        trusts(json!({
            "StringLike": { "aws:RequestTag/portcullis:person": "*" },
            "ForAllValues:StringEquals": { "aws:TagKeys": ["portcullis:person"] },
        }))
    };
    assert_eq!(Asks::alice(&may).refused(tags()), Some("sts:AssumeRole"));
    assert_eq!(Asks::alice(&may).tagged().refused(tags()), None);
    let mut more = Asks::alice(&may).tagged();
    more.tags.insert("more".into(), "x".into());
    assert_eq!(more.refused(tags()), Some("sts:AssumeRole"));
}

#[test]
fn everybody_but_those_who_are_named_with_their_account() {
    let may = allow("sts:*", "*");
    let trusts = |but: Value| {
        json!([
            { "Effect": "Allow", "Principal": { "AWS": ALICE }, "Action": "sts:AssumeRole" },
            { "Effect": "Deny", "NotPrincipal": { "AWS": but }, "Action": "sts:AssumeRole" },
        ])
    };
    assert_eq!(Asks::alice(&may).refused(trusts(json!([ALICE, "123456789012"]))), None);
    assert_eq!(Asks::alice(&may).refused(trusts(json!([ALICE]))), Some("sts:AssumeRole"));
    assert_eq!(
        Asks::alice(&may).refused(trusts(json!(["arn:aws:iam::123456789012:user/bob"]))),
        Some("sts:AssumeRole")
    );
}

#[test]
fn a_session_of_a_role_goes_on_with_what_it_brought() {
    let trusts =
        |actions: Value| json!({ "Effect": "Allow", "Principal": { "AWS": "123456789012" }, "Action": actions });
    let mut asks = Asks::alice(&allow("sts:*", "*"));
    let session = |source: Option<&str>, policy: Option<&str>| {
        Kind::Session(RoleSession {
            role_arn: "arn:aws:iam::123456789012:role/first".into(),
            role_id: "AROAFIRST".into(),
            policy: policy.map(|text| IdentityPolicy::parse(text).unwrap()),
            source_identity: source.map(str::to_owned),
            transitive: Default::default(),
            issued: OffsetDateTime::UNIX_EPOCH,
            federated_by: None,
        })
    };
    asks.caller.arn = "arn:aws:sts::123456789012:assumed-role/first/ann".into();
    asks.caller.kind = session(Some("ann"), None);
    assert_eq!(asks.refused(trusts(json!("sts:AssumeRole"))), Some("sts:SetSourceIdentity"));
    assert_eq!(asks.refused(trusts(json!("sts:*"))), None);
    // a session policy holds for becoming another role as well, unless that names the session itself
    asks.caller.kind = session(None, Some(&allow("ssm:*", "*")));
    assert_eq!(asks.refused(trusts(json!("sts:*"))), Some("sts:AssumeRole"));
    let by_role =
        json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:role/first" }, "Action": "sts:*" });
    assert_eq!(asks.refused(by_role), Some("sts:AssumeRole"));
    let by_name = json!({ "Effect": "Allow", "Principal": { "AWS": asks.caller.arn.clone() }, "Action": "sts:*" });
    assert_eq!(asks.refused(by_name), None);
}

#[test]
fn denials_are_in_aws_s_words() {
    let because = |identity: &[String], session: Option<&str>| {
        let mut caller = Asks::alice(&allow("x:y", "*")).caller;
        caller.policies = identity.iter().map(|text| IdentityPolicy::parse(text).unwrap()).collect();
        if let Some(text) = session {
            caller.kind = Kind::Session(RoleSession {
                role_arn: ROLE.into(),
                role_id: "AROA".into(),
                policy: Some(IdentityPolicy::parse(text).unwrap()),
                source_identity: None,
                transitive: Default::default(),
                issued: OffsetDateTime::UNIX_EPOCH,
                federated_by: None,
            });
        }
        let facts = Facts::default();
        let question = Question { action: "ssm:StartSession", resource: NODE, facts: &facts };
        caller.may(&question).unwrap_err().because("ssm:StartSession")
    };
    let all = allow("*", "*");
    let deny = policy(json!({ "Effect": "Deny", "Action": "*", "Resource": "*" }));
    assert_eq!(because(&[], None), "because no identity-based policy allows the ssm:StartSession action");
    let said = because(std::slice::from_ref(&all), Some(&allow("x:y", "*")));
    assert_eq!(said, "because no session policy allows the ssm:StartSession action");
    assert_eq!(because(&[all.clone(), deny.clone()], None), "with an explicit deny in an identity-based policy");
    assert_eq!(because(&[all], Some(&deny)), "with an explicit deny in a session policy");
}

/// A statement out of few words, so that many of them meet.
fn statement() -> impl Strategy<Value = Value> {
    let actions = prop_oneof![Just("ssm:StartSession"), Just("ssm:*"), Just("ssm:ResumeSession"), Just("*")];
    let resources = prop_oneof![Just(NODE), Just("*"), Just("arn:aws:ec2:*:*:instance/${aws:username}")];
    let values = prop::collection::vec(prop_oneof![Just("dev"), Just("prod"), Just("d*")], 1..3);
    let operators = prop_oneof![
        Just("StringEquals"),
        Just("StringNotLike"),
        Just("StringLikeIfExists"),
        Just("ForAllValues:StringLike"),
        Just("ForAnyValue:StringNotEquals")
    ];
    let words = (any::<bool>(), any::<bool>(), any::<bool>());
    (words, actions, resources, proptest::option::of((operators, values))).prop_map(
        |(words, action, resource, condition)| {
            let (allow, not_action, not_resource) = words;
            let mut statement = json!({ "Effect": if allow { "Allow" } else { "Deny" } });
            statement[if not_action { "NotAction" } else { "Action" }] = action.into();
            statement[if not_resource { "NotResource" } else { "Resource" }] = resource.into();
            if let Some((operator, values)) = condition {
                statement["Condition"] = json!({ operator: { "ssm:resourceTag/env": values } });
            }
            statement
        },
    )
}

proptest! {
    #[test]
    fn what_holds_for_every_policy(
        mut statements in prop::collection::vec(statement(), 0..5),
        session in prop::collection::vec(statement(), 0..3),
        env in proptest::option::of("dev|prod"),
    ) {
        let facts: Vec<(&str, &str)> = env.iter().map(|env| ("ssm:resourceTag/env", env.as_str())).collect();
        let trial = Trial { action: "ssm:StartSession", resource: NODE, facts: &facts };
        let text = policy(statements.clone().into());
        let alone = trial.allowed(&[&text], None).unwrap();
        // the order of statements says nothing, nor whether they stand in one policy or in several
        statements.reverse();
        prop_assert_eq!(trial.allowed(&[&policy(statements.clone().into())], None), Some(alone));
        let apart: Vec<String> = statements.iter().map(|statement| policy(statement.clone())).collect();
        prop_assert_eq!(trial.allowed(&apart.iter().map(String::as_str).collect::<Vec<_>>(), None), Some(alone));
        // a session policy takes away and gives nothing
        let cut = trial.allowed(&[&text], Some(&policy(session.into()))).unwrap();
        prop_assert!(alone || !cut);
        prop_assert_eq!(trial.allowed(&[&text], Some(&allow("*", "*"))), Some(alone));
        // one Deny is enough
        let deny = policy(json!({ "Effect": "Deny", "Action": "ssm:StartSession", "Resource": NODE }));
        prop_assert_eq!(trial.allowed(&[&text, &deny], None), Some(false));
        // and without any Allow there is nothing
        let denies = statements.iter().all(|statement| statement["Effect"] == "Deny");
        prop_assert!(!(denies && alone));
    }

    #[test]
    fn a_list_and_all_but_it_part_the_world(action in "ssm:[A-C]{1,2}", listed in "ssm:[A-C*?]{1,3}") {
        let one = |word: &str| allowed(&policy(json!({ "Effect": "Allow", word: listed, "Resource": "*" })), &action, NODE, &[]);
        prop_assert_ne!(one("Action"), one("NotAction"));
    }

    #[test]
    fn noise_is_no_policy_and_harms_nobody(text in "\\PC{0,80}", word in "[A-Za-z:]{0,20}") {
        let trial = Trial { action: &word, resource: &text, facts: &[(&word, &text)] };
        let _ = (trial.allowed(&[&text], Some(&text)), trial.trusted(&text));
        let shaped = policy(json!({ "Effect": "Allow", "Action": text, "Resource": text, "Condition": { word.as_str(): { text.as_str(): text } } }));
        let _ = trial.allowed(&[&shaped], None);
    }
}
