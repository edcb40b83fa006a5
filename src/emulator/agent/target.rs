//! Where a port session connects to, and where it must not.

use std::net::{IpAddr, Ipv6Addr};

use tokio::net::TcpStream;

use super::document::PortProperties;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Tried in order; the node itself is `localhost` by name.
    hosts: Vec<String>,
    port: String,
}

impl Target {
    /// Looks the host up and refuses addresses that belong to the cloud's own services.
    pub(super) async fn resolve(properties: &PortProperties) -> Result<Self, String> {
        let port = properties.port.clone();
        if properties.host.is_empty() {
            return Ok(Self { hosts: vec!["localhost".to_owned()], port });
        }
        // a name that cannot be looked up fails when it is dialled, as in the real agent
        let found = tokio::net::lookup_host((properties.host.as_str(), 0)).await;
        let addresses: Vec<IpAddr> = found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
        if addresses.iter().copied().any(is_forbidden) {
            return Err(format!("Forwarding to IP address {} is forbidden.", properties.host));
        }
        Ok(Self { hosts: addresses.iter().map(IpAddr::to_string).collect(), port })
    }

    /// Connects; the first address's error is the one that counts.
    pub(super) async fn dial(&self) -> std::io::Result<TcpStream> {
        let port: u16 = self.port.parse().map_err(|_| std::io::Error::other("the port is no number"))?;
        let mut first_error = None;
        for host in &self.hosts {
            match TcpStream::connect((host.as_str(), port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or_else(|| std::io::Error::other("missing address")))
    }
}

/// Link-local addresses, where the cloud's metadata, name and time services are, and their fixed IPv6 addresses.
fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || CLOUD_V6.contains(&address),
    }
}

const CLOUD_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x240),
];

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolve(host: &str) -> Result<Target, String> {
        Target::resolve(&PortProperties { host: host.into(), port: "80".into(), forwarding: false }).await
    }

    #[tokio::test]
    async fn the_clouds_own_services_are_out_of_reach() {
        for host in ["169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1"] {
            assert_eq!(resolve(host).await, Err(format!("Forwarding to IP address {host} is forbidden.")));
        }
        assert_eq!(resolve("127.0.0.1").await.unwrap().hosts, ["127.0.0.1"]);
        assert_eq!(resolve("").await.unwrap().hosts, ["localhost"]);
    }

    #[tokio::test]
    async fn dialling_fails_with_the_first_error() {
        let nowhere = Target { hosts: Vec::new(), port: "80".into() };
        assert_eq!(nowhere.dial().await.unwrap_err().to_string(), "missing address");
        let nonsense = Target { hosts: vec!["localhost".into()], port: "http".into() };
        assert!(nonsense.dial().await.is_err());
    }
}
