//! The one place that builds SDK clients: region, credentials, endpoints, certificate authorities, proxy, time limits.
//!
//! The configuration wins over the environment, and the environment over the profile, as with every AWS tool.
//! `AWS_CA_BUNDLE` is read here because the SDK does not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_iam as iam;
use aws_sdk_resourcegroupstagging as tagging;
use aws_sdk_ssm as ssm;
use aws_sdk_ssm::config::SharedHttpClient;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::timeout::TimeoutConfig;
use aws_sdk_sts as sts;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};

use super::error::{CallContext, Service, clean, no_credentials};
use super::refusals::Refusals;
use super::stream_url::{Endpoint, StreamOrigin};
use crate::backend::BackendError;
use crate::data_channel::{Dialer, ProxyRules};
use crate::model::RealmName;

/// What of the SDK is logged when nobody says: nothing. It tells of every profile and key that it has looked at, and of each
/// place where it found no credentials; what came of that is told here, in one sentence. At `trace` it tells requests and answers as they
/// are, and STS's have people's ID tokens and the secrets of roles in them.
pub const LOG_FILTER: &str = "aws_config=off,aws_smithy_runtime=off";

/// What a command that ends with the answer logs of it: it has no need to tell it twice.
pub const LOG_FILTER_OF_TOOLS: &str = "portcullis::backend::aws::refusals=off";

/// Credentials are renewed this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Credentials without an end are asked for again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How to reach Systems Manager. Every `None` means: the SDK's usual places.
#[derive(Clone, Debug, Default)]
pub struct AwsOptions {
    /// The region.
    pub region: Option<String>,
    /// The profile in the shared configuration.
    pub profile: Option<String>,
    /// Systems Manager's endpoint, `https://…` (`http://` for loopback only).
    pub endpoint_ssm: Option<String>,
    /// STS's endpoint, `https://…` (`http://` for loopback only).
    pub endpoint_sts: Option<String>,
    /// The Resource Groups Tagging API's endpoint, `https://…` (`http://` for loopback only).
    pub endpoint_tagging: Option<String>,
    /// IAM's endpoint, `https://…` (`http://` for loopback only).
    pub endpoint_iam: Option<String>,
    /// The message service's endpoint, `wss://…`: its host is accepted in stream URLs, besides AWS's own.
    pub endpoint_ssmmessages: Option<String>,
    /// A PEM file with the certificate authorities to trust, in place of the system's; else `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// The proxy for everything that is not loopback; else `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy: Option<String>,
    /// Keys in place of the default chain: for the demo and for tests.
    pub credentials: Option<Credentials>,
    /// The most sessions to start in a second. Without it the rate is learnt from AWS's refusals.
    pub starts_per_second: Option<f64>,
    /// How long a data channel's websocket may be gone before its session is given up.
    pub reconnect_deadline: Option<Duration>,
}

/// Everything that talks to AWS.
#[derive(Debug)]
pub(super) struct Clients {
    /// What the configuration calls this account and region.
    pub(super) realm: RealmName,
    pub(super) ssm: ssm::Client,
    /// For the roles of people.
    pub(super) sts: sts::Client,
    /// For the tags of nodes.
    pub(super) tagging: tagging::Client,
    /// For the keys of users. It is one for all regions, so the region's partition says where it is.
    pub(super) iam: iam::Client,
    pub(super) region: String,
    pub(super) origin: StreamOrigin,
    pub(super) dialer: Dialer,
    pub(super) credentials: CredentialCache,
    /// What is to be told to whoever runs the gateway.
    pub(super) refusals: Refusals,
}

impl Clients {
    pub(super) async fn build(realm: RealmName, options: &AwsOptions) -> Result<Self, BackendError> {
        Self::build_with(realm, options, |name| std::env::var(name).ok().filter(|value| !value.is_empty())).await
    }

