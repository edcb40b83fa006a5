//! What the configuration says of sinks. Text and numbers only: files and hosts are looked at when the sinks start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All of `[evidence.sinks]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SinksConfig {
    /// What waits on disk for a sink that does not answer.
    pub spool: SpoolConfig,
    /// Buckets.
    pub s3: Vec<S3Config>,
    /// Groups of CloudWatch Logs.
    pub cloudwatch: Vec<LogsConfig>,
    /// Syslog servers.
    pub syslog: Vec<SyslogConfig>,
}

impl SinksConfig {
    /// Each sink, in the order of their kinds.
    pub fn sinks(&self) -> Vec<SinkConfig> {
        let s3 = self.s3.iter().cloned().map(SinkConfig::S3);
        let logs = self.cloudwatch.iter().cloned().map(SinkConfig::CloudWatch);
        let syslog = self.syslog.iter().cloned().map(SinkConfig::Syslog);
        s3.chain(logs).chain(syslog).collect()
    }
}

/// How much may wait on disk, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// The most bytes that live events may take while they wait. Folders are not copied and do not count.
    pub max_bytes: u64,
    /// After how many days what could not be delivered is quarantined.
    pub max_days: u32,
    /// The most folders that may wait for one sink.
    pub max_folders: u32,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, max_days: 14, max_folders: 50_000 }
    }
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SinkConfig {
    /// A bucket.
    S3(S3Config),
    /// A group of CloudWatch Logs.
    CloudWatch(LogsConfig),
    /// A syslog server.
    Syslog(SyslogConfig),
}

impl SinkConfig {
    /// What it is called in messages and in the spool.
    pub fn name(&self) -> &str {
        match self {
            Self::S3(s3) => &s3.name,
            Self::CloudWatch(logs) => &logs.name,
            Self::Syslog(syslog) => &syslog.name,
        }
    }

    /// Whether sessions end where it is down for longer than its bound.
    pub fn required(&self) -> bool {
        match self {
            Self::S3(s3) => s3.required,
            Self::CloudWatch(logs) => logs.required,
            Self::Syslog(syslog) => syslog.required,
        }
    }

    /// Whether it gets anchors.
    pub fn anchor(&self) -> bool {
        match self {
            Self::S3(s3) => s3.anchor,
            Self::CloudWatch(logs) => logs.anchor,
            Self::Syslog(syslog) => syslog.anchor,
        }
    }

    /// How many seconds it may be down.
    pub fn max_outage_seconds(&self) -> u64 {
        match self {
            Self::S3(s3) => s3.max_outage_seconds,
            Self::CloudWatch(logs) => logs.max_outage_seconds,
            Self::Syslog(syslog) => syslog.max_outage_seconds,
        }
    }

    /// What is wrong with it, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let name = self.name();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(fits) {
            return Err(format!("the sink's name {name:?} is not 1 to 40 of a-z, 0-9 and -"));
        }
        if name == crate::AGENT_LOGS {
            return Err(format!("the sink's name {name} is kept for the logs that the account's preferences ask for"));
        }
        match self {
            Self::S3(s3) => s3.check(),
            Self::CloudWatch(logs) => logs.check(),
            Self::Syslog(syslog) => syslog.check(),
        }
    }
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// What it is called in messages and in the spool: a-z, 0-9 and `-`.
    pub name: String,
    /// Sessions end, and none is opened, while it is down for longer than `max_outage_seconds`.
    #[serde(default)]
    pub required: bool,
    /// It gets anchors.
    #[serde(default)]
    pub anchor: bool,
    /// How long it may be down where it is `required`.
    #[serde(default = "ten_minutes")]
    pub max_outage_seconds: u64,
    /// The bucket.
    pub bucket: String,
    /// What every key begins with.
    #[serde(default)]
    pub prefix: String,
    /// The bucket's region, where it is not that of the credentials.
    #[serde(default)]
    pub region: Option<String>,
    /// Another endpoint than AWS's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket in the path and not in the host's name.
    #[serde(default)]
    pub path_style: bool,
    /// The KMS key that objects are encrypted with (SSE-KMS); without it as the bucket says.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// Object Lock, where the bucket has it.
    #[serde(default)]
    pub object_lock: Option<ObjectLock>,
}

/// An endpoint that a secret may be sent to: by TLS, or on this machine.
fn check_endpoint(sink: &str, endpoint: Option<&str>) -> Result<(), String> {
    let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let fits = |url: &str| url.starts_with("https://") || local.iter().any(|local| is_at(url, local));
    match endpoint {
        Some(url) if !fits(url) => {
            Err(format!("the endpoint of the sink {sink} begins with https:// or is http:// on this machine"))
        }
        _ => Ok(()),
    }
}

/// Whether a URL's host is all of this.
fn is_at(url: &str, host: &str) -> bool {
    url.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
}

impl S3Config {
    fn check(&self) -> Result<(), String> {
        check_endpoint(&self.name, self.endpoint.as_deref())?;
        if self.bucket.is_empty() {
            return Err(format!("the sink {} names no bucket", self.name));
        }
        if self.prefix.len() > 300 || self.prefix.chars().any(char::is_control) {
            return Err(format!(
                "the prefix of the sink {} is longer than 300 bytes or has control characters",
                self.name
            ));
        }
        match &self.object_lock {
            Some(lock) if lock.mode.is_some() != lock.days.is_some() => {
                Err(format!("object_lock of the sink {} needs both mode and days, or neither", self.name))
            }
            Some(ObjectLock { days: Some(0), .. }) => {
                Err(format!("object_lock.days of the sink {} is 0; the least is 1", self.name))
            }
            _ => Ok(()),
        }
    }
}

