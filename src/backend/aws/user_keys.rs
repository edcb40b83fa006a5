//! The SSH public keys of IAM users, by IAM's own API. Few calls: one for a user, and one for each key that is new.

use aws_sdk_iam::types::{EncodingType, StatusType};

use super::clients::Clients;
use super::error::{CallContext, Kind, Service, clean, explain, kind};
use crate::backend::BackendError;

/// Keys of a user that are looked at; IAM lets one have five.
const MOST_KEYS: usize = 100;
/// Pages that their list may have.
const MOST_PAGES: usize = 10;

/// What IAM calls the active keys of a user; `None` where there is no such user.
pub(super) async fn active(clients: &Clients, user: &str) -> Result<Option<Vec<String>>, BackendError> {
    let (mut ids, mut next) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let answer = match clients.iam.list_ssh_public_keys().user_name(user).set_marker(next).send().await {
            Ok(answer) => answer,
            Err(error) if kind(&error) == Kind::NoSuchThing => return Ok(None),
            Err(error) => return Err(explain(context(clients, "ListSSHPublicKeys", user), &error)),
        };
        for key in answer.ssh_public_keys() {
            is_of(user, key.user_name())?;
            if *key.status() == StatusType::Active {
                ids.push(key.ssh_public_key_id().to_owned());
            }
        }
        next = answer.marker.filter(|_| answer.is_truncated);
        if ids.len() > MOST_KEYS {
            break;
        }
        if next.is_none() {
            return Ok(Some(ids));
        }
    }
    // some of them would be taken for all
    Err(BackendError::Unreachable(format!("IAM lists more keys of the user {} than any has", clean(user))))
}

/// The text of a key; `None` where it is there no more.
pub(super) async fn text(clients: &Clients, user: &str, id: &str) -> Result<Option<String>, BackendError> {
    let asked = clients.iam.get_ssh_public_key().user_name(user).ssh_public_key_id(id).encoding(EncodingType::Ssh);
    let key = match asked.send().await {
        Ok(answer) => answer.ssh_public_key,
        Err(error) if kind(&error) == Kind::NoSuchThing => return Ok(None),
        Err(error) => return Err(explain(context(clients, "GetSSHPublicKey", user), &error)),
    };
    let key = key.ok_or_else(|| BackendError::Unreachable("IAM answers for a key without one".to_owned()))?;
    is_of(user, key.user_name())?;
    if key.ssh_public_key_id() != id {
        return Err(BackendError::Unreachable(format!("IAM answers for the key {} with another", clean(id))));
    }
    Ok(Some(key.ssh_public_key_body))
}

/// Whose keys are answered with are whose were asked for.
fn is_of(user: &str, answered: &str) -> Result<(), BackendError> {
    if answered.eq_ignore_ascii_case(user) {
        return Ok(());
    }
    let (user, answered) = (clean(user), clean(answered));
    Err(BackendError::Unreachable(format!("IAM answers for the user {user} with keys of {answered}")))
}

fn context<'a>(clients: &'a Clients, call: &'static str, user: &'a str) -> CallContext<'a> {
    CallContext { service: Service::Iam, ..clients.call(call, user) }
}
