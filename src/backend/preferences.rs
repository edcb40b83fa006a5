//! The account's session preferences: the document `SSM-SessionManagerRunShell`.
//!
//! A session that names another document is not under them, so a lane would silently escape the account's KMS key,
//! logging, Run-As user and limits. They are read before the first lane of a realm; what the lanes' own documents carry
//! is put into those ([`Preferences::lane_inputs`]), and what they can't carry yet refuses the lane in a sentence
//! ([`Preferences::lane_conflicts`]).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backend::{BackendError, Directory};

/// The document's name in every account.
pub const DOCUMENT: &str = "SSM-SessionManagerRunShell";

/// What the account asks of its sessions. The default is an account that never set any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// Data is encrypted with this KMS key, besides TLS.
    pub kms_key: Option<String>,
    /// The agent writes its log of the session to this bucket.
    pub s3_bucket: Option<String>,
    /// What the names of those logs begin with.
    pub s3_prefix: Option<String>,
    /// The agent writes its log of the session to this group of CloudWatch Logs.
    pub cloudwatch_group: Option<String>,
    /// There it is JSON.
    pub cloudwatch_streaming: bool,
    /// Sessions run as the user that the caller's tag or the default names.
    pub run_as: Option<RunAs>,
    /// Minutes without a byte after which the service ends a session.
    pub idle_minutes: Option<u32>,
    /// Minutes after which the service ends a session.
    pub max_minutes: Option<u32>,
    /// Commands that every shell on Linux starts with.
    pub shell_profile: Option<String>,
    /// Inputs that this version does not know and that are set to something.
    pub unknown: Vec<String>,
}

/// Run-As support is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user for callers whose tag names none.
    pub default_user: Option<String>,
}

/// The document exists and can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the account's session preferences ({DOCUMENT}) can't be read: {0}; correct them in Session Manager's settings"
)]
pub struct PreferencesError(String);

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "sessionType", default)]
    session_type: String,
    #[serde(default)]
    inputs: Map<String, Value>,
}

impl Preferences {
    /// Reads the document's content.
    pub fn parse(content: &str) -> Result<Self, PreferencesError> {
        let wrong = |error: serde_json::Error| PreferencesError(format!("not the JSON expected, {error}"));
        // By way of an object: serde would read the fields from an array as well.
        let object: Map<String, Value> = serde_json::from_str(content).map_err(wrong)?;
        let document: Document = serde_json::from_value(Value::Object(object)).map_err(wrong)?;
        if !document.session_type.is_empty() && document.session_type != "Standard_Stream" {
            return Err(PreferencesError("its sessionType is not Standard_Stream".into()));
        }
        let mut preferences = Self::default();
        let mut run_as = (false, None);
        for (name, value) in document.inputs {
            match name.as_str() {
                "kmsKeyId" => preferences.kms_key = text(&name, value)?,
                "s3KeyPrefix" => preferences.s3_prefix = text(&name, value)?,
                "cloudWatchStreamingEnabled" => preferences.cloudwatch_streaming = truth(&name, value)?,
                "s3BucketName" => preferences.s3_bucket = text(&name, value)?,
                "cloudWatchLogGroupName" => preferences.cloudwatch_group = text(&name, value)?,
                "idleSessionTimeout" => preferences.idle_minutes = minutes(&name, value)?,
                "maxSessionDuration" => preferences.max_minutes = minutes(&name, value)?,
                "runAsEnabled" => run_as.0 = truth(&name, value)?,
                "runAsDefaultUser" => run_as.1 = text(&name, value)?,
                "shellProfile" => preferences.shell_profile = linux_profile(&name, value)?,
                // These only say how the log that is named above is kept.
                "s3EncryptionEnabled" | "cloudWatchEncryptionEnabled" => {}
                _ if is_set(&value) => preferences.unknown.push(name),
                _ => {}
            }
        }
        // without a place for a log they say nothing
        preferences.s3_prefix = preferences.s3_prefix.filter(|_| preferences.s3_bucket.is_some());
        preferences.cloudwatch_streaming &= preferences.cloudwatch_group.is_some();
        preferences.run_as = run_as.0.then_some(RunAs { default_user: run_as.1 });
        Ok(preferences)
    }

    /// Whether the agent is to keep a log of each session.
    pub fn asks_for_logging(&self) -> bool {
        self.s3_bucket.is_some() || self.cloudwatch_group.is_some()
    }

    /// What a lane's document can't carry yet, each as the rest of a sentence that starts with "the account's session
    /// preferences". Empty: lanes may open.
    ///
    /// `evidence_replaces_logging`: the realm's configuration says that Portcullis's evidence takes the place of the
    /// agent's log.
    pub fn lane_conflicts(&self, evidence_replaces_logging: bool) -> Vec<String> {
        let mut conflicts = Vec::new();
        if let Some(key) = &self.kms_key {
            conflicts.push(format!("encrypt sessions with the KMS key {key}"));
        }
        if !evidence_replaces_logging {
            if let Some(bucket) = &self.s3_bucket {
                conflicts.push(format!("log sessions to the S3 bucket {bucket}"));
            }
            if let Some(group) = &self.cloudwatch_group {
                conflicts.push(format!("log sessions to the CloudWatch group {group}"));
            }
        }
        if let Some(run_as) = &self.run_as {
            conflicts.push(match &run_as.default_user {
                Some(user) => format!("run sessions as another user (Run As, by default {user})"),
                None => "run sessions as another user (Run As)".to_owned(),
            });
        }
        if self.shell_profile.is_some() {
            conflicts.push("start every Linux shell with a shell profile".to_owned());
        }
        for name in &self.unknown {
            conflicts.push(format!("set {name}, which this version does not know"));
        }
        conflicts
    }

