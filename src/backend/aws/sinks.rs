//! With whose credentials evidence is brought to buckets and groups of logs: a sink's are the gateway's own, and those of logs that an
//! account's preferences ask for are its realm's.

use std::collections::HashMap;
use std::sync::Arc;

use aws_config::SdkConfig;
use portcullis_sinks::{AwsFor, AwsSource};

use super::clients::{AwsOptions, shared};
use crate::backend::BackendError;

/// What is asked with these.
#[derive(Clone, Debug)]
pub struct Place {
    /// A sink's name, or a realm's.
    pub name: String,
    /// Whether it is a realm's.
    pub realm: bool,
    /// How it is reached.
    pub options: AwsOptions,
    /// It is on this machine, without TLS.
    pub local: bool,
}

/// Credentials for each of these. Nobody is called yet.
pub async fn source(places: Vec<Place>) -> Result<AwsSource, BackendError> {
    let mut configs: HashMap<(bool, String), SdkConfig> = HashMap::new();
    for Place { name, realm, options, local } in places {
        let config = shared(&options, local).await?;
        if config.region().is_none() {
            let why = format!("no AWS region is set for the sink {name}: set its region, or AWS_REGION");
            return Err(BackendError::Unreachable(why));
        }
        configs.insert((realm, name), config);
    }
    Ok(Arc::new(move |of: AwsFor<'_>| {
        let (realm, name) = match of {
            AwsFor::Sink(name) => (false, name),
            AwsFor::Realm(name) => (true, name),
        };
        let config = configs.get(&(realm, name.to_owned())).cloned();
        config.ok_or_else(|| format!("{name} is not in the configuration any more"))
    }))
}
