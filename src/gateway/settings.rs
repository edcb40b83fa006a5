//! What the front-end is told: the configuration's limits, and the few numbers that are nobody's business but its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::algorithms;
use super::arrival::SpokenWith;
use super::environment::Allowed;
use super::hostkeys::HostKeys;
use super::prompts;
use crate::audit::Archive;
use crate::config::{Algorithms, Environment, Limits};
use crate::identity::SourceList;
use crate::model::{PlaceBounds, on_beat};
use crate::oidc::Provider;

/// How the front-end behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration's limits.
    pub limits: Limits,
    /// Which variables a client may set.
    pub environment: Environment,
    /// Shown before login.
    pub banner: Option<String>,
    /// Which algorithms are spoken.
    pub algorithms: Algorithms,
    /// With whom others are.
    pub algorithms_for: Vec<SpokenWith>,
    /// From where balancers come, which say by the PROXY protocol for whom they connect.
    pub balancers: Option<SourceList>,
    /// Where people sign in, if anywhere.
    pub provider: Option<Provider>,
    /// Terminals are the agent's own sessions, which have no exit status: `ssh -v` says so when one starts.
    pub agent_shells: bool,
    /// A channel's window: what a client may send before somebody has taken it.
    pub window: u32,
    /// How long a command waits for the client's EOF before it starts; `ssh -n` sends it at once.
    pub eof_grace: Duration,
    /// How long a refused key takes.
    pub refusal_delay: Duration,
    /// How many people are asked for something on terminals at once.
    pub prompts: PlaceBounds,
    /// So long before its end somebody on a terminal is told of it, the longest first.
    pub foretold: Vec<Duration>,
    /// Whether a session at a terminal begins with a line that says that it is recorded.
    pub notice: bool,
    /// What was recorded, for whoever may look at it over SSH.
    pub archive: Option<Archive>,
    /// How long connections may go on after a shutdown was asked for.
    pub drain: Duration,
}

impl Settings {
    /// The defaults, with a configuration's limits and environment.
    pub fn new(limits: &Limits, environment: &Environment, banner: Option<&str>) -> Self {
        Self {
            limits: limits.clone(),
            environment: environment.clone(),
            banner: banner.map(|text| format!("{}\r\n", text.trim_end())),
            algorithms: Algorithms::default(),
            algorithms_for: Vec::new(),
            balancers: None,
            provider: None,
            agent_shells: false,
            window: WINDOW,
            eof_grace: EOF_GRACE,
            refusal_delay: REFUSAL_DELAY,
            prompts: prompts::BOUNDS,
            foretold: FORETOLD.to_vec(),
            notice: true,
            archive: None,
            drain: DRAIN,
        }
    }

    pub(super) fn allowed_environment(&self) -> Allowed {
        Allowed::new(&self.environment.accept)
    }

    /// When a connection is ended whose peer takes nothing at all, so that not even keep-alives can be sent. A silent peer
    /// that takes them is given up much earlier; one that nobody asks is left alone.
    fn inactivity(&self) -> Option<Duration> {
        let limits = &self.limits;
        let asked = u64::from(limits.keepalive_seconds) * (u64::from(limits.keepalive_unanswered) + 1);
        (asked > 0).then(|| Duration::from_secs(900.max(2 * asked)))
    }

    /// The library's configuration; every choice it leaves open is made here.
    pub(super) fn russh(&self, host_keys: &HostKeys, algorithms: Algorithms) -> Arc<russh::server::Config> {
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        let rekey =
            usize::try_from(self.limits.rekey_bytes).map_or(MOST_REKEY_BYTES, |bytes| bytes.min(MOST_REKEY_BYTES));
        // what else there is for a client it is told when it asks, since that depends on where it is
        let methods = russh::MethodSet::from(&[russh::MethodKind::PublicKey][..]);
        Arc::new(russh::server::Config {
            server_id: russh::SshId::Standard(IDENTIFICATION.into()),
            methods,
            auth_rejection_time: self.refusal_delay,
            // every client begins with `none`, to ask for the methods
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: host_keys.keys(algorithms),
            certificates: host_keys.certificates().to_vec(),
            limits: russh::Limits::new(rekey, rekey, seconds(self.limits.rekey_seconds)),
            window_size: self.window,
            window_by_consumption: true,
            maximum_packet_size: PACKET,
            // nobody reads the library's own queues: the handler's callbacks put everything into inboxes
            channel_buffer_size: 1,
            event_buffer_size: 64,
            preferred: algorithms::preferred(algorithms),
            max_auth_attempts: usize::try_from(self.limits.auth_attempts).unwrap_or(usize::MAX),
            inactivity_timeout: self.inactivity(),
            keepalive_interval: (self.limits.keepalive_seconds > 0).then(|| seconds(self.limits.keepalive_seconds)),
            keepalive_at: |due| {
                let now = Instant::now();
                on_beat(now, due.saturating_duration_since(now))
            },
            keepalive_max: usize::try_from(self.limits.keepalive_unanswered).unwrap_or(usize::MAX),
            nodelay: true,
        })
    }
}