    /// Reads the account's preferences. An account that never set any has none; one whose preferences can't be read gets
    /// no lane, because they may ask for anything.
    pub async fn of_account(directory: &dyn Directory) -> Result<Self, BackendError> {
        match directory.document(DOCUMENT).await? {
            Some(content) => Self::parse(&content).map_err(|error| BackendError::Document(error.to_string())),
            None => Ok(Self::default()),
        }
    }

    /// The inputs that a lane's document must carry to hold what it can: the account's limits.
    pub fn lane_inputs(&self) -> Map<String, Value> {
        let mut inputs = Map::new();
        if let Some(minutes) = self.idle_minutes {
            inputs.insert("idleSessionTimeout".into(), Value::String(minutes.to_string()));
        }
        if let Some(minutes) = self.max_minutes {
            inputs.insert("maxSessionDuration".into(), Value::String(minutes.to_string()));
        }
        inputs
    }
}

fn text(name: &str, value: Value) -> Result<Option<String>, PreferencesError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        _ => Err(PreferencesError(format!("{name} is not text"))),
    }
}

fn minutes(name: &str, value: Value) -> Result<Option<u32>, PreferencesError> {
    let minutes = match value {
        Value::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
        other => match text(name, other)? {
            Some(text) => text.parse().ok(),
            None => return Ok(None),
        },
    };
    let minutes = minutes.filter(|minutes| *minutes > 0);
    minutes.map(Some).ok_or_else(|| PreferencesError(format!("{name} is not a number of minutes")))
}

fn truth(name: &str, value: Value) -> Result<bool, PreferencesError> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(truth) => Ok(truth),
        Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("false") => Ok(false),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        _ => Err(PreferencesError(format!("{name} is neither true nor false"))),
    }
}

fn linux_profile(name: &str, value: Value) -> Result<Option<String>, PreferencesError> {
    match value {
        Value::Null => Ok(None),
        Value::Object(mut profiles) => text(name, profiles.remove("linux").unwrap_or(Value::Null)),
        _ => Err(PreferencesError(format!("{name} is not an object"))),
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => items.values().any(is_set),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE_DEFAULT: &str = r#"{"schemaVersion":"1.0","description":"Document to hold regional settings for Session Manager",
        "sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,
        "cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true,
        "idleSessionTimeout":"20","maxSessionDuration":"","kmsKeyId":"","runAsEnabled":false,"runAsDefaultUser":"",
        "shellProfile":{"windows":"","linux":""}}}"#;

    #[test]
    fn what_the_console_writes_refuses_no_lane() {
        let preferences = Preferences::parse(CONSOLE_DEFAULT).unwrap();
        assert_eq!(preferences, Preferences { idle_minutes: Some(20), ..Preferences::default() });
        assert!(preferences.lane_conflicts(false).is_empty());
        assert_eq!(Value::Object(preferences.lane_inputs()), serde_json::json!({"idleSessionTimeout": "20"}));
    }

    #[test]
    fn each_preference_that_a_lane_would_escape_refuses_it() {
        let cases = [
            (r#""kmsKeyId":"alias/x""#, "KMS key alias/x"),
            (r#""s3BucketName":"logs""#, "S3 bucket logs"),
            (r#""cloudWatchLogGroupName":"/ssm""#, "CloudWatch group /ssm"),
            (r#""runAsEnabled":true,"runAsDefaultUser":"app""#, "by default app"),
            (r#""runAsEnabled":"true""#, "another user"),
            (r#""shellProfile":{"linux":"exec bash"}"#, "shell profile"),
            (r#""quantumSeal":{"mode":"on"}"#, "quantumSeal"),
        ];
        for (input, expected) in cases {
            let content = format!(r#"{{"sessionType":"Standard_Stream","inputs":{{{input}}}}}"#);
            let conflicts = Preferences::parse(&content).unwrap().lane_conflicts(false);
            assert!(conflicts.len() == 1 && conflicts[0].contains(expected), "{input}: {conflicts:?}");
        }
    }

    #[test]
    fn evidence_replaces_logging_and_nothing_else() {
        let content =
            r#"{"inputs":{"s3BucketName":"b","cloudWatchLogGroupName":"g","kmsKeyId":"k","runAsEnabled":true}}"#;
        let preferences = Preferences::parse(content).unwrap();
        assert_eq!(preferences.lane_conflicts(false).len(), 4);
        assert_eq!(preferences.lane_conflicts(true).len(), 2);
    }

    #[test]
    fn what_cant_be_understood_is_an_error_and_no_empty_preferences() {
        for content in [
            "",
            "[]",
            r#"{"sessionType":"Port"}"#,
            r#"{"inputs":{"kmsKeyId":7}}"#,
            r#"{"inputs":{"runAsEnabled":"maybe"}}"#,
            r#"{"inputs":{"idleSessionTimeout":"soon"}}"#,
            r#"{"inputs":{"maxSessionDuration":"0"}}"#,
            r#"{"inputs":{"shellProfile":"x"}}"#,
        ] {
            assert!(Preferences::parse(content).is_err(), "{content}");
        }
        assert_eq!(Preferences::parse("{}").unwrap(), Preferences::default());
    }
}
