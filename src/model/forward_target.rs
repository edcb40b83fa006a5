//! Where a forward leads, as a client may write it: read once, so that what is judged is what is dialled.
//!
//! An address has very many spellings (`127.1`, `2130706433`, `0x7f.1`, `::ffff:127.0.0.1`), and each resolver knows some. All that
//! any of them would take for an address is one here, in one spelling; what looks like one and is none is refused, and is never
//! looked up as a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A port of a host, as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardTarget {
    /// The host.
    pub host: TargetHost,
    /// Its port, which is not 0.
    pub port: u16,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// The node itself, by that name.
    Localhost,
    /// An address, which may be the node's own loopback.
    Address(IpAddr),
    /// A name that somebody has yet to look up: in small letters, without a dot at its end.
    Name(String),
}

/// Why nobody is connected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no host.
    #[error("that is neither an address nor a host's name")]
    NoHost,
    /// The port is none.
    #[error("a port is a number from 1 to 65535")]
    NoPort,
    /// A socket's path that is none.
    #[error("a socket is named by an absolute path of at most {MOST_PATH} bytes, without NUL")]
    NoPath,
    /// Whoever is there, nobody is to be led there.
    #[error("{0}")]
    Forbidden(Forbidden),
}

/// What no forward reaches, whatever policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// `0.0.0.0`, `::` and what else is no host's address.
    #[error("that is no host's address; the node itself is localhost")]
    Unspecified,
    /// Link-local addresses: the cloud's metadata, credentials and names are there.
    #[error("link-local addresses are out of reach: a machine's metadata and credentials are there")]
    LinkLocal,
    /// The cloud's own services, by fixed addresses or names.
    #[error("that is a service of the cloud's for the machine itself, where its metadata and credentials are")]
    Metadata,
    /// Groups of hosts.
    #[error("multicast and broadcast addresses are no host's")]
    Multicast,
    /// An address inside another that is forbidden, or the node's own.
    #[error("an address that stands for another inside it leads past what is judged")]
    Disguised,
}

/// The node itself, by its name.
pub const LOCALHOST: &str = "localhost";

/// The longest path that a socket may have (`sun_path` of unix(7), less its end).
pub const MOST_PATH: usize = 107;

/// The longest name of a host (RFC 1035, section 2.3.4).
const MOST_NAME: usize = 253;
/// And the longest part of one.
const MOST_LABEL: usize = 63;

/// Names by which clouds serve machines their metadata. What they stand for is forbidden as well, where this side looks it up.
const METADATA_NAMES: [&str; 5] =
    ["instance-data", "instance-data.ec2.internal", "metadata", "metadata.google.internal", "metadata.goog"];

/// The same by addresses that are not link-local: Azure's, Oracle's and Alibaba's.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(100, 100, 100, 200)];

impl ForwardTarget {
    /// What a client asks for (RFC 4254, section 7.2), unless nobody is to be led there.
    pub fn parse(host: &str, port: u32) -> Result<Self, TargetError> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0).ok_or(TargetError::NoPort)?;
        Ok(Self { host: TargetHost::parse(host)?, port })
    }
}

impl TargetHost {
    /// The host that is written so.
    pub fn parse(host: &str) -> Result<Self, TargetError> {
        let bare = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|bare| bare.contains(':')).ok_or(TargetError::NoHost)?,
            None => host,
        };
        if bare.contains(':') {
            return Self::of(IpAddr::V6(ipv6(bare)?));
        }
        // one dot at the end is the root's (RFC 1034, section 3.1)
        let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        if !is_name(&name) {
            return Err(TargetError::NoHost);
        }
        if ends_in_number(&name) {
            return Self::of(IpAddr::V4(ipv4(&name).ok_or(TargetError::NoHost)?));
        }
        // RFC 6761, section 6.3
        if name == LOCALHOST || name.ends_with(".localhost") {
            return Ok(Self::Localhost);
        }
        if METADATA_NAMES.contains(&name.as_str()) {
            return Err(TargetError::Forbidden(Forbidden::Metadata));
        }
        Ok(Self::Name(name))
    }

    /// An address, unless nobody is to be led there.
    fn of(address: IpAddr) -> Result<Self, TargetError> {
        may_reach(address).map(Self::Address).map_err(TargetError::Forbidden)
    }

    /// Whether it is the node itself, as far as can be said without looking a name up.
    pub fn is_node_itself(&self) -> bool {
        match self {
            Self::Localhost => true,
            Self::Address(address) => address.is_loopback(),
            Self::Name(_) => false,
        }
    }
}

/// The address as it is dialled, unless nobody is to be led there: for one that was written, and for each that a name stands for.
pub fn may_reach(address: IpAddr) -> Result<IpAddr, Forbidden> {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(v4) => v4_may_be_reached(v4)?,
        IpAddr::V6(v6) => v6_may_be_reached(v6)?,
    }
    Ok(address)
}