    async fn build_with(
        realm: RealmName,
        options: &AwsOptions,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BackendError> {
        let ca_bundle =
            read_ca_bundle(options.ca_bundle.clone().or_else(|| environment("AWS_CA_BUNDLE").map(Into::into)))?;
        let proxies = match &options.proxy {
            Some(url) => ProxyRules::only(url),
            None => ProxyRules::from_env(),
        };
        let unusable = |error: &dyn fmt::Display| BackendError::Unreachable(error.to_string());
        let proxies = proxies.map_err(|e| unusable(&e))?;
        let https = https_client(ca_bundle.clone(), &proxies)?;
        let dialer = Dialer::new(ca_bundle.as_deref(), proxies).map_err(|e| unusable(&e))?;
        let shared = load(options, https).await;
        let region = shared.region().map(ToString::to_string).ok_or_else(|| {
            BackendError::Unreachable(
                "no AWS region is set: set region under its [[realms]], AWS_REGION or the profile's region".to_owned(),
            )
        })?;
        check_region(&region)?;

        let ignored =
            environment("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let from_environment = |name: &str| if ignored { None } else { environment(name) };
        let url_of = |configured: &Option<String>, variable: &str| {
            let general = || from_environment("AWS_ENDPOINT_URL").or_else(|| shared.endpoint_url().map(str::to_owned));
            configured.clone().or_else(|| from_environment(variable)).or_else(general)
        };
        let ssm_url = url_of(&options.endpoint_ssm, "AWS_ENDPOINT_URL_SSM");
        let sts_url = url_of(&options.endpoint_sts, "AWS_ENDPOINT_URL_STS");
        let tagging_url = url_of(&options.endpoint_tagging, "AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API");
        let iam_url = url_of(&options.endpoint_iam, "AWS_ENDPOINT_URL_IAM");
        let messages_url =
            options.endpoint_ssmmessages.clone().or_else(|| from_environment("AWS_ENDPOINT_URL_SSMMESSAGES"));
        let endpoint = |url: &Option<String>| url.as_deref().map(Endpoint::parse).transpose().map_err(|e| unusable(&e));
        let (ssm_endpoint, messages_endpoint) = (endpoint(&ssm_url)?, endpoint(&messages_url)?);
        let (sts_endpoint, tagging_endpoint) = (endpoint(&sts_url)?, endpoint(&tagging_url)?);
        let iam_endpoint = endpoint(&iam_url)?;

        // the builders of the SDK's crates have no trait in common
        macro_rules! client {
            ($service:ident, $url:expr, $endpoint:expr) => {{
                let mut config = $service::config::Builder::from(&shared);
                if let (Some(url), Some(endpoint)) = ($url, $endpoint) {
                    config = config.endpoint_url(url);
                    if endpoint.is_plain() {
                        // Loopback: no proxy leads there, and no certificates need to be read.
                        config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
                    }
                }
                $service::Client::from_conf(config.build())
            }};
        }
        let fips = shared.use_fips().unwrap_or(false);
        let credentials = shared
            .credentials_provider()
            .ok_or_else(|| BackendError::Unreachable("the gateway has no source of AWS credentials".to_owned()))?;
        Ok(Self {
            ssm: client!(ssm, ssm_url, &ssm_endpoint),
            sts: client!(sts, sts_url, &sts_endpoint),
            tagging: client!(tagging, tagging_url, &tagging_endpoint),
            iam: client!(iam, iam_url, &iam_endpoint),
            origin: StreamOrigin::new(&region, fips, ssm_endpoint.into_iter().chain(messages_endpoint)),
            region,
            dialer,
            credentials: CredentialCache { provider: credentials, kept: Mutex::default() },
            refusals: Refusals::of(realm.clone()),
            realm,
        })
    }
}

impl Clients {
    /// What is being done, should it fail.
    pub(super) fn call<'a>(&'a self, call: &'static str, on: &'a str) -> CallContext<'a> {
        let service = Service::SystemsManager;
        CallContext { service, call, on, role: None, region: &self.region, refusals: &self.refusals }
    }
}

/// What calls of other services are made with: credentials, region, proxies and whom is trusted. `local` is for an endpoint on this
/// machine without TLS, where no proxy leads.
pub(super) async fn shared(options: &AwsOptions, local: bool) -> Result<SdkConfig, BackendError> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let ca_bundle = read_ca_bundle(options.ca_bundle.clone().or_else(|| environment("AWS_CA_BUNDLE").map(Into::into)))?;
    let proxies = match &options.proxy {
        Some(url) => ProxyRules::only(url),
        None => ProxyRules::from_env(),
    };
    let proxies = proxies.map_err(|error| BackendError::Unreachable(error.to_string()))?;
    let https = https_client(ca_bundle, &proxies)?;
    let shared = load(options, https).await;
    match local {
        true => Ok(shared.into_builder().http_client(aws_smithy_http_client::Builder::new().build_http()).build()),
        false => Ok(shared),
    }
}

/// The default chain: environment, profile, container, instance.
pub(super) async fn load(options: &AwsOptions, https: SharedHttpClient) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(15))
        .operation_timeout(Duration::from_secs(30))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(https)
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts);
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(keys) = &options.credentials {
        loader = loader.credentials_provider(keys.clone());
    }
    loader.load().await
}

pub(super) fn https_client(ca_bundle: Option<Vec<u8>>, proxies: &ProxyRules) -> Result<SharedHttpClient, BackendError> {
    let unusable = |what: &str| BackendError::Unreachable(format!("the SDK does not accept {what}"));
    let trust = match ca_bundle {
        Some(pem) => TrustStore::empty().with_pem_certificate(pem),
        None => TrustStore::default(),
    };
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(|_| unusable("the CA bundle"))?;
    // The websockets' own decision. Plain HTTP is for loopback and for metadata of the instance or the container, where no
    // proxy leads.
    let proxy = match proxies.for_https() {
        Some((url, direct)) => ProxyConfig::https(url).map_err(|_| unusable("the proxy"))?.no_proxy(direct),
        None => ProxyConfig::disabled(),
    };
    Ok(aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = aws_smithy_http_client::Connector::builder()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .tls_context(context.clone())
            .proxy_config(proxy.clone());
        builder.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            builder.set_sleep_impl(components.sleep_impl());
        }
        builder.build()
    }))
}

