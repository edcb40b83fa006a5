//! A task from the control channel, read into what the agent shall run.
//!
//! ```text
//!   interactive_shell ─▶ Task: schema, parameters, inputs        an error here is only logged: no session starts
//!                          └▶ properties of the session's type   an error here ends the session as Failed
//! ```

use portcullis_protocol::control::InteractiveShell;
use serde_json::Value;

use super::substitute::{Parameters, SubstituteError};

/// A session that the service wants started, with its placeholders replaced.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) session_id: String,
    pub(super) kind: Kind,
    /// The document's `properties`.
    pub(super) properties: Value,
    /// The OS user of `inputs.runAsEnabled`; may be empty, which fails the session later.
    pub(super) run_as: Option<String>,
    /// Typed into a Standard_Stream session's shell.
    pub(super) shell_profile: String,
    pub(super) kms_key: String,
}

/// `sessionType`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    StandardStream,
    InteractiveCommands,
    NonInteractiveCommands,
    Port,
    Unknown(String),
}

impl Kind {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::StandardStream => "Standard_Stream",
            Self::InteractiveCommands => "InteractiveCommands",
            Self::NonInteractiveCommands => "NonInteractiveCommands",
            Self::Port => "Port",
            Self::Unknown(name) => name,
        }
    }

    fn from_name(name: &str) -> Self {
        let known = [Self::StandardStream, Self::InteractiveCommands, Self::NonInteractiveCommands, Self::Port];
        known.into_iter().find(|kind| kind.name() == name).unwrap_or_else(|| Self::Unknown(name.to_owned()))
    }
}

/// Why a task cannot become a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum TaskError {
    #[error("the task names no session")]
    NoSession,
    #[error("document with schema version {0:?} is not supported; the embedded agent knows 1.0")]
    Schema(String),
    #[error(transparent)]
    Substitute(#[from] SubstituteError),
    #[error("input {0} is {1}, which is no truth value")]
    Truth(&'static str, Value),
    #[error("input {0} is {1} and not text")]
    Text(&'static str, Value),
}

impl Task {
    pub(super) fn new(shell: &InteractiveShell) -> Result<Self, TaskError> {
        let safe = |c: char| c.is_ascii_alphanumeric() || "._-@+=,".contains(c);
        // it names a directory
        if shell.session_id.is_empty() || shell.session_id.starts_with('.') || !shell.session_id.chars().all(safe) {
            return Err(TaskError::NoSession);
        }
        let document = &shell.document;
        let schema = document["schemaVersion"].as_str().unwrap_or_default();
        if schema != "1.0" {
            return Err(TaskError::Schema(schema.to_owned()));
        }
        let parameters = Parameters::new(&document["parameters"], &shell.parameters)?;
        let properties = parameters.apply(&document["properties"])?;
        let inputs = parameters.apply(&document["inputs"])?;
        let run_as_enabled = truth(&inputs["runAsEnabled"]).ok_or_else(|| wrong_truth("runAsEnabled", &inputs))?;
        let default_user = text(&inputs, "runAsDefaultUser")?;
        let user = if shell.run_as_user.trim().is_empty() { default_user } else { shell.run_as_user.clone() };
        Ok(Self {
            session_id: shell.session_id.clone(),
            kind: Kind::from_name(document["sessionType"].as_str().unwrap_or_default()),
            properties,
            run_as: run_as_enabled.then_some(user),
            shell_profile: text(&inputs["shellProfile"], "linux")?,
            kms_key: text(&inputs, "kmsKeyId")?,
        })
    }
}

/// The properties of the three shell-like session types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ShellProperties {
    pub(super) commands: String,
    pub(super) elevated: bool,
    pub(super) separate_streams: bool,
    pub(super) stdout_prefix: String,
    pub(super) stderr_prefix: String,
}

impl ShellProperties {
    /// Reads `properties`; the error is a sentence for `agent_task_complete`.
    pub(super) fn new(properties: &Value) -> Result<Self, String> {
        let linux = &properties["linux"];
        let text = |name: &'static str| {
            text(linux, name)
                .map_err(|error| format!("Invalid format in session properties {properties};\nerror {error}"))
        };
        let elevated = match &linux["runAsElevated"] {
            Value::Null => false,
            Value::Bool(elevated) => *elevated,
            other => {
                return Err(format!(
                    "Invalid format in session properties {properties};\nerror runAsElevated is {other}"
                ));
            }
        };
        let separate = truth(&linux["separateOutputStream"])
            .ok_or_else(|| format!("Fail to get separateOutPutStream property: {}", linux["separateOutputStream"]))?;
        Ok(Self {
            commands: text("commands")?,
            elevated,
            separate_streams: separate,
            stdout_prefix: text("stdOutSeparatorPrefix")?,
            stderr_prefix: text("stdErrSeparatorPrefix")?,
        })
    }

    /// The prefixes that chunks of separate streams get, if they are allowed.
    pub(super) fn check_prefixes(&self) -> Result<(), String> {
        let allowed = |prefix: &str| {
            prefix.len() <= 30 && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"\r\n_:-".contains(&b))
        };
        for (name, prefix) in
            [("stdoutSeparatorPrefix", &self.stdout_prefix), ("stderrSeparatorPrefix", &self.stderr_prefix)]
        {
            if !allowed(prefix) {
                return Err(format!("invalid {name} {prefix}"));
            }
        }
        Ok(())
    }
}