/// A socket's path as a client asks for it.
pub fn socket_path(path: &str) -> Result<Vec<u8>, TargetError> {
    let plain = path.starts_with('/') && path.len() <= MOST_PATH && !path.contains('\0');
    if plain { Ok(path.as_bytes().to_vec()) } else { Err(TargetError::NoPath) }
}

fn v4_may_be_reached(address: Ipv4Addr) -> Result<(), Forbidden> {
    match address.octets() {
        [0, ..] => Err(Forbidden::Unspecified),
        [169, 254, ..] => Err(Forbidden::LinkLocal),
        // multicast, what is reserved, and broadcast
        [224..=255, ..] => Err(Forbidden::Multicast),
        _ if METADATA_V4.contains(&address) => Err(Forbidden::Metadata),
        _ => Ok(()),
    }
}

fn v6_may_be_reached(address: Ipv6Addr) -> Result<(), Forbidden> {
    if address.is_loopback() {
        return Ok(());
    }
    let segments = address.segments();
    match segments {
        // `::`, and the deprecated `::a.b.c.d` (RFC 4291, section 2.5.5.1)
        [0, 0, 0, 0, 0, 0, ..] => Err(Forbidden::Unspecified),
        // translators of some networks (RFC 6052, RFC 8215) and relays (RFC 3056) make IPv4 of these
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Err(Forbidden::Disguised),
        // Teredo (RFC 4380)
        [0x2001, 0, ..] => Err(Forbidden::Disguised),
        [0xff00..=0xffff, ..] => Err(Forbidden::Multicast),
        [0xfe80..=0xfebf, ..] => Err(Forbidden::LinkLocal),
        // Amazon's own services: metadata, names, time, credentials of pods
        [0xfd00, 0xec2, ..] => Err(Forbidden::Metadata),
        _ => Ok(()),
    }
}

fn embedded(high: u16, low: u16) -> Result<(), Forbidden> {
    let inner = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    if inner.is_loopback() || v4_may_be_reached(inner).is_err() { Err(Forbidden::Disguised) } else { Ok(()) }
}

/// No zones: they are of link-local addresses.
fn ipv6(text: &str) -> Result<Ipv6Addr, TargetError> {
    match text.split_once('%') {
        Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => Err(TargetError::Forbidden(Forbidden::LinkLocal)),
        Some(_) => Err(TargetError::NoHost),
        None => text.parse().map_err(|_| TargetError::NoHost),
    }
}

/// Letters that names are made of; what is no ASCII has a spelling that is (RFC 5890).
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=MOST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
    };
    name.len() <= MOST_NAME && name.split('.').all(label)
}

/// Whether resolvers may take it for an address (the URL standard's "ends in a number").
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let digits = last.bytes().all(|byte| byte.is_ascii_digit());
    digits || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What inet_aton(3) takes: one to four numbers, decimal, octal or hexadecimal, of which the last fills what is left.
