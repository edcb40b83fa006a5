//! What a person's credentials are cut down to, whatever their role may do: the node that was granted, the documents of one
//! kind of channel, and their own sessions.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html> has the ARNs. Ids of
//! sessions are the role session name, a `-` and a number; in the samples of AWS's documentation `ssmmessages:OpenDataChannel`
//! is on `session/${aws:userid}-*` instead, so both may be meant there.

use std::collections::BTreeSet;

use serde_json::json;

use super::node_arn::node_arn;
use crate::identity::Acting;
use crate::model::{NodeId, RoleArn};

/// The policy, as STS takes it.
pub(super) fn session_policy(acting: &Acting, region: &str, node: &NodeId, documents: &BTreeSet<String>) -> String {
    let role = &acting.role.arn;
    let (partition, account, name) = (role.partition(), role.account(), &acting.session_name);
    let start: Vec<String> = std::iter::once(node_arn(partition, account, region, &node.0))
        .chain(documents.iter().map(|name| document_arn(role, region, name)))
        .collect();
    let own = format!("arn:{partition}:ssm:{region}:{account}:session/{name}-*");
    let channels = [own.clone(), format!("arn:{partition}:ssm:*:*:session/${{aws:userid}}-*")];
    // without it whoever names no document gets the account's own, which is among none of these
    let named = json!({ "BoolIfExists": { "ssm:SessionDocumentAccessCheck": "true" } });
    json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": "ssm:StartSession", "Resource": start, "Condition": named },
            { "Effect": "Allow", "Action": ["ssm:ResumeSession", "ssm:TerminateSession"], "Resource": own },
            { "Effect": "Allow", "Action": "ssmmessages:OpenDataChannel", "Resource": channels },
        ],
    })
    .to_string()
}

/// The policy of a role from which another is assumed, and that is for nothing else.
pub(super) fn only_becoming(role: &RoleArn) -> String {
    let actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": role.as_str() });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// Documents of AWS belong to no account.
fn document_arn(role: &RoleArn, region: &str, name: &str) -> String {
    let account = if name.starts_with("AWS-") { "" } else { role.account() };
    format!("arn:{}:ssm:{region}:{account}:document/{name}", role.partition())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::identity::{Identity, Role};
    use crate::model::RealmName;

    fn acting(person: &str) -> Acting {
        let arn = RoleArn::parse("arn:aws-cn:iam::123456789012:role/operators").unwrap();
        let role = Role { arn, external_id: None, duration: Duration::from_secs(3600), web_identity: None };
        Acting::of(&Identity::for_test(person).in_role(Arc::new(role)), &RealmName::for_test(), None).unwrap()
    }

    fn documents(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn it_names_one_node_the_documents_and_the_persons_own_sessions() {
        let names = documents(&["Portcullis-InLane", "AWS-StartInteractiveCommand"]);
        let text = session_policy(&acting("ann"), "cn-north-1", &NodeId("i-0abc".into()), &names);
        let policy: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            policy["Statement"][0]["Resource"],
            json!([
                "arn:aws-cn:ec2:cn-north-1:123456789012:instance/i-0abc",
                "arn:aws-cn:ssm:cn-north-1::document/AWS-StartInteractiveCommand",
                "arn:aws-cn:ssm:cn-north-1:123456789012:document/Portcullis-InLane",
            ])
        );
        assert_eq!(policy["Statement"][1]["Resource"], "arn:aws-cn:ssm:cn-north-1:123456789012:session/ann-*");
        for (node, arn) in [
            ("mi-0abc", "arn:aws-cn:ssm:cn-north-1:123456789012:managed-instance/mi-0abc"),
            ("ecs:a_b_c0ffee_c0ffee-1", "arn:aws-cn:ecs:cn-north-1:123456789012:task/a_b/c0ffee"),
        ] {
            let text = session_policy(&acting("ann"), "cn-north-1", &NodeId(node.into()), &names);
            let policy: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(policy["Statement"][0]["Resource"][0], arn);
        }
    }

    #[test]
    fn the_longest_leaves_the_room_that_tags_take() {
        let names = documents(&["Portcullis-OutLane", "Portcullis-InLane", "AWS-StartInteractiveCommand"]);
        let node = NodeId(format!("ecs:{}_{}_{}", "c".repeat(255), "0".repeat(32), "1".repeat(42)));
        let text = session_policy(&acting(&"n".repeat(64)), "us-gov-west-1", &node, &names);
        assert!(text.chars().count() <= 2048 - 648, "{} characters", text.len());
    }
}
