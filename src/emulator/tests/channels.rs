//! Who may open which channel, and how sessions end.

use std::time::Duration;

use portcullis_protocol::control::AgentTaskAcknowledge;
use portcullis_protocol::open::OpenDataChannel;
use portcullis_protocol::payload::ChannelClosed;
use portcullis_protocol::{Message as Frame, MessageType};
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

use super::callers::*;
use crate::emulator::*;

fn status(result: Result<Socket, Error>) -> u16 {
    match result.err().expect("a refusal") {
        Error::Http(response) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_agents_get_agents_channels() {
    let callers = Callers::start_with(|config| {
        let agent = ApiKey::agent("AKIDOTHER", "other", "arn:aws:iam::123456789012:role/other");
        config.keys.push(ApiKey { speaks_for: SpeaksFor::Node("mi-other".into()), ..agent });
    })
    .await;
    let other = || aws_credential_types::Credentials::new("AKIDOTHER", "other", None, None, "test");
    let path = format!("/v1/control-channel/{NODE}");
    assert_eq!(status(callers.websocket(&path, None).await), 403);
    for wrong in [alice(), other()] {
        let answer = callers.token(&path, wrong.clone()).await.unwrap_err();
        assert!(answer.contains("<AccessDeniedException>"), "{answer}");
        assert_eq!(status(callers.websocket(&path, Some(wrong)).await), 403);
    }
    // Signed, but without the right token: cut off.
    let mut socket = callers.websocket(&path, Some(node())).await.unwrap();
    socket.text(r#"{"TokenValue":"guess"}"#.into()).await;
    socket.ended().await;
    assert!(!callers.service.is_connected(NODE));
    // The same for a data channel, and without a signature no token helps.
    let session = callers.session().await;
    let path = format!("/v1/data-channel/{}", session.id);
    assert!(callers.token(&path, other()).await.is_err() && callers.token(&path, alice()).await.is_err());
    let token = callers.token(&path, node()).await.unwrap();
    for signer in [None, Some(alice())] {
        let mut socket = callers.websocket(&path, signer).await.unwrap();
        socket.text(OpenDataChannel::agent(Uuid::new_v4(), token.as_str(), NODE).encode()).await;
        socket.ended().await;
    }
    let mut socket = callers.websocket(&path, Some(node())).await.unwrap();
    socket.text(OpenDataChannel::agent(Uuid::new_v4(), token.as_str(), "mi-other").encode()).await;
    socket.ended().await;
    assert_eq!(status(callers.websocket(&path, Some(other())).await), 403);
}

#[tokio::test]
async fn a_client_needs_its_token_and_not_the_agents() {
    let callers = Callers::start().await;
    let session = callers.session().await;
    let path = format!("/v1/data-channel/{}", session.id);
    let agents = callers.token(&path, node()).await.unwrap();
    for token in [agents.as_str(), "", "guess"] {
        let mut socket = callers.websocket(&path, None).await.unwrap();
        socket.text(OpenDataChannel::client(Uuid::new_v4(), token, Uuid::new_v4(), "1.2.0.0").encode()).await;
        socket.ended().await;
    }
    for nonsense in ["", "{", "[]", r#"{"ClientId":1}"#] {
        let mut socket = callers.websocket(&path, None).await.unwrap();
        socket.text(nonsense.into()).await;
        socket.ended().await;
    }
    assert!(callers.live(&session.id).client_attached, "the rightful client was not disturbed");
    assert_eq!(status(callers.websocket("/v1/data-channel/nobody-0", None).await), 400);
}

#[tokio::test]
async fn a_signed_upgrade_is_checked_and_may_be_required() {
    let callers = Callers::start_with(|config| config.require_signed_upgrade = true).await;
    let _control = callers.agent().await;
    let started = callers.alice().start_session().target(NODE).send().await.unwrap();
    let path = format!("/v1/data-channel/{}?role=publish_subscribe", started.session_id().unwrap());
    assert_eq!(status(callers.websocket(&path, None).await), 403);
    let forged = aws_credential_types::Credentials::new("AKIDALICE", "wrong", None, None, "test");
    assert_eq!(status(callers.websocket(&path, Some(forged)).await), 403);
    let mut socket = callers.websocket(&path, Some(alice())).await.unwrap();
    let token = started.token_value().unwrap();
    socket.text(OpenDataChannel::client(Uuid::new_v4(), token, Uuid::new_v4(), "1.2.764.0").encode()).await;
    until(|| callers.live(started.session_id().unwrap()).client_attached).await;
}

#[tokio::test]
async fn the_agents_report_ends_the_session() {
    for (report, status) in [("Success", "Terminated"), ("Failed", "Failed")] {
        let callers = Callers::start().await;
        let mut session = callers.session().await;
        session.agent.send(output(0, b"last words")).await;
        let report = complete(&session.id, report, "What happened.");
        session.control.send(report.clone()).await;
        let answer = session.control.frame().await;
        assert_eq!(answer.kind, MessageType::AgentTaskAcknowledge);
        let answer = AgentTaskAcknowledge::decode(&answer.payload).unwrap();
        assert_eq!(answer.message_id, Frame::decode(report).unwrap().id.to_string());
        // While the agent's websocket is open, more may come from it, and the client gets it.
        session.agent.send(output(1, b"really last")).await;
        assert_eq!(session.client.frame().await.payload, "last words");
        assert_eq!(session.client.frame().await.payload, "really last");
        drop(session.agent);
        assert_eq!(session.client.closed().await, "What happened.");
        session.client.ended().await;
        let found = callers.described(&session.id, true).await.unwrap();
        assert_eq!(found.status().unwrap().as_str(), status);
        assert_eq!((found.details(), found.reason()), (Some("What happened."), Some("a test")));
        assert!(found.end_date().is_some());
    }
}

#[tokio::test]
async fn a_node_speaks_for_its_own_sessions_only() {
    let callers = Callers::start().await;
    let session = callers.session().await;
    let path = "/v1/control-channel/mi-other";
    let token = callers.token(path, node()).await.unwrap();
    let mut other = callers.websocket(path, Some(node())).await.unwrap();
    other.text(portcullis_protocol::open::OpenControlChannel::new(Uuid::new_v4(), token, "3.3.0.0").encode()).await;
    until(|| callers.service.is_connected("mi-other")).await;
    other.send(complete(&session.id, "Success", "")).await;
    assert_eq!(other.frame().await.kind, MessageType::AgentTaskAcknowledge);
    assert!(callers.live(&session.id).client_attached);
}

#[tokio::test]
async fn terminating_tells_everybody() {
    let callers = Callers::start().await;
    let mut session = callers.session().await;
    let alice = callers.alice();
    let answer = alice.terminate_session().session_id(&session.id).send().await.unwrap();
    assert_eq!(answer.session_id(), Some(session.id.as_str()));
    assert_eq!(session.client.closed().await, "");
    session.client.ended().await;
    assert_eq!(session.agent.closed().await, "");
    let told = session.control.frame().await;
    assert_eq!(ChannelClosed::decode(&told.payload).unwrap().session_id, session.id);
    // Again is no error, nothing can be resumed, and the agent is told to stop trying.
    alice.terminate_session().session_id(&session.id).send().await.unwrap();
    let resumed = alice.resume_session().session_id(&session.id).send().await.unwrap();
    assert_eq!((resumed.session_id(), resumed.token_value()), (Some(session.id.as_str()), None));
    let path = format!("/v1/data-channel/{}", session.id);
    let answer = callers.token(&path, node()).await.unwrap_err();
    assert!(answer.contains("Session is already terminated"), "{answer}");
    assert_eq!(status(callers.websocket(&path, None).await), 400);
}

#[tokio::test]
async fn idle_and_long_sessions_are_ended_with_a_text() {
    let preferences = |idle: &str, most: &str| {
        format!(
            r#"{{"schemaVersion":"1.0","sessionType":"Standard_Stream",
            "inputs":{{"idleSessionTimeout":"{idle}","maxSessionDuration":"{most}"}}}}"#
        )
    };
    for (idle, most, text) in [
        ("4", "1000", "Your session timed out due to inactivity."),
        ("60", "8", "Max session duration reached. Your session has been terminated."),
    ] {
        let callers = Callers::start_with(|config| {
            config.preferences = Some(preferences(idle, most));
            config.minute = Duration::from_millis(100);
        })
        .await;
        let mut session = callers.session().await;
        for sequence in 0..6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            session.client.send(input(sequence, b"x")).await;
            assert_eq!(session.agent.frame().await.sequence, sequence, "activity keeps it");
        }
        assert_eq!(session.client.closed().await, text);
        assert_eq!(session.agent.closed().await, text);
        let told = session.control.frame().await;
        assert_eq!(ChannelClosed::decode(&told.payload).unwrap().output, text);
        assert_eq!(callers.described(&session.id, true).await.unwrap().details(), Some(text));
    }
}

