//! The keys that evidence is encrypted with: AWS KMS, asked for a data key per session, and for those of before.
//!
//! ```text
//!  a session opens      GenerateDataKey(kms_key, context) ─▶ the key, and the key wrapped: key.json
//!  a folder is read     Decrypt(key.json's, context)      ─▶ the key
//! ```
//!
//! One thread with a runtime of its own asks, so that a key is had from anywhere: by a session, which waits for it and holds no thread,
//! and by whoever reads folders, which has no runtime.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_kms as kms;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use portcullis_folder::{DataKey, FolderKey, Keyring, KeyringError, WrappedKey};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::clients::{AwsOptions, check_region, https_client, load, read_ca_bundle};
use super::error::{Kind, clean, kind};
use super::stream_url::Endpoint;
use crate::data_channel::ProxyRules;

/// How to reach the service of keys. Every `None` means: the SDK's usual places.
#[derive(Clone, Debug, Default)]
pub struct KmsOptions {
    /// The key that new data keys are wrapped by: its ARN, or an alias; none where keys are only asked for that are there.
    pub key: Option<String>,
    /// The region of an alias. An ARN says it itself.
    pub region: Option<String>,
    /// The profile in the shared configuration.
    pub profile: Option<String>,
    /// Where the service is, `https://…` (`http://` for loopback only).
    pub endpoint: Option<String>,
    /// A PEM file with the certificate authorities to trust, in place of the system's; else `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// The proxy for everything that is not loopback; else `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy: Option<String>,
    /// Keys in place of the default chain: for tests.
    pub credentials: Option<Credentials>,
}

/// Data keys of AWS KMS.
#[derive(Clone, Debug)]
pub struct KmsKeys {
    jobs: mpsc::Sender<Job>,
}

/// What its thread is asked for.
enum Job {
    Generate(Uuid, String, oneshot::Sender<Result<FolderKey, String>>),
    Unwrap(Box<WrappedKey>, std_mpsc::SyncSender<Result<DataKey, String>>),
}

/// How many questions may wait: as many sessions as open at once.
const QUEUE: usize = 256;

/// One attempt, and all of them. A person waits at a terminal for it.
const ATTEMPT: Duration = Duration::from_secs(3);
const ALL_ATTEMPTS: Duration = Duration::from_secs(8);

/// How many bytes a data key has.
const KEY_BYTES: usize = 32;

impl KmsKeys {
    /// Starts the thread that asks. Nobody is asked yet.
    ///
    /// # Errors
    /// A sentence: the key's name is none, or there is no thread.
    pub fn start(options: KmsOptions) -> Result<Self, String> {
        if let Some(key) = &options.key {
            check_key(key)?;
        }
        let (jobs, queue) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("keys can't be asked for: {error}"))?;
        let asks = Asks { options, clients: HashMap::new() };
        let thread = thread::Builder::new().name("evidence-keys".to_owned());
        thread
            .spawn(move || runtime.block_on(asks.serve(queue)))
            .map_err(|error| format!("keys can't be asked for: {error}"))?;
        Ok(Self { jobs })
    }

    /// A new key for a session of the gateway of that name.
    ///
    /// # Errors
    /// Why there is none, in a sentence for whoever runs the gateway.
    pub async fn generate(&self, session: Uuid, gateway: &str) -> Result<FolderKey, String> {
        let (told, hears) = oneshot::channel();
        let job = Job::Generate(session, gateway.to_owned(), told);
        // who comes when too many wait is told at once
        self.jobs.try_send(job).map_err(|_| GONE.to_owned())?;
        hears.await.unwrap_or_else(|_| Err(GONE.to_owned()))
    }
}

