//! The host CA: the key by which clients know the nodes that the gateway answers for in a hop. One line of `known_hosts` says that
//! it does (`@cert-authority`); for each hop a certificate is made for the gateway's own host keys, under the name that was asked for.

use std::path::Path;
use std::time::Duration;

use super::hostkeys::HostKeys;
use crate::model::NodeName;
use crate::ssh::mint::{Counts, MintError, certificate_of_host};
use crate::ssh::{CaKey, CaKind, KeyFileError};

/// The host CA's key.
#[derive(Clone, Debug)]
pub struct HostCa(CaKey);

/// What the gateway shows itself by: its host keys, and for nodes certificates of them.
#[derive(Clone, Debug)]
pub(super) struct NodeHosts {
    keys: HostKeys,
    ca: HostCa,
}

/// A certificate is looked at while keys are exchanged, and never again; this is for clocks that are wrong.
const COUNTS: Counts = Counts { before: Duration::from_secs(3600), after: Duration::from_secs(3600) };

const KIND: CaKind = CaKind { name: "host CA", comment: "portcullis-host-ca", setting: "gateway.host_ca" };

impl HostCa {
    /// The key in a file that only its owner can read; none where there is no file.
    pub fn load(path: &Path) -> Result<Option<Self>, KeyFileError> {
        Ok(CaKey::load(path, &KIND)?.map(Self))
    }

    /// The key in a file, or a new one where there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        CaKey::load_or_create(path, &KIND).map(Self)
    }

    /// The public key, as in a `.pub` file.
    pub fn public_line(&self) -> String {
        self.0.public_line()
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self(CaKey::for_test())
    }
}

impl NodeHosts {
    pub(super) fn new(keys: HostKeys, ca: HostCa) -> Self {
        Self { keys, ca }
    }

    /// The gateway's own keys.
    pub(super) fn keys(&self) -> &HostKeys {
        &self.keys
    }

    /// Who certifies them for nodes.
    pub(super) fn ca(&self) -> &HostCa {
        &self.ca
    }

    /// The same keys under a node's name, exactly as it was asked for; OpenSSH's client compares it in small letters (`ssh_login`
    /// in its sshconnect.c). It takes a principal for a pattern: names have no character of one.
    pub(super) fn of_node(&self, name: &NodeName) -> Result<HostKeys, MintError> {
        let asked = name.as_str();
        let small = asked.to_ascii_lowercase();
        let names: &[&str] = if small == asked { &[asked] } else { &[asked, &small] };
        let certified = self
            .keys
            .for_certificates()
            .iter()
            .map(|key| certificate_of_host(self.ca.0.private(), key.public_key(), names, COUNTS));
        Ok(self.keys.certified_by(certified.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use russh::keys::ssh_key::certificate::CertType;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host-ca-key");
        assert!(HostCa::load(&path).unwrap().is_none());
        let made = HostCa::load_or_create(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(HostCa::load_or_create(&path).unwrap().public_line(), made.public_line());
        let mut names: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["host-ca-key", "host-ca-key.pub"], "nothing is left behind");
        let printed = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&path).output().unwrap().stdout;
        assert!(made.public_line().starts_with(String::from_utf8(printed).unwrap().trim()));
        assert_eq!(std::fs::read_to_string(dir.path().join("host-ca-key.pub")).unwrap().trim(), made.public_line());
        assert!(!format!("{made:?}").contains("PRIVATE"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = HostCa::load_or_create(&path).unwrap_err().to_string();
        assert!(refused.starts_with("host CA ") && refused.contains("chmod 600"), "{refused}");
        let nowhere = HostCa::load_or_create(&dir.path().join("none/key")).unwrap_err().to_string();
        assert!(nowhere.contains("none can be made there") && nowhere.contains("gateway.host_ca"), "{nowhere}");
    }

    #[test]
    fn gateways_that_start_at_once_have_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let starting: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || HostCa::load_or_create(&path).unwrap().public_line())
            })
            .collect();
        let lines: Vec<String> = starting.into_iter().map(|started| started.join().unwrap()).collect();
        assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
    }

    #[test]
    fn a_certificate_is_for_the_name_that_was_asked_for_and_for_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let ca = HostCa::for_test();
        let hosts = NodeHosts::new(HostKeys::load_or_create(&dir.path().join("key")).unwrap(), ca.clone());
        for (name, principals) in [
            ("web-1", &["web-1"][..]),
            ("Web-1.prod", &["Web-1.prod", "web-1.prod"]),
            ("tag:Role=db", &["tag:Role=db", "tag:role=db"]),
        ] {
            let certified = hosts.of_node(&NodeName::for_test(name)).unwrap();
            assert_eq!(certified.certificates().len(), hosts.keys().for_certificates().len());
            for certificate in certified.certificates() {
                assert_eq!(
                    (certificate.cert_type(), certificate.valid_principals()),
                    (CertType::Host, &principals.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
                );
                let lasts = certificate.valid_before() - certificate.valid_after();
                assert_eq!(lasts, 7200);
                assert_eq!(certificate.signature_key(), ca.0.private().public_key().key_data());
            }
        }
    }
}
