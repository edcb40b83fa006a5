//! Version 2 of the PROXY protocol, by which a balancer says for whom it connects
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2). It is read from listed balancers and from nobody
//! else, before anything else of the connection.
//!
//! ```text
//!  12 bytes of signature │ version, command │ family │ length │ addresses, and more that is not looked at
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// What such a header begins with, and no identification of SSH.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The part of one length.
const FIXED: usize = 16;

/// Behind that; a header with all that the document knows is shorter. Nothing is kept of what a longer one says.
const MOST: usize = 2048;

/// How long a balancer may take for it: it sends it with its first packet.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a balancer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Who has connected to it, and where to.
    Client {
        /// From there.
        source: SocketAddr,
        /// To that, as the client sees it.
        destination: SocketAddr,
    },
    /// It is there for itself: it looks whether somebody answers.
    Local,
}

/// Why a header is none, or says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Something else came.
    #[error("a listed balancer sent no header of version 2 of the PROXY protocol")]
    NoHeader,
    /// It is one of another version, or is cut short.
    #[error("the header of the PROXY protocol is damaged, or of another version than 2")]
    Damaged,
    /// It is longer than any.
    #[error("the header of the PROXY protocol has {0} bytes; the most that is taken is {MOST}")]
    Long(usize),
    /// It does not say who has connected, by TCP.
    #[error("the header of the PROXY protocol names no client that has come by TCP")]
    NoClient,
    /// It did not come in time.
    #[error("a listed balancer sent no whole header of the PROXY protocol in {} seconds", PATIENCE.as_secs())]
    Late,
    /// The connection broke.
    #[error("the connection of a listed balancer broke: {0}")]
    Broken(#[from] io::Error),
}

