//! Commands over the lanes: what goes in, what comes out, and how they end.

use std::sync::Arc;
use std::time::Duration;

use super::ended::{collect, next_of};
use super::watched::Slow;
use crate::config::{Helper, Rung};
use crate::emulator::agent::Fidelity;
use crate::emulator::{Cut, End};
use crate::evidence::SessionRecord;
use crate::model::Exit;
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedTransport, NODE, awkward};
use crate::transport::{ChannelSetup, Commands, Herald, OpenChannel, Out, TransportOptions};

#[tokio::test(flavor = "multi_thread")]
async fn output_errors_and_status_are_the_command_s_own() {
    let embedded = EmbeddedTransport::fast().await;
    let ended = embedded.run("printf '\\357\\277\\275\\377\\376'; echo no >&2; exit 7", b"").await;
    assert_eq!(ended.error, None);
    assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"\xef\xbf\xbd\xff\xfe"[..], &b"no\n"[..]));
    assert_eq!(ended.exit, Some(Exit::Code(7)));
    let ended = embedded.run("kill -TERM $$", b"").await;
    assert_eq!(ended.exit, Some(Exit::Signal { name: "TERM".into(), core_dumped: false }), "{ended:?}");
    assert!(embedded.litter().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_read_is_run_by_the_shell_that_reads_it_so() {
    let login_shell = std::process::Command::new("sh").args(["-c", "getent passwd $(id -u)"]).output().unwrap();
    let login_shell = String::from_utf8(login_shell.stdout).unwrap();
    let login_shell = login_shell.trim().rsplit(['/', ':']).next().unwrap().to_owned();
    let any = "@id(\"all\") permit (principal, action, resource);";
    let looks = "@id(\"lines\") permit (principal, action == Action::\"Exec\", resource);\n\
                 @id(\"echo\") permit (principal, action == Action::\"Command\", resource) when { context.name == \"echo\" };";
    for helper in [Helper::Auto, Helper::Sh] {
        let options = TransportOptions { helper, ..TransportOptions::default() };
        let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
        for (policies, shell) in [(any, login_shell.as_str()), (looks, "sh")] {
            let grant = Grant::under(policies, "tester", NODE, Action::Exec { command: b"echo $0".to_vec() });
            let setup = ChannelSetup { stdin_closed: true, ..ChannelSetup::default() };
            let lanes = SessionRecord::for_test().lanes();
            let channel = embedded.transport.open(grant, lanes, setup, Herald::default()).await.unwrap();
            let ended = collect(channel.output).await;
            // the sh helper calls a shell by its path
            let said = String::from_utf8(ended.stdout).unwrap();
            assert_eq!(said.trim().rsplit('/').next(), Some(shell), "{helper:?}, {policies}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_gives_each_command_a_session_of_its_own() {
    let shares = "@id(\"all\") permit (principal, action, resource);";
    let alone = "@id(\"all\") @session_per_command(\"required\") permit (principal, action, resource);";
    let mut sessions = Vec::new();
    for policies in [shares, alone] {
        let mut embedded = EmbeddedTransport::fast().await;
        let backend = embedded.watch(Slow::default(), TransportOptions::default());
        let EmbeddedTransport { service: _service, transport, .. } = embedded;
        let (transport, commands) = (Arc::new(transport), Commands::default());
        for number in 0..6 {
            let action = Action::Exec { command: format!("echo {number}").into_bytes() };
            let setup = ChannelSetup { stdin_closed: true, ..ChannelSetup::default() };
            let (grant, lanes) = (Grant::under(policies, "tester", NODE, action), SessionRecord::for_test().lanes());
            let opened = transport.open_among(&commands, grant, lanes, setup, Herald::default()).await.unwrap();
            assert_eq!(collect(opened.output).await.stdout, format!("{number}\n").into_bytes());
        }
        sessions.push(backend.opened().len());
    }
    assert!(sessions[0] < 6 && sessions[1] == 6, "{sessions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_input_costs_no_second_session() {
    let embedded = EmbeddedTransport::fast().await;
    let OpenChannel { input, output } = embedded.exec("cat; echo done", true).await.unwrap();
    let ended = collect(output).await;
    drop(input);
    assert_eq!((&ended.stdout[..], ended.exit), (&b"done\n"[..], Some(Exit::Code(0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_arrives_both_ways() {
    for rung in [Rung::TwoLanes, Rung::OneLane] {
        let options = TransportOptions { rung: Some(rung), ..TransportOptions::default() };
        let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
        let sent = awkward(8 * 1024 * 1024);
        let ended = embedded.run("cat", &sent).await;
        assert_eq!(ended.error, None);
        assert_eq!(ended.exit, Some(Exit::Code(0)));
        assert!(ended.stdout == sent, "{} of {} bytes", ended.stdout.len(), sent.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_takes_its_command_along() {
    let embedded = EmbeddedTransport::fast().await;
    let channel = embedded.exec("echo here; exec sleep 987654", false).await.unwrap();
    let OpenChannel { input, mut output } = channel;
    assert!(matches!(next_of(&mut output).await, Some(Ok(Out::Stdout(_)))));
    drop((input, output));
    assert!(embedded.litter().await.is_empty());
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 987654"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_session_stays_terminated() {
    let embedded = EmbeddedTransport::fast().await;
    let OpenChannel { input, mut output } = embedded.exec("echo here; sleep 987653", false).await.unwrap();
    assert!(matches!(next_of(&mut output).await, Some(Ok(Out::Stdout(_)))));
    for session in embedded.service.faults().sessions() {
        embedded.service.faults().close(&session.id, "Ended by an operator.");
    }
    let ended = collect(output).await;
    drop(input);
    assert!(ended.error.unwrap().contains("Ended by an operator"));
    assert_eq!(ended.exit, None);
    assert!(embedded.litter().await.is_empty());
}

/// The helper lets go of a lane when another takes its place, and its session ends as if somebody had ended it. Only the
/// helper knows the difference.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_terminated_while_another_opens_stays_terminated() {
    let mut embedded = EmbeddedTransport::fast().await;
    let slow = Slow { way_out: Duration::from_secs(1), ..Slow::default() };
    let backend = embedded.watch(slow, TransportOptions::default());
    let OpenChannel { input, mut output } = embedded.exec("echo here; sleep 987652", false).await.unwrap();
    assert!(matches!(next_of(&mut output).await, Some(Ok(Out::Stdout(_)))));
    let (faults, first) = (embedded.service.faults(), backend.opened()[0].to_string());
    assert!(faults.cut(&first, End::Client, Cut::Abort));
    // it is back, and another is asked for because of that
    let back = || faults.losses(End::Client) > 0 && faults.sessions().iter().any(|lane| lane.client_attached);
    while !back() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(backend.opened().len(), 1);
    assert!(faults.close(&first, "Ended by an operator."));
    let ended = collect(output).await;
    drop(input);
    assert!(ended.error.unwrap().contains("Ended by an operator"));
    assert_eq!(ended.exit, None);
    assert!(embedded.litter().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_goes_over_the_lane() {
    let embedded = EmbeddedTransport::fast().await;
    let command = format!("printf %s '{}' | wc -c", "x".repeat(128 * 1024 - 64));
    let ended = embedded.run(&command, b"").await;
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), (128 * 1024 - 64).to_string(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sh_helper_runs_a_command() {
    let options = TransportOptions { helper: Helper::Sh, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let ended = embedded.run("echo hi; exit 3", b"").await;
    assert_eq!((&ended.stdout[..], ended.exit), (&b"hi\n"[..], Some(Exit::Code(3))));
}
