//! What service and agent say to each other on the control channel, of which every node has one.
//!
//! ```text
//!   service                                              agent
//!      │ interactive_shell  {Content: "<task as text>"}    │
//!      │ ────────────────────────────────────────────────▶ │  starts a worker, which opens the data channel
//!      │                                                   │  …
//!      │    agent_task_complete {TaskId, FinalTaskStatus}  │  up to 3 times, a second apart, same message id
//!      │ ◀──────────────────────────────────────────────── │
//!      │ agent_task_acknowledge {MessageId}                │
//!      │ ────────────────────────────────────────────────▶ │
//! ```
//!
//! To end a session early the service sends `channel_closed` ([`crate::payload::ChannelClosed`]) with its id.
//! There is no acknowledgement of `interactive_shell`; the first sign of life is the data channel.
//!
//! The names are those of agent/session/contracts/model.go; who sends what when is in
//! agent/messageservice/interactor/mgsinteractor. How often and how far apart the agent repeats itself:
//! replytypes/sessioncompletereplytype.go there, NewSessionCompleteType.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::payload::{PayloadError, from_json, null_as_default, to_json};

/// The session that the agent shall start: the content of an `interactive_shell` frame, AgentTaskPayload in
/// agent/session/contracts/model.go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InteractiveShell {
    /// Such as `SSM-SessionManagerRunShell`.
    #[serde(rename = "DocumentName", default)]
    pub document_name: String,
    /// The session document, schema 1.0, placeholders unresolved: the agent substitutes.
    #[serde(rename = "DocumentContent", default)]
    pub document: Value,
    /// The session's id, which is also the task's.
    #[serde(rename = "SessionId", default)]
    pub session_id: String,
    /// Name to value; plain strings for parameters of type String.
    #[serde(rename = "Parameters", default)]
    pub parameters: Value,
    /// The OS user, if the message and not the document names one.
    #[serde(rename = "RunAsUser", default, deserialize_with = "null_as_default")]
    pub run_as_user: String,
    /// Who started the session, as an ARN.
    #[serde(rename = "SessionOwner", default, deserialize_with = "null_as_default")]
    pub session_owner: String,
}

impl InteractiveShell {
    /// Reads the payload: JSON text within JSON (agent/session/contracts/agentmessage.go,
    /// deserializeAgentTaskPayload).
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body is not the JSON that it must be.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let outer: WireTask = from_json("session task", payload)?;
        from_json("content of the session task", outer.content.as_bytes())
    }

    /// Writes the payload.
    pub fn encode(&self) -> Bytes {
        to_json(&WireTask {
            content: serde_json::to_string(self).unwrap_or_default(),
            task_id: self.session_id.clone(),
            topic: INTERACTIVE_SHELL.to_owned(),
            schema_version: SCHEMA_VERSION,
        })
    }
}

/// A session is over: the body of an `agent_task_complete` frame, AgentTaskCompletePayload in
/// agent/session/contracts/model.go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentTaskComplete {
    /// 1.
    #[serde(rename = "SchemaVersion")]
    pub schema_version: u32,
    /// The session's id.
    #[serde(rename = "TaskId")]
    pub task_id: String,
    /// `agent_task_complete`.
    #[serde(rename = "Topic")]
    pub topic: String,
    /// `Success`, `Failed`, …: how the session went, not how its command ended.
    #[serde(rename = "FinalTaskStatus")]
    pub final_task_status: String,
    /// False.
    #[serde(rename = "IsRoutingFailure")]
    pub is_routing_failure: bool,
    /// Empty.
    #[serde(rename = "AwsAccountId")]
    pub aws_account_id: String,
    /// The node.
    #[serde(rename = "InstanceId")]
    pub instance_id: String,
    /// Why it failed, or empty.
    #[serde(rename = "Output")]
    pub output: String,
    /// Where the agent logged to, if it did.
    #[serde(rename = "S3Bucket")]
    pub s3_bucket: String,
    /// The same.
    #[serde(rename = "S3UrlSuffix")]
    pub s3_url_suffix: String,
    /// The same.
    #[serde(rename = "CwlGroup")]
    pub cwl_group: String,
    /// The same.
    #[serde(rename = "CwlStream")]
    pub cwl_stream: String,
    /// 1, 2, 3: counted up before each sending (sendreply.go, processReply).
    #[serde(rename = "RetryNumber")]
    pub retry_number: u32,
}

