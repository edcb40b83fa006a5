//! A session document (schema 1.0), read and checked.
//!
//! ```text
//!  {"schemaVersion": "1.0", "sessionType": "InteractiveCommands",
//!   "inputs":     {idleSessionTimeout, maxSessionDuration, kmsKeyId, runAs…, shellProfile, logging…},
//!   "parameters": {"command": {"type": "String", "allowedPattern": "…"}},
//!   "properties": {"linux": {"commands": "{{ command }}"}}}
//! ```
//!
//! The service checks the document and the parameters' values; replacing the placeholders is the agent's work.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::parameters::{ParameterSpec, resolve};
use super::placeholder::PLACEHOLDER;

/// A document that passed the checks.
#[derive(Clone, Debug)]
pub(crate) struct SessionDocument {
    /// The content, for the agent.
    pub(crate) content: Value,
    /// Its parameters, in the document's order.
    pub(crate) parameters: Vec<(String, ParameterSpec)>,
}

/// The four kinds of session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionType {
    StandardStream,
    InteractiveCommands,
    NonInteractiveCommands,
    Port,
}

/// How long a session may last, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    pub(crate) idle: u32,
    pub(crate) duration: Option<u32>,
}

impl SessionDocument {
    /// Reads and checks a document's text.
    pub(crate) fn parse(text: &str, refuse_separate_output_stream: bool) -> Result<Self, String> {
        let content: Value = serde_json::from_str(text).map_err(|error| format!("JSON not well-formed: {error}"))?;
        let object = content.as_object().ok_or("The document must be a JSON object.")?;
        only(
            object,
            &["schemaVersion", "description", "sessionType", "inputs", "parameters", "properties"],
            "document",
        )?;
        if object.get("schemaVersion").and_then(Value::as_str) != Some("1.0") {
            return Err("schemaVersion must be \"1.0\" for a session document.".into());
        }
        if object.get("description").is_some_and(|text| !text.is_string()) {
            return Err("description must be a string.".into());
        }
        let session_type = SessionType::parse(object.get("sessionType"))?;
        let parameters = check_parameters(object.get("parameters"))?;
        check_inputs(object.get("inputs"))?;
        check_properties(session_type, object.get("properties"), refuse_separate_output_stream)?;
        for part in ["inputs", "properties"] {
            if let Some(name) = object.get(part).and_then(|value| undefined(value, &parameters)) {
                return Err(format!("The parameter {name} is used in {part} but is not defined."));
            }
        }
        Ok(Self { parameters, content })
    }

    /// The document's `inputs`, if it has any.
    pub(crate) fn inputs(&self) -> Option<&Map<String, Value>> {
        self.content.get("inputs").and_then(Value::as_object)
    }

    /// The document with these inputs in place of its own.
    pub(crate) fn with_inputs(&self, inputs: Map<String, Value>) -> Self {
        let mut changed = self.clone();
        if let Some(object) = changed.content.as_object_mut() {
            object.insert("inputs".to_owned(), Value::Object(inputs));
        }
        changed
    }

    /// The limits that its inputs set, with the parameters' values put in.
    pub(crate) fn time_limits(&self, values: &BTreeMap<String, String>) -> TimeLimits {
        let minutes = |name: &str| {
            let text = self.inputs()?.get(name)?.as_str()?;
            resolve(text, &self.parameters, values).parse::<u32>().ok().filter(|minutes| *minutes > 0)
        };
        TimeLimits {
            idle: minutes("idleSessionTimeout").unwrap_or(DEFAULT_IDLE),
            duration: minutes("maxSessionDuration"),
        }
    }
}

impl SessionType {
    fn parse(value: Option<&Value>) -> Result<Self, String> {
        match value.and_then(Value::as_str) {
            Some("Standard_Stream") => Ok(Self::StandardStream),
            Some("InteractiveCommands") => Ok(Self::InteractiveCommands),
            Some("NonInteractiveCommands") => Ok(Self::NonInteractiveCommands),
            Some("Port") => Ok(Self::Port),
            _ => {
                Err("sessionType must be Standard_Stream, InteractiveCommands, NonInteractiveCommands or Port.".into())
            }
        }
    }
}

