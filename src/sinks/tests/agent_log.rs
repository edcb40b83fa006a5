//! Logs where the account's preferences ask for some, in moto.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::moto::{Moto, PATIENCE};
use super::outage::options;
use crate::{AGENT_LOGS, AgentLog, AgentTarget, AwsFor, Sinks, testing};

const OPENED: time::OffsetDateTime = time::macros::datetime!(2026-11-30 07:12:33 UTC);

fn log(aws_session: &str, to: AgentTarget) -> AgentLog {
    AgentLog {
        realm: "main".into(),
        aws_session: aws_session.into(),
        region: "eu-west-1".into(),
        target: "i-1".into(),
        owner: "arn:aws:sts::1:assumed-role/r/ada".into(),
        run_as: "ssm-user".into(),
        to,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_and_a_command_are_logs_as_the_agent_writes_them() {
    let (moto, dir) = (Moto::start().await, tempfile::tempdir().unwrap());
    let cast = concat!(
        "{\"version\":2,\"width\":80,\"height\":24}\n",
        "[0.1,\"o\",\"$ \\u001b[1mls\\u001b[0m\\r\\n\"]\n[0.2,\"i\",\"never shown\"]\n[0.3,\"o\",\"a\\tb\\r\\n\"]\n"
    );
    let terminal = testing::folder_with(dir.path(), 1, "ada", "main", OPENED, &[("terminal.cast", cast.as_bytes())]);
    let commands = concat!(
        r#"{"time":"2026-11-30T07:12:33.000Z","at":0.0,"command":"id; \u001b[2Jx","how":"exec","confidence":1.0}"#,
        "\n"
    );
    let files: [(&str, &[u8]); 2] = [("commands.jsonl", commands.as_bytes()), ("stdout.head", b"uid=0\n")];
    let command = testing::folder_with(dir.path(), 2, "ada", "main", OPENED, &files);

    let mut options = options(dir.path(), Vec::new());
    options.agent_log_endpoint = Some(moto.url.clone());
    let config = (options.aws)(AwsFor::Realm("main")).unwrap();
    let s3 = crate::aws::s3(&config, Some("us-east-1"), Some(&moto.url), true);
    s3.create_bucket().bucket("evidence-b").send().await.unwrap();
    let logs = crate::aws::logs(&config, None, Some(&moto.url));
    logs.create_log_group().log_group_name("g").send().await.unwrap();

    let sinks = Sinks::start(options).unwrap();
    let to = AgentTarget::S3 { bucket: "evidence-b".into(), prefix: "p/".into() };
    let both = vec![terminal.clone(), command];
    sinks.agent_log(Uuid::from_u128(1), both, log("ada-01", to)).unwrap();
    for (id, streaming) in [("ada-02", true), ("ada-03", false)] {
        let to = AgentTarget::Logs { group: "g".into(), streaming };
        sinks.agent_log(Uuid::from_u128(1), vec![terminal.clone()], log(id, to)).unwrap();
    }
    // an account whose group is gone holds up no other
    let gone = AgentTarget::Logs { group: "gone".into(), streaming: false };
    sinks.agent_log(Uuid::from_u128(1), vec![terminal.clone()], log("ada-04", gone)).unwrap();
    let waiting = || sinks.health().into_iter().find(|sink| sink.name == AGENT_LOGS).unwrap();
    let settled = async {
        // it is put aside, since others were taken meanwhile, or still tried
        while waiting().waiting + waiting().quarantined > 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, settled).await.is_ok(), "{:?}", waiting());

    let object = s3.get_object().bucket("evidence-b").key("p/ada-01.log").send().await.unwrap();
    let text = object.body.collect().await.unwrap().into_bytes();
    let shown = "Script started on 2026-11-30 07:12:33+00:00\n$ \u{1b}[1mls\u{1b}[0m\r\na\tb\r\n\n\
        Script done on 2026-11-30 07:12:33+00:00 [COMMAND_EXIT_CODE=\"0\"]\n";
    let said = "Script started on 2026-11-30 07:12:33+00:00\n$ id; \\u{1b}[2Jx\nuid=0\n\n\
        Script done on 2026-11-30 07:12:33+00:00 [COMMAND_EXIT_CODE=\"0\"]\n";
    assert_eq!(String::from_utf8(text.to_vec()).unwrap(), format!("{shown}{said}"));

    let message = async |stream: &str| {
        let events = logs.get_log_events().log_group_name("g").log_stream_name(stream).send().await.unwrap();
        assert_eq!(events.events().len(), 1);
        events.events()[0].message().unwrap().to_owned()
    };
    let mut streamed: Value = serde_json::from_str(&message("ada-02").await).unwrap();
    streamed["eventTime"] = Value::Null;
    let done = "Script done on 2026-11-30 07:12:33+00:00 [COMMAND_EXIT_CODE=\"0\"]";
    assert_eq!(
        streamed,
        json!({"eventVersion": "1.0", "eventTime": null, "awsRegion": "eu-west-1", "target": {"id": "i-1"},
            "userIdentity": {"arn": "arn:aws:sts::1:assumed-role/r/ada"}, "runAsUser": "ssm-user", "sessionId": "ada-02",
            "sessionData": ["Script started on 2026-11-30 07:12:33+00:00", "$ ls", "a b", "", done]})
    );
    let plain = message("ada-03").await;
    assert_eq!(plain, format!("Script started on 2026-11-30 07:12:33+00:00\n$ ls\na\tb\n\n{done}"));
}