impl Keyring for KmsKeys {
    fn unwrap(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyringError> {
        let (told, hears) = std_mpsc::sync_channel(1);
        let asked = self.jobs.try_send(Job::Unwrap(Box::new(wrapped.clone()), told));
        let key = asked.map_err(|_| GONE.to_owned()).and_then(|()| match hears.recv_timeout(LONGEST_UNWRAP) {
            Ok(key) => key,
            Err(_) => Err(format!("AWS KMS has not answered in {} s", LONGEST_UNWRAP.as_secs())),
        });
        key.map_err(KeyringError)
    }
}

/// Whoever reads a folder waits so long.
const LONGEST_UNWRAP: Duration = Duration::from_secs(15);

const GONE: &str = "too many keys are asked for, or nobody asks for them any more";

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Generate(..) => "Generate",
            Self::Unwrap(..) => "Unwrap",
        })
    }
}

/// The thread's own: a client for each region that a key was in.
struct Asks {
    options: KmsOptions,
    clients: HashMap<Option<String>, kms::Client>,
}

impl Asks {
    async fn serve(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.recv().await {
            match job {
                Job::Generate(session, gateway, told) => {
                    let key = self.options.key.clone().unwrap_or_default();
                    let region = region_of(&key).or_else(|| self.options.region.clone());
                    match self.client(region).await {
                        Ok(client) => drop(tokio::spawn(async move {
                            let _ = told.send(generate(&client, &key, session, &gateway).await);
                        })),
                        Err(why) => drop(told.send(Err(why))),
                    }
                }
                Job::Unwrap(wrapped, told) => {
                    let region = region_of(&wrapped.kms_key).or_else(|| self.options.region.clone());
                    match self.client(region).await {
                        Ok(client) => drop(tokio::spawn(async move {
                            let _ = told.try_send(unwrap(&client, &wrapped).await);
                        })),
                        Err(why) => drop(told.try_send(Err(why))),
                    }
                }
            }
        }
    }

    async fn client(&mut self, region: Option<String>) -> Result<kms::Client, String> {
        if let Some(client) = self.clients.get(&region) {
            return Ok(client.clone());
        }
        let client = connect(&self.options, region.clone()).await?;
        self.clients.insert(region, client.clone());
        Ok(client)
    }
}