fn check_parameters(value: Option<&Value>) -> Result<Vec<(String, ParameterSpec)>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let object = value.as_object().ok_or("parameters must be an object.")?;
    object
        .iter()
        .map(|(name, spec)| {
            let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
            if !plain || name.len() > 255 {
                return Err(format!("The parameter name {name:?} must consist of letters and digits."));
            }
            Ok((name.clone(), ParameterSpec::parse(name, spec)?))
        })
        .collect()
}

fn check_inputs(value: Option<&Value>) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    let inputs = value.as_object().ok_or("inputs must be an object.")?;
    let known: Vec<&str> = [INPUT_TEXTS, INPUT_SWITCHES, INPUT_MINUTES, &["shellProfile"]].concat();
    only(inputs, &known, "inputs")?;
    for name in INPUT_TEXTS {
        if inputs.get(*name).is_some_and(|value| !value.is_string()) {
            return Err(format!("inputs.{name} must be a string."));
        }
    }
    for name in INPUT_SWITCHES {
        if inputs.get(*name).is_some_and(|value| !is_switch(value)) {
            return Err(format!("inputs.{name} must be true or false."));
        }
    }
    for (name, most) in INPUT_MINUTES.iter().zip([60, 1440]) {
        let Some(value) = inputs.get(*name) else { continue };
        let text = value.as_str().ok_or_else(|| format!("inputs.{name} must be a string of minutes."))?;
        let fits = text.parse::<u32>().is_ok_and(|minutes| (1..=most).contains(&minutes));
        if !(text.is_empty() || fits || PLACEHOLDER.is_match(text)) {
            return Err(format!("inputs.{name} must be a number of minutes from 1 to {most}."));
        }
    }
    match inputs.get("shellProfile") {
        None => Ok(()),
        Some(Value::Object(profile)) if profile.values().all(Value::is_string) => {
            only(profile, &["linux", "windows"], "inputs.shellProfile")
        }
        Some(_) => Err("inputs.shellProfile must be an object of strings.".into()),
    }
}

fn check_properties(kind: SessionType, value: Option<&Value>, refuse_separate: bool) -> Result<(), String> {
    let properties = match value {
        None if kind == SessionType::StandardStream => return Ok(()),
        None => return Err("properties are required for this session type.".into()),
        Some(value) => value.as_object().ok_or("properties must be an object.")?,
    };
    match kind {
        SessionType::StandardStream => check_platforms(properties, refuse_separate, false),
        SessionType::InteractiveCommands | SessionType::NonInteractiveCommands => {
            check_platforms(properties, refuse_separate, true)
        }
        SessionType::Port => {
            only(properties, PORT_KEYS, "properties")?;
            if let Some((name, _)) = properties.iter().find(|(_, value)| !(value.is_string() || value.is_number())) {
                return Err(format!("properties.{name} must be a string."));
            }
            match properties.contains_key("portNumber") {
                true => Ok(()),
                false => Err("properties.portNumber is required for a Port session.".into()),
            }
        }
    }
}

fn check_platforms(properties: &Map<String, Value>, refuse_separate: bool, commands: bool) -> Result<(), String> {
    only(properties, &["linux", "windows", "macos"], "properties")?;
    if commands && properties.is_empty() {
        return Err("properties must name at least one of linux, windows and macos.".into());
    }
    for (platform, value) in properties {
        let object = value.as_object().ok_or_else(|| format!("properties.{platform} must be an object."))?;
        let mut known = vec!["commands", "runAsElevated"];
        if !refuse_separate {
            known.extend(["separateOutputStream", "stdOutSeparatorPrefix", "stdErrSeparatorPrefix"]);
        }
        only(object, &known, &format!("properties.{platform}"))?;
        if commands && !object.get("commands").is_some_and(Value::is_string) {
            return Err(format!("properties.{platform}.commands must be a string."));
        }
        for name in ["runAsElevated", "separateOutputStream"] {
            if object.get(name).is_some_and(|value| !is_switch(value)) {
                return Err(format!("properties.{platform}.{name} must be true or false."));
            }
        }
    }
    Ok(())
}

fn only(object: &Map<String, Value>, known: &[&str], place: &str) -> Result<(), String> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("The {place} has an unknown field {key:?}; known are {}.", known.join(", "))),
        None => Ok(()),
    }
}

