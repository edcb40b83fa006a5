//! How a client has come, and which algorithms are spoken with it for that: both are known before a byte is exchanged.

use std::net::{IpAddr, SocketAddr};

use super::settings::Settings;
use crate::config::Algorithms;
use crate::identity::SourceList;

/// With whom other algorithms are spoken than with everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpokenWith {
    /// Which.
    pub algorithms: Algorithms,
    /// Where these clients come from; without it, from anywhere.
    pub from: Option<SourceList>,
    /// To which of the addresses that the gateway listens on, as they were given; without any, to whichever.
    pub listeners: Vec<SocketAddr>,
}

/// How a client has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Where it connects from.
    pub(super) source: SocketAddr,
    /// Where to.
    pub(super) local: Option<SocketAddr>,
    /// What is spoken with it.
    pub(super) algorithms: Algorithms,
}

impl Settings {
    /// What is spoken with a client that comes from there to this listener: by the first of the exceptions that is for it.
    pub(super) fn spoken_with(&self, source: IpAddr, listener: SocketAddr) -> Algorithms {
        let theirs = |some: &&SpokenWith| {
            some.from.as_ref().is_none_or(|from| from.has(source))
                && (some.listeners.is_empty() || some.listeners.contains(&listener))
        };
        self.algorithms_for.iter().find(theirs).map_or(self.algorithms, |some| some.algorithms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Limits};

    #[test]
    fn the_first_exception_that_is_for_a_client_holds_and_both_its_halves_must_fit() {
        let [inside, outside]: [SocketAddr; 2] = ["10.0.0.1:22", "0.0.0.0:2222"].map(|text| text.parse().unwrap());
        let from = |list: &str| Some(SourceList::networks(list).unwrap());
        let some =
            |algorithms, from, listeners: &[SocketAddr]| SpokenWith { algorithms, from, listeners: listeners.to_vec() };
        let mut settings = Settings::new(&Limits::default(), &Environment::default(), None);
        settings.algorithms_for = vec![
            some(Algorithms::Legacy, from("192.0.2.7,2001:db8::/32"), &[inside]),
            some(Algorithms::Compatible, from("192.0.2.0/24"), &[]),
        ];
        for (source, listener, expected) in [
            ("192.0.2.7", inside, Algorithms::Legacy),
            ("::ffff:192.0.2.7", inside, Algorithms::Legacy),
            ("2001:db8::1", inside, Algorithms::Legacy),
            ("192.0.2.7", outside, Algorithms::Compatible),
            ("192.0.2.8", inside, Algorithms::Compatible),
            ("198.51.100.7", inside, Algorithms::Modern),
            ("2001:db8::1", outside, Algorithms::Modern),
        ] {
            assert_eq!(settings.spoken_with(source.parse().unwrap(), listener), expected, "{source} {listener}");
        }
    }
}