impl AgentTaskComplete {
    /// The agent's report about a session.
    pub fn new(session_id: &str, instance_id: &str, status: &str, output: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            task_id: session_id.to_owned(),
            topic: TASK_COMPLETE.to_owned(),
            final_task_status: status.to_owned(),
            instance_id: instance_id.to_owned(),
            output: output.to_owned(),
            retry_number: FIRST_SENDING,
            ..Self::default()
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body is not the JSON that it must be.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("notice that a task is complete", payload)
    }

    /// Writes the payload.
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }
}

/// The service has seen an `agent_task_complete`; without it the agent repeats itself. AcknowledgeTaskContent in
/// agent/session/contracts/model.go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentTaskAcknowledge {
    /// 1.
    #[serde(rename = "SchemaVersion")]
    pub schema_version: u32,
    /// The id of the acknowledged frame: this is what the agent goes by (mgsinteractor.go,
    /// processTaskAcknowledgeMessage).
    #[serde(rename = "MessageId")]
    pub message_id: String,
    /// The session's id.
    #[serde(rename = "TaskId")]
    pub task_id: String,
    /// `agent_task_complete`.
    #[serde(rename = "Topic")]
    pub topic: String,
}

impl AgentTaskAcknowledge {
    /// The service's answer to the frame with this id about this session.
    pub fn new(message_id: uuid::Uuid, session_id: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            message_id: message_id.to_string(),
            task_id: session_id.to_owned(),
            topic: TASK_COMPLETE.to_owned(),
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the body is not the JSON that it must be.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        from_json("acknowledgement of a task", payload)
    }

    /// Writes the payload.
    pub fn encode(&self) -> Bytes {
        to_json(self)
    }
}

#[derive(Serialize, Deserialize)]
struct WireTask {
    #[serde(rename = "Content")]
    content: String,
    #[serde(rename = "TaskId", default)]
    task_id: String,
    #[serde(rename = "Topic", default)]
    topic: String,
    #[serde(rename = "SchemaVersion", default)]
    schema_version: u32,
}

/// TaskCompleteMessage in agent/session/contracts/model.go; the topic has the same name as the message.
const TASK_COMPLETE: &str = "agent_task_complete";
/// The service's word; the agent reads it and goes by the message's type (deserializeAgentTaskPayload).
const INTERACTIVE_SHELL: &str = "aws.ssm.interactive_shell";
/// Of every body on the control channel (replytypes/sessioncompletereplytype.go, formatAgentTaskCompletePayload).
const SCHEMA_VERSION: u32 = 1;
/// The agent counts from it (sendreply.go, processReply).
const FIRST_SENDING: u32 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_is_text_within_json() {
        let task = InteractiveShell {
            document_name: "AWS-StartSSHSession".into(),
            document: json!({"schemaVersion": "1.0", "sessionType": "Port", "properties": {"portNumber": "{{ portNumber }}"}}),
            session_id: "s-1".into(),
            parameters: json!({"portNumber": "22"}),
            run_as_user: String::new(),
            session_owner: "arn:aws:sts::1:x".into(),
        };
        let outer: Value = serde_json::from_slice(&task.encode()).unwrap();
        assert!(outer["Content"].is_string());
        assert_eq!(outer["TaskId"], "s-1");
        assert_eq!(InteractiveShell::decode(&task.encode()), Ok(task));
    }

    #[test]
    fn completion_is_byte_for_byte_what_the_agent_writes() {
        let golden = concat!(
            r#"{"SchemaVersion":1,"TaskId":"s-1","Topic":"agent_task_complete","FinalTaskStatus":"Success","#,
            r#""IsRoutingFailure":false,"AwsAccountId":"","InstanceId":"mi-1","Output":"","S3Bucket":"","#,
            r#""S3UrlSuffix":"","CwlGroup":"","CwlStream":"","RetryNumber":1}"#,
        );
        let complete = AgentTaskComplete::new("s-1", "mi-1", "Success", "");
        assert_eq!(complete.encode(), golden);
        assert_eq!(AgentTaskComplete::decode(golden.as_bytes()), Ok(complete));
        let acknowledge = AgentTaskAcknowledge::new(uuid::Uuid::nil(), "s-1");
        assert_eq!(AgentTaskAcknowledge::decode(&acknowledge.encode()), Ok(acknowledge));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), content: String) {
            let nested = json!({ "Content": content }).to_string();
            for body in [bytes.as_slice(), nested.as_bytes()] {
                let _ = InteractiveShell::decode(body);
                let _ = AgentTaskComplete::decode(body);
                let _ = AgentTaskAcknowledge::decode(body);
            }
        }
    }
}