/// A JSON bool, or a string that the agent reads as one.
fn is_switch(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Null => true,
        Value::String(text) => {
            text.is_empty()
                || PLACEHOLDER.is_match(text)
                || ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
                    .contains(&text.as_str())
        }
        _ => false,
    }
}

/// The first placeholder in a value that no parameter stands behind.
fn undefined(value: &Value, parameters: &[(String, ParameterSpec)]) -> Option<String> {
    match value {
        Value::String(text) => PLACEHOLDER.captures_iter(text).find_map(|found| {
            let name = found.get(1)?.as_str();
            (!parameters.iter().any(|(known, _)| known == name)).then(|| name.to_owned())
        }),
        Value::Array(all) => all.iter().find_map(|value| undefined(value, parameters)),
        Value::Object(all) => all.values().find_map(|value| undefined(value, parameters)),
        _ => None,
    }
}

/// What a session may be idle for where nothing else is said, in minutes.
const DEFAULT_IDLE: u32 = 20;
const INPUT_TEXTS: &[&str] = &["s3BucketName", "s3KeyPrefix", "cloudWatchLogGroupName", "kmsKeyId", "runAsDefaultUser"];
const INPUT_SWITCHES: &[&str] =
    &["s3EncryptionEnabled", "cloudWatchEncryptionEnabled", "cloudWatchStreamingEnabled", "runAsEnabled"];
const INPUT_MINUTES: &[&str] = &["idleSessionTimeout", "maxSessionDuration"];
const PORT_KEYS: &[&str] = &["portNumber", "host", "type", "localPortNumber", "localUnixSocket", "localConnectionType"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<SessionDocument, String> {
        SessionDocument::parse(text, false)
    }

    const COMMAND: &str = r#"{"schemaVersion":"1.0","sessionType":"NonInteractiveCommands",
        "parameters":{"command":{"type":"String"}},
        "properties":{"linux":{"commands":"sh -c '{{ command }} {{ .Names }} {{ssm:/x}}'","separateOutputStream":true}}}"#;

    #[test]
    fn a_command_document_passes_and_may_be_refused_its_separate_streams() {
        let document = parse(COMMAND).unwrap();
        assert_eq!(document.parameters[0].0, "command");
        let error = SessionDocument::parse(COMMAND, true).unwrap_err();
        assert!(error.contains("separateOutputStream"), "{error}");
    }

    #[test]
    fn what_the_schema_does_not_have_is_refused() {
        for (change, with, word) in [
            (r#""schemaVersion":"1.0""#, r#""schemaVersion":"2.2""#, "schemaVersion"),
            ("NonInteractiveCommands", "Batch", "sessionType"),
            (r#""sessionType""#, r#""mainSteps":[],"sessionType""#, "mainSteps"),
            ("{{ command }}", "{{ other }}", "other"),
            (r#""type":"String""#, r#""type":"Integer""#, "String"),
            (r#""linux""#, r#""plan9""#, "plan9"),
            (r#""commands""#, r#""command""#, "command"),
            (r#""separateOutputStream":true"#, r#""separateOutputStream":7"#, "separateOutputStream"),
        ] {
            let text = COMMAND.replacen(change, with, 1);
            assert_ne!(text, COMMAND);
            let error = parse(&text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(parse("[]").is_err() && parse("{").is_err());
    }

    #[test]
    fn limits_come_from_the_inputs() {
        let text = |idle: &str| {
            format!(
                r#"{{"schemaVersion":"1.0","sessionType":"Standard_Stream",
                "inputs":{{"idleSessionTimeout":"{idle}","maxSessionDuration":"90"}},
                "parameters":{{"minutes":{{"type":"String","default":"7"}}}}}}"#
            )
        };
        let none = BTreeMap::new();
        let limits = |idle: &str| parse(&text(idle)).unwrap().time_limits(&none);
        assert_eq!(limits("5"), TimeLimits { idle: 5, duration: Some(90) });
        assert_eq!(limits("{{ minutes }}").idle, 7);
        assert_eq!(limits("").idle, 20);
        assert!(parse(&text("61")).is_err() && parse(&text("0")).is_err() && parse(&text("x")).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_documents_never_panic(text in "\\PC{0,300}", name in "\\PC{0,20}") {
            let _ = parse(&text);
            let _ = parse(&COMMAND.replace("command", &name));
        }
    }
}