impl ProxyHeader {
    /// Reads one, and nothing behind it; in no more time and with no more bytes than one takes.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, ProxyHeaderError> {
        timeout(PATIENCE, Self::read_whole(stream)).await.map_err(|_| ProxyHeaderError::Late)?
    }

    async fn read_whole(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, ProxyHeaderError> {
        let mut fixed = [0; FIXED];
        let (signature, rest) = fixed.split_at_mut(SIGNATURE.len());
        // byte by byte: whoever speaks SSH in its place is refused by its first one, and does not wait for more
        for (byte, expected) in signature.iter_mut().zip(SIGNATURE) {
            *byte = stream.read_u8().await?;
            if *byte != expected {
                return Err(ProxyHeaderError::NoHeader);
            }
        }
        stream.read_exact(rest).await?;
        let mut more = vec![0; length(&fixed)?];
        stream.read_exact(&mut more).await?;
        Self::parse(&[&fixed[..], &more].concat())
    }

    /// Reads one out of bytes that are it.
    pub fn parse(header: &[u8]) -> Result<Self, ProxyHeaderError> {
        let rest = header.strip_prefix(&SIGNATURE).ok_or(ProxyHeaderError::NoHeader)?;
        let more = header.get(FIXED..).filter(|more| length(header).is_ok_and(|length| more.len() == length));
        let (&[version_and_command, family, ..], Some(more)) = (rest, more) else {
            return Err(ProxyHeaderError::Damaged);
        };
        match (version_and_command, family) {
            // of a check of its own it may say anything
            (0x20, _) => Ok(Self::Local),
            (0x21, 0x11) => {
                let (source, more) = address::<4, Ipv4Addr>(more)?;
                let (destination, more) = address::<4, Ipv4Addr>(more)?;
                Self::client(source, destination, more)
            }
            (0x21, 0x21) => {
                let (source, more) = address::<16, Ipv6Addr>(more)?;
                let (destination, more) = address::<16, Ipv6Addr>(more)?;
                Self::client(source, destination, more)
            }
            // nobody, a datagram's sender, a local process
            (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Err(ProxyHeaderError::NoClient),
            _ => Err(ProxyHeaderError::Damaged),
        }
    }

    fn client(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Result<Self, ProxyHeaderError> {
        let &[a, b, c, d, ..] = ports else { return Err(ProxyHeaderError::Damaged) };
        // an address of IPv4 in one of IPv6 is that one, for whatever looks at it later
        let [source, destination] = [source, destination].map(|address| address.to_canonical());
        if source.is_unspecified() || source.is_multicast() {
            return Err(ProxyHeaderError::NoClient);
        }
        let (source_port, port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ok(Self::Client { source: (source, source_port).into(), destination: (destination, port).into() })
    }
}

/// How much there is behind the fixed part.
fn length(header: &[u8]) -> Result<usize, ProxyHeaderError> {
    let Some(&[high, low]) = header.get(FIXED - 2..FIXED) else { return Err(ProxyHeaderError::Damaged) };
    match usize::from(u16::from_be_bytes([high, low])) {
        length if length > MOST => Err(ProxyHeaderError::Long(length)),
        length => Ok(length),
    }
}

fn address<const N: usize, A: From<[u8; N]> + Into<IpAddr>>(bytes: &[u8]) -> Result<(IpAddr, &[u8]), ProxyHeaderError> {
    let (address, rest) = bytes.split_first_chunk::<N>().ok_or(ProxyHeaderError::Damaged)?;
    Ok((A::from(*address).into(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(version_and_command: u8, family: u8, more: &[u8]) -> Vec<u8> {
        let length = u16::try_from(more.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, more].concat()
    }

    fn told(header: &[u8]) -> String {
        ProxyHeader::parse(header).unwrap_err().to_string()
    }

    const FOUR: &[u8] = b"\xc0\0\x02\x01\xc0\0\x02\x02\x9c\x40\0\x16";

    #[test]
    fn a_header_names_a_client_or_is_the_balancer_s_own() {
        let client = |source: &str, destination: &str| ProxyHeader::Client {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let four = client("192.0.2.1:40000", "192.0.2.2:22");
        assert_eq!(ProxyHeader::parse(&header(0x21, 0x11, FOUR)).unwrap(), four);
        let and_more = [FOUR, b"\x20\0\x05abcde"].concat();
        assert_eq!(ProxyHeader::parse(&header(0x21, 0x11, &and_more)).unwrap(), four);
        let addresses = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let six = |source: &str| [&addresses(source)[..], &addresses("2001:db8::2"), b"\x9c\x40\0\x16"].concat();
        assert_eq!(
            ProxyHeader::parse(&header(0x21, 0x21, &six("2001:db8::1"))).unwrap(),
            client("[2001:db8::1]:40000", "[2001:db8::2]:22")
        );
        let mapped = ProxyHeader::parse(&header(0x21, 0x21, &six("::ffff:192.0.2.1"))).unwrap();
        assert_eq!(mapped, client("192.0.2.1:40000", "[2001:db8::2]:22"), "as everything else compares it");
        for own in [header(0x20, 0x00, b""), header(0x20, 0x11, FOUR), header(0x20, 0xff, b"anything")] {
            assert_eq!(ProxyHeader::parse(&own).unwrap(), ProxyHeader::Local);
        }
    }

    #[test]
    fn whatever_else_it_is_names_nobody() {
        assert!(told(b"SSH-2.0-OpenSSH_9.9\r\n").contains("no header"));
        assert!(told(b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 22\r\n").contains("no header"), "version 1");
        for (version_and_command, family) in [(0x11, 0x11), (0x31, 0x11), (0x22, 0x11), (0x21, 0x13), (0x21, 0x41)] {
            assert!(told(&header(version_and_command, family, FOUR)).contains("damaged"));
        }
        for family in [0x00, 0x12, 0x31] {
            assert!(told(&header(0x21, family, FOUR)).contains("names no client"));
        }
        for nobody in [[0, 0, 0, 0], [224, 0, 0, 1]] {
            assert!(told(&header(0x21, 0x11, &[&nobody[..], &FOUR[4..]].concat())).contains("names no client"));
        }
        let whole = header(0x21, 0x11, FOUR);
        for cut in 0..whole.len() {
            assert!(ProxyHeader::parse(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(told(&header(0x21, 0x11, &[0; 3000])).contains("damaged"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_read_alone_in_its_time_and_to_no_end() {
        let whole = header(0x21, 0x11, FOUR);
        let both = [&whole[..], b"SSH-2.0-client\r\n"].concat();
        let mut stream = &both[..];
        assert!(matches!(ProxyHeader::read(&mut stream).await, Ok(ProxyHeader::Client { .. })));
        assert_eq!(stream, b"SSH-2.0-client\r\n");
        let long = header(0x21, 0x11, &[0; 3000]);
        assert!(matches!(ProxyHeader::read(&mut &long[..]).await, Err(ProxyHeaderError::Long(3000))));
        let (_balancer, mut silent) = tokio::io::duplex(64);
        assert!(matches!(ProxyHeader::read(&mut silent).await, Err(ProxyHeaderError::Late)));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), family: u8, command: u8) {
            let _ = ProxyHeader::parse(&bytes);
            let _ = ProxyHeader::parse(&header(command, family, &bytes));
        }

        #[test]
        fn what_is_named_is_what_was_written(source: [u8; 4], destination: [u8; 4], ports: [u8; 4], more in proptest::collection::vec(any::<u8>(), 0..40)) {
            let written = [&source[..], &destination, &ports, &more].concat();
            match ProxyHeader::parse(&header(0x21, 0x11, &written)) {
                Ok(ProxyHeader::Client { source: named, .. }) => prop_assert_eq!(named.ip(), IpAddr::from(source)),
                Err(ProxyHeaderError::NoClient) => {
                    let source = Ipv4Addr::from(source);
                    prop_assert!(source.is_unspecified() || source.is_multicast());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