pub(super) fn read_ca_bundle(path: Option<PathBuf>) -> Result<Option<Vec<u8>>, BackendError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            BackendError::Unreachable(format!("the CA bundle {} can't be read: {error}", path.display()))
        })
    };
    path.as_deref().map(read).transpose()
}

/// The region becomes part of host names that are dialled.
pub(super) fn check_region(region: &str) -> Result<(), BackendError> {
    let good = (1..=40).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good { Ok(()) } else { Err(BackendError::Unreachable(format!("{:?} is no AWS region", clean(region)))) }
}

/// The credentials that sign websockets: kept until shortly before they end, so that a dial does not ask STS or the
/// instance each time.
pub(super) struct CredentialCache {
    provider: SharedCredentialsProvider,
    kept: Mutex<Option<(SystemTime, Credentials)>>,
}

impl CredentialCache {
    pub(super) async fn current(&self, refusals: &Refusals) -> Result<Credentials, BackendError> {
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let now = SystemTime::now();
        if let Some((_, credentials)) = kept.filter(|(since, credentials)| is_fresh(*since, credentials, now)) {
            return Ok(credentials);
        }
        let credentials =
            self.provider.provide_credentials().await.map_err(|error| no_credentials(refusals, &error))?;
        *self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((now, credentials.clone()));
        Ok(credentials)
    }

    /// The service did not accept them: ask the provider again.
    pub(super) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for CredentialCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialCache(hidden)")
    }
}

fn is_fresh(since: SystemTime, credentials: &Credentials, now: SystemTime) -> bool {
    match credentials.expiry() {
        Some(expiry) => expiry.duration_since(now).is_ok_and(|left| left > RENEW_BEFORE),
        // A process may give others later; what is in a file is read once.
        None => now.duration_since(since).is_ok_and(|age| age < LOOK_AGAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AwsOptions {
        AwsOptions {
            region: Some("eu-west-1".into()),
            credentials: Some(Credentials::new("AKIDEXAMPLE", "hunter2", Some("hunter3".into()), None, "test")),
            ..AwsOptions::default()
        }
    }

    async fn built(options: &AwsOptions, environment: &[(&str, &str)]) -> Result<Clients, BackendError> {
        Clients::build_with(RealmName::for_test(), options, |name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
        .await
    }

    fn dials(clients: &Clients, authority: &str) -> bool {
        clients.origin.check(&format!("{authority}/v1/data-channel/s")).is_ok()
    }

    #[tokio::test]
    async fn endpoints_come_from_the_configuration_then_the_environment() {
        let plain = built(&options(), &[]).await.unwrap();
        assert!(dials(&plain, "wss://ssmmessages.eu-west-1.amazonaws.com") && !dials(&plain, "ws://127.0.0.1:4"));
        let general = built(&options(), &[("AWS_ENDPOINT_URL", "http://127.0.0.1:4")]).await.unwrap();
        assert!(dials(&general, "ws://127.0.0.1:4"));
        let both = [("AWS_ENDPOINT_URL", "http://127.0.0.1:4"), ("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:5")];
        let own = built(&options(), &both).await.unwrap();
        assert!(dials(&own, "ws://127.0.0.1:5") && !dials(&own, "ws://127.0.0.1:4"));
        let configured = AwsOptions { endpoint_ssm: Some("http://127.0.0.1:6".into()), ..options() };
        assert!(dials(&built(&configured, &both).await.unwrap(), "ws://127.0.0.1:6"));
        let off = [("AWS_ENDPOINT_URL", "http://127.0.0.1:4"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        assert!(!dials(&built(&options(), &off).await.unwrap(), "ws://127.0.0.1:4"));
    }

    #[tokio::test]
    async fn what_is_set_wrongly_is_said() {
        let wrong = |change: fn(&mut AwsOptions)| {
            let mut options = options();
            change(&mut options);
            options
        };
        let cases = [
            (wrong(|o| o.endpoint_ssm = Some("http://10.0.0.1".into())), "plain http is for loopback only"),
            (wrong(|o| o.ca_bundle = Some("/nonexistent/ca.pem".into())), "/nonexistent/ca.pem can't be read"),
            (wrong(|o| o.ca_bundle = Some("/dev/null".into())), "no certificate"),
            (wrong(|o| o.proxy = Some("socks5://p:1".into())), "socks5"),
            (wrong(|o| o.region = Some("evil.example/".into())), "is no AWS region"),
        ];
        for (options, expected) in cases {
            let text = built(&options, &[]).await.unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
        assert!(!format!("{:?}", options()).contains("hunter"));
    }
}
