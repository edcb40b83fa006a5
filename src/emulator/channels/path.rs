//! Which channel a path names.

use crate::emulator::http::reply::ApiError;
use crate::emulator::http::sigv4::percent_decode;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// `/v1/control-channel/<node>`.
    Control(String),
    /// `/v1/data-channel/<session>`.
    Data(String),
}

/// Reads a path; `None` if it names no channel.
pub(crate) fn channel(path: &str) -> Option<Channel> {
    let (kind, id) = path.strip_prefix("/v1/")?.split_once('/')?;
    let id = String::from_utf8(percent_decode(id)).ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b));
    if !plain || !(1..=400).contains(&id.len()) {
        return None;
    }
    match kind {
        "control-channel" => Some(Channel::Control(id)),
        "data-channel" => Some(Channel::Data(id)),
        _ => None,
    }
}

/// The one text at which the real agent stops trying again.
pub(crate) fn session_is_over() -> ApiError {
    ApiError::new("BadRequestException", "Session is already terminated")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_name_channels() {
        assert_eq!(channel("/v1/control-channel/mi-1"), Some(Channel::Control("mi-1".into())));
        assert_eq!(channel("/v1/data-channel/ann-0a%2Eb"), Some(Channel::Data("ann-0a.b".into())));
        assert_eq!(channel("/v1/data-channel/ann%40b-0a"), channel("/v1/data-channel/ann@b-0a"));
        assert_eq!(channel("/v1/control-channel/ecs:c_t_r"), Some(Channel::Control("ecs:c_t_r".into())));
        for bad in
            ["/", "/v1/data-channel/", "/v1/data-channel/a/b", "/v1/data-channel/%2F", "/v2/data-channel/a", "/v1/x/a"]
        {
            assert_eq!(channel(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_paths_never_panic(path in "\\PC{0,60}") {
            let _ = channel(&path);
            let _ = channel(&format!("/v1/data-channel/{path}"));
        }
    }
}
