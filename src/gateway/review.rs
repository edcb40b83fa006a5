//! `ssh <gateway> sessions`: looking at what was recorded, and ending what runs, for whom policy lets.

use std::time::SystemTime;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::channel_screen::ChannelScreen;
use super::client_channel::{ClientChannel, FAILED, Reply};
use super::commands::{refusal, said};
use super::shared::Shared;
use crate::audit::{
    Audit, EndArgs, Kind, LEAVE, Leave, ListArgs, LiveSession, LookArgs, Screen as _, Subject, Trouble,
};
use crate::evidence::EvidenceViewed;
use crate::identity::Purpose;
use crate::model::{NodeId, NodeRef, RealmName, WindowSize, plain_text_up_to, shell_words};
use crate::policy::{Action, Grant};
use crate::session::{Caller, KnownNodes, Overseen, Running};

/// What may be asked of sessions.
#[derive(Debug, Parser)]
#[command(name = "sessions", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Asked {
    #[command(subcommand)]
    command: Option<AskedCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum AskedCommand {
    #[command(flatten)]
    Look(LookArgs),
    /// End a live session
    End(EndArgs),
}

/// So much of an id is asked for at least: enough to tell apart the sessions that run at one time.
const SHORT_ID: usize = 8;

/// How much of a message a person gets.
const MESSAGE: usize = 500;

/// Whether a command to the gateway is one about sessions.
pub(super) fn is_asked(command: &[u8]) -> bool {
    let is =
        |word: &[u8]| command.strip_prefix(word).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
    is(b"sessions") || is(b"end")
}

/// Answers it. What it shows is on the channel when this returns; how it ended is the reply's to say.
pub(super) async fn answer(
    shared: &Shared,
    caller: &Caller,
    command: &[u8],
    size: Option<WindowSize>,
    client: &ClientChannel,
) -> Reply {
    let asked = match parse(command) {
        Ok(asked) => asked,
        Err(reply) => return reply,
    };
    let reviewer = Reviewer { shared, caller, nodes: OnceCell::new() };
    let what = match asked.command {
        Some(AskedCommand::End(args)) => return reviewer.end(&args).await,
        Some(AskedCommand::Look(what)) => what,
        None => LookArgs::List(Box::new(asked.list)),
    };
    let Some(archive) = &shared.settings.archive else {
        return refusal("this gateway keeps no archive of sessions", FAILED);
    };
    let mut screen = ChannelScreen::new(client, size);
    let looked = (Audit { archive, leave: &reviewer }).look(&what, &mut screen).await;
    if size.is_some() && matches!(what, LookArgs::Play(_) | LookArgs::Follow(_)) {
        // whatever the recording did to the terminal
        let _ = screen.show(LEAVE.into()).await;
    }
    match looked {
        Ok(()) => Reply::default(),
        Err(Trouble { kind, text }) => {
            let status = match kind {
                Kind::Usage => 2,
                Kind::Failed | Kind::Denied => 1,
                Kind::Directory | Kind::Gone => FAILED,
            };
            refusal(&text, status)
        }
    }
}

/// The words of the command, taken apart; or what is to be said of them.
fn parse(command: &[u8]) -> Result<Asked, Reply> {
    let wrong = || {
        refusal(
            "quotes are missing, or something in it is more than words; \"sessions --help\" lists what can be asked",
            2,
        )
    };
    let words = shell_words(command).ok_or_else(wrong)?;
    let mut words: Vec<String> = words.iter().map(|word| String::from_utf8_lossy(&word.bytes).into_owned()).collect();
    match words.first().map(String::as_str) {
        // short for `sessions end`
        Some("end") => words.insert(0, "sessions".to_owned()),
        // nothing else was said: what runs
        _ if words.len() == 1 => words.push("--live".to_owned()),
        _ => {}
    }
    // examples are of the program's own command line
    let parser = Asked::command().color(clap::ColorChoice::Never).mut_subcommands(|command| command.after_help(""));
    let parsed = parser.try_get_matches_from(words).and_then(|matches| Asked::from_arg_matches(&matches));
    parsed.map_err(|error| match error.use_stderr() {
        true => {
            let why = error.to_string();
            let first = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
            refusal(&format!("{first}; \"sessions --help\" says what can be asked"), 2)
        }
        // help is an answer
        false => said(error.to_string().trim_end().to_owned()),
    })
}

/// Somebody who looks over SSH: policy is asked about each session, and each look is an event.
#[derive(Debug)]
struct Reviewer<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    nodes: OnceCell<KnownNodes>,
}

