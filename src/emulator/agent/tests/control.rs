//! The control channel: outcomes, odd tasks, loss, shutdown.

use std::time::{Duration, Instant};

use portcullis_protocol::MessageType;
use serde_json::json;

use super::service_end::{ServiceEnd, gone, interactive, is_alive, separate, within};
use crate::emulator::agent::Fidelity::Fast;

#[tokio::test]
async fn an_outcome_is_told_three_times_if_nobody_listens() {
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(separate("true")).await;
    client.until_closed().await;
    let began = Instant::now();
    let mut ids = Vec::new();
    for number in 1..=3 {
        let (id, complete) = service.outcome_unacknowledged().await;
        assert_eq!(complete.retry_number, number);
        ids.push(id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert!(began.elapsed() >= Duration::from_millis(1900));
    let silence = tokio::time::timeout(Duration::from_millis(1500), service.outcome_unacknowledged()).await;
    assert!(silence.is_err());
}

#[tokio::test]
async fn sessions_outlive_the_control_channel() {
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(separate("sh -c 'echo one; sleep 1; echo two'")).await;
    client.until_output("one").await;
    service.cut_control().await;
    client.until_closed().await;
    assert_eq!(client.text(), "one\ntwo\n");
    assert_eq!(service.outcome().await.task_id, client.id);
}

#[tokio::test]
async fn tasks_that_make_no_sense() {
    let mut service = ServiceEnd::start(Fast).await;
    service.send(MessageType::InteractiveShell, b"nonsense".as_slice().into()).await;
    service
        .send_task(json!({"schemaVersion": "1.0", "sessionType": "Port", "properties": {"portNumber": "{{ssm:/x}}"}}))
        .await;
    let outcome = service.outcome().await;
    assert!(outcome.output.contains("{{ssm:/x}}"), "{}", outcome.output);
    service.send_task(json!({"schemaVersion": "1.0", "sessionType": "Teleport"})).await;
    assert_eq!(service.outcome().await.final_task_status, "Failed");
    service
        .send_task(json!({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {"kmsKeyId": "arn:x"}}))
        .await;
    assert!(service.outcome().await.output.contains("cannot encrypt"));
}

#[tokio::test]
async fn the_node_introduces_itself() {
    let mut service = ServiceEnd::start_with(|config| config.name = Some("demo".into())).await;
    loop {
        let (path, body) = within(service.calls.recv()).await.unwrap();
        if path == "/" {
            let told: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((told["ComputerName"].as_str(), told["AgentStatus"].as_str()), (Some("demo"), Some("Active")));
            return;
        }
    }
}

#[tokio::test]
async fn shutdown_ends_every_session() {
    let mut service = ServiceEnd::start(Fast).await;
    let mut command = service.open(separate("sh -c 'echo r; exec sleep 77.04'")).await;
    command.until_output("r").await;
    let mut terminal = service.open(interactive("echo r; exec sleep 77.05")).await;
    terminal.until_output("r").await;
    let ServiceEnd { agent, .. } = service;
    within(agent.unwrap().shutdown()).await;
    assert!(gone("sleep 77.04").await);
    assert!(gone("sleep 77.05").await);
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_fails_the_session() {
    let mut service = ServiceEnd::start(Fast).await;
    // nobody drives this client
    let _client = service.open(separate("true")).await;
    let outcome = service.outcome().await;
    assert_eq!(outcome.final_task_status, "Failed");
    assert!(outcome.output.contains("Handshake timed out"), "{}", outcome.output);
}

#[tokio::test]
async fn a_data_channel_that_is_refused_fails_the_session() {
    let mut service = ServiceEnd::start(Fast).await;
    *service.refusal.lock().unwrap() = Some("Session is already terminated");
    let began = Instant::now();
    let id = service.send_task(separate("true")).await;
    let outcome = service.outcome().await;
    assert_eq!(outcome.final_task_status, "Failed");
    assert!(
        outcome.output.starts_with(&format!("Setting up data channel with id {id} failed: ")),
        "{}",
        outcome.output
    );
    // nothing is tried again once the session is over
    assert!(began.elapsed() < Duration::from_millis(90), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_session_whose_data_channel_never_comes_back_runs_until_it_is_closed() {
    let mut service = ServiceEnd::start(Fast).await;
    let mut client = service.open(separate("sh -c 'echo r; exec sleep 77.06'")).await;
    client.until_output("r").await;
    *service.refusal.lock().unwrap() = Some("no");
    client.cut().await;
    while within(service.calls.recv()).await.unwrap().0 == "/" {}
    tokio::time::sleep(Duration::from_millis(4000)).await;
    assert!(is_alive("sleep 77.06"));
    let id = client.id.clone();
    service.close_session(&id).await;
    assert_eq!(service.outcome().await.final_task_status, "Success");
    assert!(gone("sleep 77.06").await);
}
