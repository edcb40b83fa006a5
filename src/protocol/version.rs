//! Versions of agents and clients, such as `3.3.0.0`, and their order.
//!
//! Both ends decide by the other's version what it can do. They compare component by component, as numbers
//! (agent/versionutil/versionutil.go, Compare; src/version/versionvalidator.go). A missing component counts as zero
//! here, so that `3.3` equals `3.3.0.0`; to the agent the longer one of two equal versions is the newer.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

/// Up to four numeric components, as agent and client report them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version([u32; 4]);

impl Version {
    /// The newest client that gets the notice to update when streams are separate: clientVersionWithoutOutputSeparation
    /// in agent/session/datachannel/datachannel.go. It has three components there, so that exactly 1.2.295.0 gets none.
    pub const CLIENT_WITHOUT_SEPARATE_STREAMS: Self = Self([1, 2, 295, 0]);
    /// The oldest client for which the agent multiplexes a local port forwarding: muxSupportedClientVersion in
    /// agent/session/plugins/port/port.go.
    pub const CLIENT_WITH_MUX: Self = Self([1, 1, 70, 0]);
    /// The newest client for which the agent keeps the multiplexer's keep-alive on:
    /// muxKeepAliveDisabledAfterThisClientVersion in the same file.
    pub const CLIENT_WITH_KEEPALIVE: Self = Self([1, 2, 331, 0]);
    /// The newest agent for which the client keeps the multiplexer's keep-alive on:
    /// TCPMultiplexingWithSmuxKeepAliveDisabledAfterThisAgentVersion in src/config/config.go.
    pub const AGENT_WITH_KEEPALIVE: Self = Self([3, 1, 1511, 0]);
    /// The newest agent with which the client does not multiplex a local port forwarding:
    /// TCPMultiplexingSupportedAfterThisAgentVersion in src/config/config.go.
    pub const AGENT_WITHOUT_MUX: Self = Self([3, 0, 196, 0]);

    /// A version from its four components.
    pub const fn new(components: [u32; 4]) -> Self {
        Self(components)
    }
}

/// The text is not one to four numbers with dots between.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: one to four numbers with dots between them")]
pub struct VersionError(pub String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let refuse = || VersionError(text.to_owned());
        let mut components = [0; 4];
        for (place, part) in text.trim().split('.').enumerate() {
            let slot = components.get_mut(place).ok_or_else(refuse)?;
            *slot = part.parse().map_err(|_| refuse())?;
        }
        Ok(Self(components))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Compares two version texts; a text that is no version is older than any that is. The client, too, takes an agent
/// with such a version for one that can do nothing new (src/version/versionvalidator.go); the agent compares it as
/// text.
pub fn compare(left: &str, right: &str) -> Ordering {
    let parse = |text: &str| text.parse::<Version>().ok();
    parse(left).cmp(&parse(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_numbers_and_not_text() {
        assert_eq!(compare("1.2.764.0", "1.2.331.0"), Ordering::Greater);
        assert_eq!(compare("1.10.0.0", "1.9.0.0"), Ordering::Greater);
        assert_eq!(compare("3.3", "3.3.0.0"), Ordering::Equal);
        assert_eq!(compare("nonsense", "0.0.0.0"), Ordering::Less);
    }

    #[test]
    fn text_that_is_no_version_is_refused() {
        for text in ["", "1.", "1.2.3.4.5", "1.-2", "1.2.x", "4294967296"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
        assert_eq!("1.2.764.0".parse::<Version>().unwrap().to_string(), "1.2.764.0");
    }
}
