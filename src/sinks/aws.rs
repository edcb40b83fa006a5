//! Clients of AWS's services: the credentials are from outside, and what the configuration says of places is put over them.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_smithy_types::timeout::TimeoutConfig;

/// Whose configuration of AWS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsFor<'a> {
    /// A sink, by its name: the gateway's own role.
    Sink(&'a str),
    /// A realm, by its name: logs that its account's preferences ask for.
    Realm(&'a str),
}

/// Credentials, region and HTTP client.
pub type AwsSource = Arc<dyn Fn(AwsFor<'_>) -> Result<SdkConfig, String> + Send + Sync>;

/// How long one attempt of a call may take: 64 MiB at a few MiB a second.
const ATTEMPT: Duration = Duration::from_secs(60);

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(Duration::from_secs(10)).operation_attempt_timeout(ATTEMPT).build()
}

pub(crate) fn s3(
    config: &SdkConfig,
    region: Option<&str>,
    endpoint: Option<&str>,
    path_style: bool,
) -> aws_sdk_s3::Client {
    let mut builder = aws_sdk_s3::config::Builder::from(config).timeout_config(timeouts()).force_path_style(path_style);
    if let Some(region) = region {
        builder = builder.region(Region::new(region.to_owned()));
    }
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    aws_sdk_s3::Client::from_conf(builder.build())
}

pub(crate) fn logs(config: &SdkConfig, region: Option<&str>, endpoint: Option<&str>) -> aws_sdk_cloudwatchlogs::Client {
    let mut builder = aws_sdk_cloudwatchlogs::config::Builder::from(config).timeout_config(timeouts());
    if let Some(region) = region {
        builder = builder.region(Region::new(region.to_owned()));
    }
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    aws_sdk_cloudwatchlogs::Client::from_conf(builder.build())
}