#[tokio::test]
async fn pings_are_answered_and_what_is_too_long_is_not_read() {
    use futures_util::{SinkExt, StreamExt};
    let callers = Callers::start_with(|config| config.limits.message = 4096).await;
    let mut session = callers.session().await;
    for socket in [&mut session.control, &mut session.agent, &mut session.client] {
        socket.0.send(Message::Ping("keepalive".into())).await.unwrap();
        let pong = within(socket.0.next()).await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong("keepalive".into()));
    }
    let _ = session.client.0.send(Message::Binary(input(0, &[0; 5000]))).await;
    session.client.ended().await;
    assert!(callers.live(&session.id).agent_attached);
}

#[tokio::test]
async fn a_second_control_channel_takes_over() {
    let callers = Callers::start().await;
    let mut first = callers.agent().await;
    let path = format!("/v1/control-channel/{NODE}");
    let token = callers.token(&path, node()).await.unwrap();
    let mut second = callers.websocket(&path, Some(node())).await.unwrap();
    second.text(portcullis_protocol::open::OpenControlChannel::new(Uuid::new_v4(), token, "3.3.0.0").encode()).await;
    first.ended().await;
    callers.alice().start_session().target(NODE).send().await.unwrap();
    assert_eq!(second.frame().await.kind, MessageType::InteractiveShell);
}

#[tokio::test]
async fn shutting_down_leaves_nothing_running() {
    let callers = Callers::start().await;
    let mut session = callers.session().await;
    let address = callers.service.address();
    within(callers.service.shutdown()).await;
    session.client.ended().await;
    session.agent.ended().await;
    session.control.ended().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
