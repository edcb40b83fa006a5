//! The client's variables, and which way each goes. What stands in a process's arguments can be read by every user of a
//! node, so they go over the in lane, and the command waits for them. Only what says nothing of anybody goes the quick way,
//! in the options: a locale, and two words about the terminal, which OpenSSH's clients send along with every command.

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::says_nothing;

/// The variables of one channel by their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByWay {
    /// In the options.
    pub quick: Vec<(String, String)>,
    /// Over the lane: `name=value`, each with a NUL behind it.
    pub over_lane: Option<Bytes>,
}

/// Which way each of them goes.
pub(super) fn by_way(env: &[(String, Vec<u8>)]) -> ByWay {
    let mut quick = Vec::new();
    let mut over_lane = BytesMut::new();
    for (name, value) in env {
        match std::str::from_utf8(value) {
            Ok(text) if says_nothing(name, text) => quick.push((name.clone(), text.to_owned())),
            _ => {
                over_lane.put_slice(name.as_bytes());
                over_lane.put_u8(b'=');
                over_lane.put_slice(value);
                over_lane.put_u8(0);
            }
        }
    }
    ByWay { quick, over_lane: (!over_lane.is_empty()).then(|| over_lane.freeze()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(name: &str, value: &[u8]) -> ByWay {
        by_way(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_locale_goes_the_quick_way() {
        for (name, value) in [
            ("LANG", "en_US.UTF-8"),
            ("LC_ALL", "C"),
            ("LC_CTYPE", "C.UTF-8"),
            ("LC_TIME", "de_AT@euro"),
            ("LANGUAGE", "en_GB:en"),
            ("LC_ALL", ""),
            ("LANG", "POSIX"),
            ("COLORTERM", "truecolor"),
            ("NO_COLOR", "1"),
        ] {
            let quick = ByWay { quick: vec![(name.to_owned(), value.to_owned())], over_lane: None };
            assert_eq!(ways(name, value.as_bytes()), quick, "{name}={value}");
        }
    }

    #[test]
    fn whatever_may_be_somebody_s_goes_over_the_lane() {
        for (name, value) in [
            ("LC_ALL", &b"hunter2"[..]),
            ("LC_TOKEN", b"C"),
            ("LANG", b"en_US.UTF-8 "),
            ("LANG", b"en_US.0123456789abcdef"),
            ("LANG", b"\xff"),
            ("COLORTERM", b"secret"),
            ("GIT_PROTOCOL", b"version=2"),
        ] {
            let over_lane = [name.as_bytes(), b"=", value, b"\0"].concat();
            assert_eq!(ways(name, value), ByWay { quick: vec![], over_lane: Some(over_lane.into()) }, "{name}");
        }
    }
}