/// What is said first (RFC 4253, section 4.2: "used to trigger compatibility extensions and to indicate the capabilities of
/// an implementation"). The capabilities are those of OpenSSH, and clients look for that name: libssh, ssh2 of npm, AsyncSSH
/// and WinSCP before they send SFTP's SYMLINK in the order of its arguments that everybody serves, OpenSSH's own before it
/// says that nobody takes a command's output any more. Decision 0019 has the words that each of them looks for.
const IDENTIFICATION: &str = "SSH-2.0-OpenSSH_9.9 Portcullis_0.1";

/// What OpenSSH gives a session channel, `CHAN_SES_WINDOW_DEFAULT`.
const WINDOW: u32 = 2 << 20;

/// A channel's packet: what RFC 4253, section 6.1, says that everybody must take.
const PACKET: u32 = 32 * 1024;

/// `ssh -n` sends its EOF right behind the request; a busy network takes longer than this, which costs a lane that nobody
/// uses.
const EOF_GRACE: Duration = Duration::from_millis(10);

/// Short, for an agent full of keys; the number of attempts is what holds guessing down (RFC 4252, section 4).
const REFUSAL_DELAY: Duration = Duration::from_millis(80);

/// Time to write something down, and time to say so.
const FORETOLD: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(60)];

/// Where whoever starts the gateway does not say.
const DRAIN: Duration = Duration::from_secs(10);

/// New keys after a gibibyte at the latest (RFC 4253, section 9); the library asserts as much.
const MOST_REKEY_BYTES: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_keepalives_of_silent_clients_share_a_beat() {
        let dir = tempfile::tempdir().unwrap();
        let key = HostKeys::load_or_create(&dir.path().join("key")).unwrap();
        let config = Settings::new(&Limits::default(), &Environment::default(), None).russh(&key, Algorithms::Modern);
        let now = Instant::now();
        let due = |late| (config.keepalive_at)(now + config.keepalive_interval.unwrap() + Duration::from_millis(late));
        let mut times: Vec<_> = (0..50).map(|n| due(200 * n)).collect();
        times.dedup();
        assert!(times.len() <= 3, "ten seconds have two beats, or three with the one they began in");
    }

    #[test]
    fn the_identification_is_one_that_clients_know() {
        let software = IDENTIFICATION.strip_prefix("SSH-2.0-").unwrap();
        // OpenSSH's ssh and npm's ssh2 want the name first; the former knows old versions for their bugs
        let version = software.strip_prefix("OpenSSH_").unwrap();
        assert!(version.starts_with('9'), "{version}: an older one has bugs that clients work around");
        // libssh up to 0.11 reads one digit before the dot and one number after it
        assert!(version.as_bytes()[1] == b'.' && version.as_bytes()[2].is_ascii_digit(), "{version}");
        // RFC 4253, section 4.2
        assert!(IDENTIFICATION.len() <= 253 && IDENTIFICATION.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn a_connection_that_nobody_asks_is_never_idle_for_too_long() {
        let inactivity = |keepalive_seconds, keepalive_unanswered| {
            let limits = Limits { keepalive_seconds, keepalive_unanswered, ..Limits::default() };
            Settings::new(&limits, &Environment::default(), None).inactivity()
        };
        assert_eq!(inactivity(30, 5), Some(Duration::from_secs(900)));
        assert_eq!(inactivity(3600, 3), Some(Duration::from_secs(8 * 3600)), "longer than all the asking");
        assert_eq!(inactivity(0, 5), None);
    }
}