/// How objects are locked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ObjectLock {
    /// `governance` or `compliance`.
    pub mode: Option<LockMode>,
    /// For how many days from the upload.
    pub days: Option<u32>,
    /// A legal hold besides.
    pub legal_hold: bool,
}

/// Who may delete an object before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Whoever has `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody.
    Compliance,
}

/// A group of CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LogsConfig {
    /// What it is called in messages and in the spool: a-z, 0-9 and `-`.
    pub name: String,
    /// Sessions end, and none is opened, while it is down for longer than `max_outage_seconds`.
    #[serde(default)]
    pub required: bool,
    /// It gets anchors.
    #[serde(default)]
    pub anchor: bool,
    /// How long it may be down where it is `required`.
    #[serde(default = "ten_minutes")]
    pub max_outage_seconds: u64,
    /// The group.
    pub group: String,
    /// The group is made where it isn't there; needs `logs:CreateLogGroup`.
    #[serde(default)]
    pub create_group: bool,
    /// Its region, where it is not that of the credentials.
    #[serde(default)]
    pub region: Option<String>,
    /// Another endpoint than AWS's.
    #[serde(default)]
    pub endpoint: Option<String>,
}

impl LogsConfig {
    fn check(&self) -> Result<(), String> {
        check_endpoint(&self.name, self.endpoint.as_deref())?;
        // CreateLogGroup: 1 to 512 of these
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-/.#".contains(c);
        if self.group.is_empty() || self.group.len() > 512 || !self.group.chars().all(fits) {
            let (group, name) = (&self.group, &self.name);
            return Err(format!("the group {group:?} of the sink {name} is not 1 to 512 of letters, digits and _-/.#"));
        }
        Ok(())
    }
}

/// A syslog server: RFC 5424 over TLS, RFC 5425.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// What it is called in messages and in the spool: a-z, 0-9 and `-`.
    pub name: String,
    /// Sessions end, and none is opened, while it is down for longer than `max_outage_seconds`.
    #[serde(default)]
    pub required: bool,
    /// It gets anchors.
    #[serde(default)]
    pub anchor: bool,
    /// How long it may be down where it is `required`.
    #[serde(default = "ten_minutes")]
    pub max_outage_seconds: u64,
    /// Its name, as in its certificate.
    pub host: String,
    /// Its port.
    #[serde(default = "syslog_port")]
    pub port: u16,
    /// The authorities that its certificate may be from, PEM; without it those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The gateway's own certificate, PEM, where the server wants one.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The facility, 0 to 23; 13 is `log audit`.
    #[serde(default = "log_audit")]
    pub facility: u8,
    /// The severity, 0 to 7; 6 is `informational`.
    #[serde(default = "informational")]
    pub severity: u8,
    /// The longest message that the server takes, in bytes; longer ones are split and say so. rsyslog cuts those off that are longer than
    /// 8096 where its `maxMessageSize` says nothing else.
    #[serde(default = "longest_message")]
    pub max_message_bytes: usize,
    /// What was written in the last so many seconds before a connection broke is sent again.
    #[serde(default = "resend")]
    pub resend_seconds: u64,
}

impl SyslogConfig {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.host.is_empty() {
            return Err(format!("the sink {name} names no host"));
        }
        if self.facility > 23 || self.severity > 7 {
            return Err(format!("the sink {name}: a facility is 0 to 23, and a severity 0 to 7"));
        }
        // RFC 5425, section 4.3.1: every receiver takes 2048 bytes
        if !(2048..=1 << 20).contains(&self.max_message_bytes) {
            return Err(format!("max_message_bytes of the sink {name} is not from 2048 to 1048576"));
        }
        if !(1..=3600).contains(&self.resend_seconds) {
            return Err(format!("resend_seconds of the sink {name} is not from 1 to 3600"));
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Err(format!("the sink {name} needs both certificate_file and key_file, or neither"));
        }
        Ok(())
    }
}

fn ten_minutes() -> u64 {
    600
}

fn syslog_port() -> u16 {
    6514
}

fn log_audit() -> u8 {
    13
}

fn informational() -> u8 {
    6
}

fn longest_message() -> usize {
    8000
}

fn resend() -> u64 {
    30
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(value: serde_json::Value) -> Result<SinkConfig, serde_json::Error> {
        serde_json::from_value(value).map(SinkConfig::S3)
    }

    #[test]
    fn what_no_sink_has_is_refused_and_what_is_wrong_is_told() {
        assert!(s3(serde_json::json!({"name": "a", "bucket": "b", "buckets": "c"})).is_err());
        let good = s3(serde_json::json!({"name": "a", "bucket": "b"})).unwrap();
        assert_eq!(good.check(), Ok(()));
        assert_eq!((good.required(), good.anchor(), good.max_outage_seconds()), (false, false, 600));
        for bad in [
            serde_json::json!({"name": "../a", "bucket": "b"}),
            serde_json::json!({"name": "", "bucket": "b"}),
            serde_json::json!({"name": "agent-logs", "bucket": "b"}),
            serde_json::json!({"name": "a", "bucket": ""}),
            serde_json::json!({"name": "a", "bucket": "b", "endpoint": "http://127.0.0.1.example"}),
            serde_json::json!({"name": "a", "bucket": "b", "object_lock": {"mode": "compliance"}}),
            serde_json::json!({"name": "a", "bucket": "b", "object_lock": {"mode": "compliance", "days": 0}}),
        ] {
            assert!(s3(bad.clone()).unwrap().check().is_err(), "{bad}");
        }
    }
}
