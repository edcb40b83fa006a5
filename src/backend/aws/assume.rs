//! How a person's role is got from STS.
//!
//! ```text
//!   by the gateway:      AssumeRole (signed by the gateway) ─────────────────────────────────────────────────▶ their role
//!   by their token:      AssumeRoleWithWebIdentity (not signed; the token says who) ─────────────────────────▶ their role
//!   by it, and on:       AssumeRoleWithWebIdentity ──▶ a first role, for nothing but that ──AssumeRole──▶ their role
//! ```
//!
//! Each role is cut down by a session policy: the last one to a node, the first of two to becoming the second.

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sdk_sts as sts;
use aws_sdk_sts::operation::RequestId as _;

use super::clients::Clients;
use super::error::{CallContext, Service, WEB_IDENTITY, explain};
use super::session_policy::only_becoming;
use crate::backend::BackendError;
use crate::identity::{Acting, By, IdToken};
use crate::model::RoleArn;

/// What STS gives.
pub(super) struct Given {
    pub(super) credentials: Credentials,
    pub(super) ends: SystemTime,
    /// The call by which they were got, as AWS's records have it.
    pub(super) request_id: Option<String>,
}

/// How long the first role of two is asked for: the least that STS gives.
const FIRST_SECONDS: i32 = 900;

/// The longest for a role that is assumed by another
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>).
const CHAINED_SECONDS: i32 = 3600;

/// The longest token that STS takes
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).
const LONGEST_TOKEN: usize = 20_000;

/// Credentials of somebody's role with this session policy, by their token where that is the way.
pub(super) async fn role(
    clients: &Clients,
    acting: &Acting,
    policy: &str,
    token: Option<&IdToken>,
) -> Result<Given, BackendError> {
    let role = &acting.role;
    let seconds = i32::try_from(role.duration.as_secs()).unwrap_or(i32::MAX);
    // without a token there is no other way round
    let own = || token.ok_or_else(|| BackendError::Refused("there is no token of a sign-in to be you with".to_owned()));
    match role.by() {
        By::Gateway => by_a_role(clients, acting, policy, seconds, None).await,
        By::Token => by_the_token(clients, acting, &role.arn, policy, seconds, own()?).await,
        By::TokenAnd(first) => {
            let only = only_becoming(&role.arn);
            let given = by_the_token(clients, acting, first, &only, FIRST_SECONDS, own()?).await?;
            let by = Some((first, given.credentials));
            by_a_role(clients, acting, policy, seconds.min(CHAINED_SECONDS), by).await
        }
    }
}

/// `AssumeRole`, as the gateway or as another role.
async fn by_a_role(
    clients: &Clients,
    acting: &Acting,
    policy: &str,
    seconds: i32,
    first: Option<(&RoleArn, Credentials)>,
) -> Result<Given, BackendError> {
    let Acting { role, session_name, source_identity, tags, .. } = acting;
    let tag = |(key, value): &(&'static str, String)| {
        sts::types::Tag::builder().key(*key).value(value).build().map_err(|error| unusable(clients, &error))
    };
    let tags = Some(tags.iter().map(tag).collect::<Result<Vec<_>, _>>()?);
    let asked = clients
        .sts
        .assume_role()
        .role_arn(role.arn.as_str())
        .role_session_name(session_name)
        .set_source_identity(source_identity.clone())
        .set_external_id(role.external_id.clone())
        .set_tags(tags.filter(|tags| !tags.is_empty()))
        .duration_seconds(seconds)
        .policy(policy);
    let call = clients.call("AssumeRole", role.arn.as_str());
    let context = CallContext { service: Service::Sts, role: first.as_ref().map(|(role, _)| role.as_str()), ..call };
    let mut config = sts::config::Builder::new();
    if let Some((_, credentials)) = first {
        config = config.credentials_provider(credentials);
    }
    let answer = asked.customize().config_override(config).send().await;
    let answer = answer.map_err(|error| explain(context, &error))?;
    let request_id = answer.request_id().map(str::to_owned);
    given(clients, answer.credentials, request_id, "AssumeRole")
}

/// `AssumeRoleWithWebIdentity`. Tags and a source identity are the token's own.
async fn by_the_token(
    clients: &Clients,
    acting: &Acting,
    role: &RoleArn,
    policy: &str,
    seconds: i32,
    token: &IdToken,
) -> Result<Given, BackendError> {
    if token.as_str().len() > LONGEST_TOKEN {
        let why = format!(
            "your ID token is longer than the {LONGEST_TOKEN} characters that AWS takes: it may have fewer groups with other oidc.scopes"
        );
        return Err(BackendError::Refused(why));
    }
    let asked = clients
        .sts
        .assume_role_with_web_identity()
        .role_arn(role.as_str())
        .role_session_name(&acting.session_name)
        .web_identity_token(token.as_str())
        .duration_seconds(seconds)
        .policy(policy);
    let context = CallContext { service: Service::Sts, ..clients.call(WEB_IDENTITY, role.as_str()) };
    let answer = asked.send().await.map_err(|error| explain(context, &error))?;
    let request_id = answer.request_id().map(str::to_owned);
    given(clients, answer.credentials, request_id, WEB_IDENTITY)
}

fn given(
    clients: &Clients,
    credentials: Option<sts::types::Credentials>,
    request_id: Option<String>,
    by: &'static str,
) -> Result<Given, BackendError> {
    let given = credentials.ok_or_else(|| unusable(clients, &"which credentials"))?;
    let ends = SystemTime::try_from(given.expiration).map_err(|_| unusable(clients, &"when the credentials end"))?;
    let sts::types::Credentials { access_key_id, secret_access_key, session_token, .. } = given;
    let credentials = Credentials::new(access_key_id, secret_access_key, Some(session_token), Some(ends), by);
    Ok(Given { credentials, ends, request_id })
}

fn unusable(clients: &Clients, what: &dyn fmt::Display) -> BackendError {
    BackendError::Unreachable(format!("STS in {} did not say {what}: try again", clients.region))
}