async fn connect(options: &KmsOptions, region: Option<String>) -> Result<kms::Client, String> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let bundle = options.ca_bundle.clone().or_else(|| environment("AWS_CA_BUNDLE").map(Into::into));
    let bundle = read_ca_bundle(bundle).map_err(|error| error.to_string())?;
    let proxies = match &options.proxy {
        Some(url) => ProxyRules::only(url),
        None => ProxyRules::from_env(),
    };
    let proxies = proxies.map_err(|error| error.to_string())?;
    let https = https_client(bundle, &proxies).map_err(|error| error.to_string())?;
    let places = AwsOptions {
        region,
        profile: options.profile.clone(),
        credentials: options.credentials.clone(),
        ..AwsOptions::default()
    };
    let shared: SdkConfig = load(&places, https).await;
    let region = shared.region().map(ToString::to_string).ok_or("no AWS region is set: set evidence.kms_region")?;
    check_region(&region).map_err(|error| error.to_string())?;
    let ignored = environment("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let from_environment = || {
        let named = if ignored { None } else { environment("AWS_ENDPOINT_URL_KMS") };
        let general = || if ignored { None } else { environment("AWS_ENDPOINT_URL") };
        named.or_else(general).or_else(|| shared.endpoint_url().map(str::to_owned))
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(ATTEMPT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(ALL_ATTEMPTS)
        .build();
    let mut config = kms::config::Builder::from(&shared).timeout_config(timeouts);
    if let Some(url) = options.endpoint.clone().or_else(from_environment) {
        let endpoint = Endpoint::parse(&url).map_err(|error| error.to_string())?;
        config = config.endpoint_url(url);
        if endpoint.is_plain() {
            // loopback: no proxy leads there, and no certificates need to be read
            config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
    }
    Ok(kms::Client::from_conf(config.build()))
}

async fn generate(client: &kms::Client, key: &str, session: Uuid, gateway: &str) -> Result<FolderKey, String> {
    let call = client.generate_data_key().key_id(key).key_spec(DataKeySpec::Aes256);
    let context = WrappedKey::context(session, gateway).into_iter().collect();
    let made = call.set_encryption_context(Some(context)).send().await;
    let made = made.map_err(|error| sentence("GenerateDataKey", key, &error))?;
    let plain = secret(made.plaintext)?;
    let (Some(arn), Some(wrapped)) = (made.key_id, made.ciphertext_blob) else { return Err(ODD.to_owned()) };
    let data_key = DataKey::new(session, &plain).ok_or(ODD)?;
    let wrapped = WrappedKey::new(session, gateway, &arn, wrapped.as_ref());
    Ok(FolderKey { key: Arc::new(data_key), wrapped })
}

async fn unwrap(client: &kms::Client, wrapped: &WrappedKey) -> Result<DataKey, String> {
    let session = wrapped.session().ok_or(ODD)?;
    let blob = Blob::new(wrapped.bytes().ok_or(ODD)?);
    let context = wrapped.encryption_context.clone().into_iter().collect();
    let call = client.decrypt().ciphertext_blob(blob).set_encryption_context(Some(context));
    // by the key that it says, so that nobody's other key is used
    let opened = call.key_id(&wrapped.kms_key).send().await;
    let opened = opened.map_err(|error| sentence("Decrypt", &wrapped.shown_key(), &error))?;
    DataKey::new(session, &secret(opened.plaintext)?).ok_or_else(|| ODD.to_owned())
}

/// The bytes of a key. What the SDK read it from is its own, and is not wiped by it.
fn secret(blob: Option<Blob>) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = Zeroizing::new(blob.ok_or(ODD)?.into_inner());
    if bytes.len() == KEY_BYTES { Ok(bytes) } else { Err(ODD.to_owned()) }
}

const ODD: &str = "AWS KMS has answered with something that is no data key";

/// What went wrong, with the next step. Nothing of a key is in it.
fn sentence<E>(call: &str, key: &str, error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().map(clean).unwrap_or_default();
    let text = error.message().map(clean).unwrap_or_default();
    match kind(error) {
        Kind::Denied => format!(
            "IAM, or the key's own policy, refuses kms:{call} on {key}: {text}; deploy/iam/evidence-keys.json has what it takes"
        ),
        Kind::Credentials => format!("AWS KMS does not accept the credentials for kms:{call}, or there are none"),
        Kind::Throttled => format!("AWS KMS is throttling {call}; try again in a moment"),
        _ if code == "NotFoundException" => format!("there is no key {key} in its region; see evidence.kms_key"),
        _ if code == "InvalidCiphertextException" => {
            format!("AWS KMS does not open this key with {key}: it is of another session, or was changed")
        }
        Kind::Transient | Kind::Other if code.is_empty() => {
            let why = clean(&DisplayErrorContext(error).to_string());
            format!("AWS KMS could not be reached for {call}: {why}")
        }
        _ => format!("AWS KMS refuses {call} on {key} ({code}): {text}"),
    }
}

/// The region that an ARN says.
fn region_of(key: &str) -> Option<String> {
    let mut parts = key.split(':');
    let is_arn = parts.next() == Some("arn") && parts.nth(1) == Some("kms");
    parts.next().filter(|region| is_arn && !region.is_empty()).map(str::to_owned)
}

/// What can be a key's name.
fn check_key(key: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || ":/_-".contains(c);
    match (1..=2048).contains(&key.len()) && key.chars().all(good) {
        true => Ok(()),
        false => Err(format!("evidence.kms_key: {} is no ARN of a key of AWS KMS, and no alias/… either", clean(key))),
    }
}

#[cfg(test)]
#[path = "kms_tests.rs"]
mod tests;
