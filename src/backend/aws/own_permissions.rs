//! What the gateway itself may still do, for a realm in which it need not.
//!
//! IAM has a call that says what a policy allows (`iam:SimulatePrincipalPolicy`), which hardly any role may use. What can be
//! found out without it is what AWS answers to a session that could not begin anyway: one without the parameters that its
//! document asks for. IAM is asked before them. A refusal says nothing of other nodes, so only its opposite is told.

use aws_sdk_ssm::config::retry::RetryConfig;

use super::clients::Clients;
use super::error::{Kind, kind};
use crate::model::NodeRef;

/// A node on which the gateway may start sessions under that document, which has parameters without a default.
pub(super) async fn may_start(clients: &Clients, document: &str) -> Option<NodeRef> {
    let nodes = clients.ssm.describe_instance_information().max_results(MOST).send().await.ok()?;
    let node = nodes.instance_information_list().iter().find_map(|node| node.instance_id())?;
    let start = clients.ssm.start_session().target(node).document_name(document);
    let once = aws_sdk_ssm::config::Builder::new().retry_config(RetryConfig::disabled());
    match start.customize().config_override(once).send().await {
        // it has begun all the same, which it is not meant to
        Ok(begun) => {
            let id = begun.session_id?;
            if let Err(error) = clients.ssm.terminate_session().session_id(&id).send().await {
                tracing::warn!(session = id, code = ?kind(&error), "a session was not terminated");
            }
            Some(NodeRef::new(&clients.realm, node))
        }
        Err(error) => match kind(&error) {
            Kind::BadParameters | Kind::NoSuchDocument | Kind::NotConnected => Some(NodeRef::new(&clients.realm, node)),
            _ => None,
        },
    }
}

/// Of the account's nodes, to find one.
const MOST: i32 = 50;