/// The properties of a port session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PortProperties {
    /// Empty for the node itself.
    pub(super) host: String,
    pub(super) port: String,
    /// Whether `type` is LocalPortForwarding: many connections if the client can, a new one after a lost one if not.
    pub(super) forwarding: bool,
}

impl PortProperties {
    pub(super) fn new(properties: &Value) -> Result<Self, String> {
        let text = |name: &'static str| {
            text(properties, name).map_err(|error| format!("Unable to remarshal session properties. {error}"))
        };
        let port = text("portNumber")?;
        if port.is_empty() {
            return Err(format!("Port number is empty in session properties. {properties}"));
        }
        Ok(Self { host: text("host")?, port, forwarding: text("type")? == "LocalPortForwarding" })
    }
}

/// Absent and null are false; text is read as Go reads truth values.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.as_str() {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn wrong_truth(name: &'static str, inputs: &Value) -> TaskError {
    TaskError::Truth(name, inputs[name].clone())
}

fn text(object: &Value, name: &'static str) -> Result<String, TaskError> {
    match &object[name] {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(TaskError::Text(name, other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shell(document: Value, parameters: Value) -> InteractiveShell {
        InteractiveShell { document, parameters, session_id: "s-1".into(), ..InteractiveShell::default() }
    }

    #[test]
    fn a_command_document() {
        let document = json!({
            "schemaVersion": "1.0", "sessionType": "NonInteractiveCommands",
            "parameters": {"command": {"type": "String"}, "as": {"type": "String", "default": "ann"}},
            "inputs": {"runAsEnabled": "true", "runAsDefaultUser": "{{ as }}"},
            "properties": {"linux": {"commands": "{{ command }}", "separateOutputStream": "True"}},
        });
        let task = Task::new(&shell(document, json!({"command": "echo $$"}))).unwrap();
        assert_eq!(task.kind, Kind::NonInteractiveCommands);
        assert_eq!(task.run_as.as_deref(), Some("ann"));
        let properties = ShellProperties::new(&task.properties).unwrap();
        assert_eq!(properties.commands, "echo $$");
        assert!(properties.separate_streams && !properties.elevated);
    }

    #[test]
    fn the_message_names_the_user_before_the_document() {
        let document = json!({"schemaVersion": "1.0", "sessionType": "Standard_Stream",
            "inputs": {"runAsEnabled": true, "runAsDefaultUser": "ann"}});
        let mut task = shell(document, json!({}));
        task.run_as_user = "bob".into();
        assert_eq!(Task::new(&task).unwrap().run_as.as_deref(), Some("bob"));
    }

    #[test]
    fn what_starts_no_session() {
        let minimal = |extra: Value| {
            let mut document = json!({"schemaVersion": "1.0", "sessionType": "Standard_Stream"});
            document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            shell(document, json!({}))
        };
        assert!(Task::new(&minimal(json!({}))).is_ok());
        assert!(matches!(Task::new(&minimal(json!({"schemaVersion": "2.2"}))), Err(TaskError::Schema(_))));
        assert!(matches!(Task::new(&minimal(json!({"inputs": {"runAsEnabled": "yes"}}))), Err(TaskError::Truth(..))));
        assert!(matches!(Task::new(&minimal(json!({"properties": "{{ssm:x}}"}))), Err(TaskError::Substitute(_))));
        let mut unnamed = minimal(json!({}));
        for id in ["", "..", "a/b"] {
            unnamed.session_id = id.into();
            assert!(matches!(Task::new(&unnamed), Err(TaskError::NoSession)), "{id:?}");
        }
    }

    #[test]
    fn properties_that_fail_a_session() {
        assert!(ShellProperties::new(&json!({"linux": {"commands": ["a"]}})).is_err());
        assert!(ShellProperties::new(&json!({"linux": {"separateOutputStream": "yes"}})).is_err());
        assert!(ShellProperties::new(&json!({"linux": {"runAsElevated": "true"}})).is_err());
        assert_eq!(ShellProperties::new(&Value::Null), Ok(ShellProperties::default()));
        let prefixed = |prefix: &str| ShellProperties { stdout_prefix: prefix.into(), ..ShellProperties::default() };
        assert!(prefixed("STD_OUT:\r\n-").check_prefixes().is_ok());
        assert!(prefixed("a b").check_prefixes().is_err());
        assert!(prefixed(&"a".repeat(31)).check_prefixes().is_err());
        assert!(PortProperties::new(&json!({"portNumber": ["22"]})).is_err());
        assert!(PortProperties::new(&json!({"portNumber": ""})).is_err());
        assert!(PortProperties::new(&json!({"portNumber": "22", "type": "LocalPortForwarding"})).unwrap().forwarding);
    }
}