fn ipv4(name: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u64> = name.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    if first.len() > 3 || first.iter().any(|number| *number > 0xff) {
        return None;
    }
    let room = 32 - 8 * u32::try_from(first.len()).ok()?;
    if *last >= 1_u64 << room {
        return None;
    }
    let shifted = first.iter().zip([24, 16, 8]).map(|(number, by)| number << by);
    Some(Ipv4Addr::from_bits(u32::try_from(shifted.sum::<u64>() + last).ok()?))
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        // glibc takes `0x` alone for 0
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok().filter(|number| *number <= u64::from(u32::MAX))
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str(LOCALHOST),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ForwardTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            TargetHost::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> Result<String, TargetError> {
        TargetHost::parse(text).map(|host| host.to_string())
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        for spelling in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0X7F000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "0177.0x0.0.01",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(host(spelling), Ok("127.0.0.1".to_owned()), "{spelling}");
        }
        for spelling in ["::1", "[::1]", "0:0:0:0:0:0:0:1", "0000::0001"] {
            assert_eq!(host(spelling), Ok("::1".to_owned()), "{spelling}");
        }
        for spelling in ["localhost", "LOCALHOST.", "a.localhost"] {
            assert_eq!(TargetHost::parse(spelling), Ok(TargetHost::Localhost), "{spelling}");
        }
        assert_eq!(host("DB.Internal."), Ok("db.internal".to_owned()));
        assert_eq!(
            host("127.0.0.1.nip.io"),
            Ok("127.0.0.1.nip.io".to_owned()),
            "a name, to be judged by what it stands for"
        );
    }

    #[test]
    fn where_nobody_is_led() {
        use Forbidden as F;
        for (spelling, why) in [
            ("0.0.0.0", F::Unspecified),
            ("0", F::Unspecified),
            ("0x", F::Unspecified),
            ("::", F::Unspecified),
            ("::127.0.0.1", F::Unspecified),
            ("169.254.169.254", F::LinkLocal),
            ("169.254.169.254.", F::LinkLocal),
            ("2852039166", F::LinkLocal),
            ("0xa9fea9fe", F::LinkLocal),
            ("0251.0376.0251.0376", F::LinkLocal),
            ("169.254.43518", F::LinkLocal),
            ("::ffff:169.254.169.254", F::LinkLocal),
            ("::ffff:a9fe:a9fe", F::LinkLocal),
            ("[::ffff:a9fe:a9fe]", F::LinkLocal),
            ("64:ff9b::a9fe:a9fe", F::Disguised),
            ("64:ff9b::7f00:1", F::Disguised),
            ("2002:a9fe:a9fe::1", F::Disguised),
            ("64:ff9b:1::1", F::Disguised),
            ("2001::1", F::Disguised),
            ("fd00:ec2::254", F::Metadata),
            ("instance-data.ec2.internal", F::Metadata),
            ("INSTANCE-DATA.", F::Metadata),
            ("168.63.129.16", F::Metadata),
            ("100.100.100.200", F::Metadata),
            ("fe80::1", F::LinkLocal),
            ("fe80::1%eth0", F::LinkLocal),
            ("224.0.0.1", F::Multicast),
            ("255.255.255.255", F::Multicast),
            ("ff02::1", F::Multicast),
        ] {
            assert_eq!(host(spelling), Err(TargetError::Forbidden(why)), "{spelling}");
        }
    }

    #[test]
    fn what_is_no_host_is_not_looked_up() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "-a",
            "a b",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "4294967296",
            "0x1ffffffff",
            "08.1.1.1",
            "foo.1",
            "foo.0x7f",
            "１２７.0.0.1",
            "127。0。0。1",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "1::2::3",
            "x%eth0:",
            "a/b",
            "a\0",
            "ﬀ.example",
            "db:5432",
        ] {
            assert_eq!(host(text), Err(TargetError::NoHost), "{text:?}");
        }
        assert_eq!(host(&"a".repeat(64)), Err(TargetError::NoHost));
        assert_eq!(host(&["a"; 128].join(".")), Err(TargetError::NoHost));
        for port in [0, 65536, u32::MAX] {
            assert_eq!(ForwardTarget::parse("localhost", port), Err(TargetError::NoPort));
        }
    }

    #[test]
    fn paths_of_sockets() {
        assert_eq!(socket_path("/run/docker.sock"), Ok(b"/run/docker.sock".to_vec()));
        for path in ["", "run/x", "../x", "\0abstract", "/a\0b", &format!("/{}", "x".repeat(107))] {
            assert_eq!(socket_path(path), Err(TargetError::NoPath), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_is_read_the_same(text in "[0-9a-fA-FxX.:\\[\\]%a-z_-]{0,40}", port: u32) {
            if let Ok(target) = ForwardTarget::parse(&text, port) {
                prop_assert_eq!(ForwardTarget::parse(&target.host.to_string(), port), Ok(target.clone()));
                if let TargetHost::Address(address) = target.host {
                    prop_assert_eq!(may_reach(address), Ok(address));
                }
            }
        }

        #[test]
        fn every_spelling_of_an_address_is_that_address(bits: u32, form in 0..6) {
            let address = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = address.octets();
            let spelling = match form {
                0 => address.to_string(),
                1 => bits.to_string(),
                2 => format!("0x{bits:X}"),
                3 => format!("0{a:o}.0x{b:x}.{}", u32::from(c) << 8 | u32::from(d)),
                4 => format!("::ffff:{address}"),
                _ => format!("{a}.{}.", bits & 0x00ff_ffff),
            };
            let expected = may_reach(IpAddr::V4(address)).map(TargetHost::Address).map_err(TargetError::Forbidden);
            prop_assert_eq!(TargetHost::parse(&spelling), expected, "{}", spelling);
        }

        #[test]
        fn what_this_machines_own_resolver_takes_for_an_address_is_no_name(text in "[0-9xa-f.]{0,15}[0-9xa-f]") {
            use std::net::ToSocketAddrs as _;
            if let Ok(TargetHost::Name(name)) = TargetHost::parse(&text) {
                // a name with a letter at its end, which no resolver reads as a number
                prop_assert!(name.rsplit('.').next().unwrap().bytes().any(|byte| byte.is_ascii_alphabetic()));
            } else if let Ok(TargetHost::Address(address)) = TargetHost::parse(&text)
                && let Ok(mut found) = (text.as_str(), 1).to_socket_addrs()
            {
                prop_assert_eq!(found.next().map(|found| found.ip()), Some(address));
            }
        }
    }
}