impl Reviewer<'_> {
    /// Asks policy about them as they are now: a look may last.
    async fn ask(&self, of: Overseen<'_>, action: Action) -> Result<Grant, String> {
        let nodes = self.nodes.get_or_init(|| self.shared.sessions.known_nodes()).await;
        let people = self.shared.people.current();
        let renewed = people.renew(&self.caller.identity, SystemTime::now(), Purpose::GoOn);
        let identity = renewed.map_err(|why| format!("how you logged in is no proof any more: {why}"))?;
        let caller = Caller { identity, ..self.caller.clone() };
        self.shared.sessions.may_oversee(&caller, nodes, of, action).map_err(|denial| denial.text)
    }

    /// Whether they may know of one that runs: it is theirs, or they may look at it.
    async fn knows(&self, session: &Running) -> bool {
        let action = Action::Review { of: session.person.clone() };
        self.is_theirs(session) || self.ask(Overseen { node: &session.node, called: None }, action).await.is_ok()
    }

    fn is_theirs(&self, session: &Running) -> bool {
        session.person == self.caller.identity.person()
    }

    /// The sessions that run of which they may know.
    async fn running(&self) -> Vec<Running> {
        let mut known = Vec::new();
        for session in self.shared.sessions.registry().running() {
            if self.knows(&session).await {
                known.push(session);
            }
        }
        known
    }

    /// What policy grants them, to look at this one.
    async fn review(&self, session: &Subject) -> Result<Grant, String> {
        // a realm that is none is in no policy either
        let realm = RealmName::parse(&session.realm).map_err(|error| error.to_string())?;
        let node = NodeRef { realm, id: NodeId(session.node_id.clone()) };
        let of = Overseen { node: &node, called: session.node_called.as_deref() };
        self.ask(of, Action::Review { of: session.person.clone() }).await
    }

    async fn end(&self, args: &EndArgs) -> Reply {
        let id = args.session.id.trim().to_ascii_lowercase();
        let running = self.running().await;
        let mut found = running.iter().filter(|session| session.id.to_string().starts_with(&id));
        let (Some(session), None, true) = (found.next(), found.next(), id.len() >= SHORT_ID) else {
            let text = "that is no session of yours that runs, nor one that you may look at; \"sessions\" lists them with the ids to \
                        give, 8 digits and more";
            return refusal(text, 1);
        };
        let person = self.caller.identity.person();
        let by = if self.is_theirs(session) {
            format!("the session was ended from another login of {person}")
        } else {
            let action = Action::EndSession { of: session.person.clone() };
            match self.ask(Overseen { node: &session.node, called: None }, action).await {
                Ok(grant) => self.shared.sessions.note_alerts(self.caller, &grant),
                Err(why) => return refusal(&why, 1),
            }
            format!("the session was ended by {person}")
        };
        let message =
            args.message.as_deref().map(|text| plain_text_up_to(MESSAGE, text)).filter(|text| !text.is_empty());
        let reason = message.map_or_else(|| by.clone(), |message| format!("{by}: {message}"));
        match self.shared.sessions.registry().kill(session.id, &reason) {
            true => said(format!(
                "ending {} ({} of {} on {})",
                short(session.id),
                session.action,
                session.person,
                session.node_name
            )),
            false => refusal("that session has ended already", 1),
        }
    }
}

impl Leave for Reviewer<'_> {
    fn may<'a>(&'a self, session: &'a Subject) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { self.review(session).await.map(drop) })
    }

    fn conceals(&self) -> bool {
        true
    }

    fn note<'a>(&'a self, what: &'static str, session: Option<&'a Subject>) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let viewed = EvidenceViewed {
                source: self.caller.source,
                login: &self.caller.login.to_string(),
                person: self.caller.identity.person(),
                what,
                session: session.map(|session| session.id),
                session_of: session.map(|session| session.person.as_str()),
            };
            let noted = self.shared.sessions.note_view(self.caller, viewed).await;
            noted
                .map_err(|error| Trouble::new(Kind::Failed, format!("nobody looks without an event of it: {error}")))?;
            if let Some(session) = session {
                let grant = self.review(session).await.map_err(|why| Trouble::new(Kind::Denied, why))?;
                self.shared.sessions.note_alerts(self.caller, &grant);
            }
            Ok(())
        })
    }

    fn live(&self) -> BoxFuture<'_, Result<Vec<LiveSession>, Trouble>> {
        Box::pin(async { Ok(self.running().await.iter().map(LiveSession::from).collect()) })
    }
}

fn short(id: Uuid) -> String {
    id.to_string().chars().take(SHORT_ID).collect()
}
