//! Where an object is in a bucket.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::names::{part, under};

fn day(at: OffsetDateTime) -> String {
    let utc = at.to_offset(time::UtcOffset::UTC);
    format!("{:04}/{:02}/{:02}", utc.year(), u8::from(utc.month()), utc.day())
}

/// `<prefix>/<yyyy>/<mm>/<dd>/<realm>/<node>/<session>/`, of when the session was opened. A key has at most 1024 bytes: 300 of the
/// prefix, and each name its share.
pub(crate) fn of_folder(prefix: &str, opened: OffsetDateTime, realm: &str, node: &str, session: Uuid) -> String {
    let names = format!("{}/{}/{}/{}/", day(opened), part(realm, 100), part(node, 200), session.hyphenated());
    under(prefix, &names)
}

/// `<prefix>/anchors/<gateway>/`.
pub(crate) fn of_anchors(prefix: &str, gateway: &str) -> String {
    under(prefix, &format!("anchors/{}/", part(gateway, 200)))
}

/// The folder of a day's anchors in that.
pub(crate) fn anchors_of_day(prefix: &str, gateway: &str, at: OffsetDateTime) -> String {
    format!("{}{}/", of_anchors(prefix, gateway), day(at))
}

/// `<prefix>/anchors/<gateway>/<yyyy>/<mm>/<dd>/<time>-<hash>.note`: the same note has the same key.
pub(crate) fn of_anchor(prefix: &str, gateway: &str, at: OffsetDateTime, sha256: &str) -> String {
    let utc = at.to_offset(time::UtcOffset::UTC);
    let (hour, minute, second, milli) = (utc.hour(), utc.minute(), utc.second(), utc.millisecond());
    let time = format!("{hour:02}{minute:02}{second:02}.{milli:03}");
    format!("{}{time}-{}.note", anchors_of_day(prefix, gateway, at), sha256.get(..16).unwrap_or(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_and_the_configuration_call_things_stays_one_part_of_a_key() {
        let opened = time::macros::datetime!(2026-11-30 23:30 -01:00);
        let key = of_folder("/evidence/", opened, "prod/../x", "ecs:c_t", Uuid::nil());
        assert_eq!(key, "evidence/2026/12/01/prod%2F..%2Fx/ecs%3Ac_t/00000000-0000-0000-0000-000000000000/");
        let long = of_folder(&"p".repeat(300), opened, &"é".repeat(500), &"é".repeat(500), Uuid::nil());
        assert!(long.len() <= 1024 - 32, "{}", long.len());
        assert_eq!(
            of_anchor("e", "gate-1", opened, &"ab".repeat(32)),
            "e/anchors/gate-1/2026/12/01/003000.000-abababababababab.note"
        );
    }
}
