//! Addresses from which a proof counts: the lists of `from=` (sshd(8), ssh_config(5) PATTERNS) and `source-address`.
//!
//! ```text
//!  192.0.2.0/24,!192.0.2.7,2001:db8::*
//!   network      not this   `*` and `?` stand for characters of the address as it is written
//! ```
//!
//! An entry with `!` that fits refuses, wherever it stands. Names of hosts are none: whoever owns an address says what it is called.

use std::net::IpAddr;

use crate::model::wildcard;

/// Such a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceList(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    negated: bool,
    pattern: Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Network { address: IpAddr, bits: u8 },
    Text(String),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SourceListError {
    /// Neither an address, nor a network, nor a pattern of addresses.
    #[error("`{0}` is no address, network or pattern of addresses; names of hosts are not looked up")]
    NoAddress(String),
    /// The number behind the `/`.
    #[error("`{0}` is no network: behind the / goes the number of its bits")]
    Bits(String),
    /// An address inside of the network in place of the network's own.
    #[error("`{0}` has bits behind its network's: which of the two is meant can't be seen")]
    InsideNetwork(String),
    /// `source-address` has addresses and networks only.
    #[error("`{0}` is neither an address nor a network")]
    NoNetwork(String),
    /// There is nothing in it.
    #[error("the list is empty")]
    Empty,
}

impl SourceList {
    /// The list of `from=`.
    pub(super) fn patterns(text: &str) -> Result<Self, SourceListError> {
        Self::read(text, |entry| {
            let (negated, entry) = match entry.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, entry),
            };
            Ok(Entry { negated, pattern: pattern(entry)? })
        })
    }

    /// The list of a certificate's `source-address`, and of the configuration: no patterns, and nothing is taken out.
    pub fn networks(text: &str) -> Result<Self, SourceListError> {
        Self::read(text, |entry| match network(entry)? {
            Some(pattern) => Ok(Entry { negated: false, pattern }),
            None => Err(SourceListError::NoNetwork(entry.to_owned())),
        })
    }

    /// The same of several such lists.
    pub fn of_networks(lists: &[String]) -> Result<Self, SourceListError> {
        Self::networks(&lists.join(","))
    }

    fn read(text: &str, one: impl Fn(&str) -> Result<Entry, SourceListError>) -> Result<Self, SourceListError> {
        let entries: Vec<Entry> =
            text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(one).collect::<Result<_, _>>()?;
        if entries.is_empty() { Err(SourceListError::Empty) } else { Ok(Self(entries)) }
    }

    /// Whether one of its networks is everywhere.
    pub fn is_everywhere(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry.pattern, Pattern::Network { bits: 0, .. }))
    }

    /// Whether somebody may come from there.
    pub fn has(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        let fitting = || self.0.iter().filter(|entry| entry.pattern.fits(source));
        fitting().next().is_some() && fitting().all(|entry| !entry.negated)
    }
}

fn pattern(entry: &str) -> Result<Pattern, SourceListError> {
    if let Some(network) = network(entry)? {
        return Ok(network);
    }
    let of_addresses = |b: u8| b.is_ascii_hexdigit() || b".:*?".contains(&b);
    let open = entry.contains(['*', '?']);
    if !open || !entry.bytes().all(of_addresses) || entry.bytes().filter(|&b| b == b'*').count() > MOST_STARS {
        return Err(SourceListError::NoAddress(entry.to_owned()));
    }
    Ok(Pattern::Text(entry.to_ascii_lowercase()))
}

/// More than an address has parts.
const MOST_STARS: usize = 8;

/// An address alone is a network of one.
fn network(entry: &str) -> Result<Option<Pattern>, SourceListError> {
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (entry, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return if bits.is_some() { Err(SourceListError::NoAddress(entry.to_owned())) } else { Ok(None) };
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => {
            let plain = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
            let number = bits.parse::<u8>().ok().filter(|&bits| plain && bits <= most);
            number.ok_or_else(|| SourceListError::Bits(entry.to_owned()))?
        }
    };
    if number(address) & !mask(bits, most) != 0 {
        return Err(SourceListError::InsideNetwork(entry.to_owned()));
    }
    Ok(Some(Pattern::Network { address, bits }))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => four.to_bits().into(),
        IpAddr::V6(six) => six.to_bits(),
    }
}

/// The first `bits` of `most`, as a number of that many bits.
fn mask(bits: u8, most: u8) -> u128 {
    let all = u128::MAX.checked_shr(u32::from(128 - most)).unwrap_or_default();
    all & !all.checked_shr(bits.into()).unwrap_or_default()
}

impl Pattern {
    fn fits(&self, source: IpAddr) -> bool {
        match self {
            Self::Network { address, bits } => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                address.is_ipv4() == source.is_ipv4() && number(source) & mask(*bits, most) == number(*address)
            }
            Self::Text(pattern) => fits(pattern.as_bytes(), source.to_string().as_bytes()),
        }
    }
}

/// `*` stands for any characters, `?` for one.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    wildcard::fits(pattern, text, |&part| part == b'*', |&part, letter| part == b'?' || part == *letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(list: &str, source: &str) -> bool {
        SourceList::patterns(list).unwrap().has(source.parse().unwrap())
    }

    #[test]
    fn networks_patterns_and_what_is_taken_out() {
        for (list, source, fits) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::5", false),
            ("192.0.2.*", "192.0.2.5", true),
            ("192.0.2.?", "192.0.2.55", false),
            ("2001:DB8:*", "2001:db8::5", true),
            ("192.0.2.0/24,!192.0.2.7", "192.0.2.6", true),
            ("192.0.2.0/24,!192.0.2.7", "192.0.2.7", false),
            ("!192.0.2.7,192.0.2.0/24", "192.0.2.7", false),
            // what is only taken out leaves nothing
            ("!192.0.2.7", "192.0.2.6", false),
            ("*", "192.0.2.6", true),
            // an IPv4 address is one, whatever socket it came by
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
        ] {
            assert_eq!(from(list, source), fits, "{list} {source}");
        }
    }

    #[test]
    fn what_is_no_list_of_addresses_is_refused() {
        use SourceListError as E;
        for (list, error) in [
            ("", E::Empty),
            (" , ", E::Empty),
            ("gate.example.com", E::NoAddress("gate.example.com".to_owned())),
            ("*.example.com", E::NoAddress("*.example.com".to_owned())),
            ("192.0.2.0/33", E::Bits("192.0.2.0/33".to_owned())),
            ("192.0.2.0/+8", E::Bits("192.0.2.0/+8".to_owned())),
            ("192.0.2.0/", E::Bits("192.0.2.0/".to_owned())),
            ("192.0.2.1/24", E::InsideNetwork("192.0.2.1/24".to_owned())),
            ("host/24", E::NoAddress("host/24".to_owned())),
        ] {
            assert_eq!(SourceList::patterns(list), Err(error), "{list}");
        }
        for list in ["192.0.2.*", "!192.0.2.1", "*"] {
            assert!(SourceList::networks(list).is_err(), "{list}");
        }
        assert!(SourceList::networks("192.0.2.0/24, 2001:db8::1").is_ok());
    }

    proptest! {
        #[test]
        fn a_network_has_what_shares_its_first_bits(address: u32, bits in 0..=32_u8, other: u32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
            let list = format!("{}/{bits}", std::net::Ipv4Addr::from_bits(address & mask));
            let other_ip = IpAddr::V4(std::net::Ipv4Addr::from_bits(other));
            prop_assert_eq!(SourceList::networks(&list).unwrap().has(other_ip), other & mask == address & mask);
            let inside = IpAddr::V4(std::net::Ipv4Addr::from_bits(address));
            prop_assert!(SourceList::networks(&list).unwrap().has(inside));
        }

        #[test]
        fn whatever_is_written_it_answers(list in "[0-9a-f.:*?!/, ]{0,60}", source: u32) {
            if let Ok(list) = SourceList::patterns(&list) {
                let _ = list.has(IpAddr::V4(std::net::Ipv4Addr::from_bits(source)));
            }
        }
    }
}
