//! The handle on a file service: requests may be issued at once from clones; answers come back to whoever asked.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::operation::{Answer, FileError, Operation};
use crate::identity::Login;
#[cfg(test)]
use crate::policy::Action;
use crate::policy::Grant;

/// A way to the file service of one node, for one user. Clones share it; operations may be in flight at once and are
/// carried out in the order they were issued.
#[derive(Clone, Debug)]
pub struct FileService {
    /// What it was opened with. Shared by the clones; the grant itself can't be copied.
    pub(super) grant: Arc<Grant>,
    pub(super) operations: mpsc::Sender<Call>,
    /// The name under which its client logged in, which to the client is the user's name.
    pub(super) login: Option<Arc<Login>>,
}

/// An operation, and where its answer goes.
pub type Call = (Operation, oneshot::Sender<Result<Answer, FileError>>);

impl FileService {
    /// A service that the test itself carries out.
    #[cfg(test)]
    pub(crate) fn for_test(operations: mpsc::Sender<Call>) -> Self {
        Self::under(Grant::for_test("web-1", Action::Files), operations)
    }

    /// The same under a grant of the test's own.
    #[cfg(test)]
    pub(crate) fn under(grant: Grant, operations: mpsc::Sender<Call>) -> Self {
        Self { grant: Arc::new(grant), operations, login: None }
    }

    /// What may be done with it. Whoever serves files asks before each operation.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// For a client that logged in so: `~<login>` is the home, as it is with sshd, although the node knows no such user.
    pub fn for_login(self, login: &Login) -> Self {
        Self { login: Some(Arc::new(login.clone())), ..self }
    }

    /// Issues an operation; the receiver resolves to its answer. Waits while too much is in flight.
    pub async fn issue(&self, mut operation: Operation) -> oneshot::Receiver<Result<Answer, FileError>> {
        if let (Operation::ExpandPath { path }, Some(login)) = (&mut operation, &self.login)
            && let Some(shorter) = own_home(path, login)
        {
            *path = shorter;
        }
        if let (Operation::HomeDirectory { user }, Some(login)) = (&operation, &self.login)
            && login.is_written(user)
        {
            operation = Operation::ExpandPath { path: b"~".to_vec() };
        }
        let (answer, receiver) = oneshot::channel();
        // a refused send drops the answering half, which the receiver reports
        let _ = self.operations.send((operation, answer)).await;
        receiver
    }

    /// Issues an operation and waits for its answer.
    pub async fn call(&self, operation: Operation) -> Result<Answer, FileError> {
        let lost = |_| FileError::NodeGone("the file service has ended".to_owned());
        self.issue(operation).await.await.map_err(lost)?
    }
}

/// `~` in the place of `~<login>`, at the beginning of a path.
fn own_home(path: &[u8], login: &Login) -> Option<Vec<u8>> {
    let named = path.strip_prefix(b"~")?;
    // a login may have slashes in it (the person, a tag's value), so the path is not simply cut at its first
    let mut ends = (0..=named.len()).filter(|&end| matches!(named.get(end), None | Some(b'/')));
    let end = ends.rfind(|&end| login.is_written(&named[..end]))?;
    Some([b"~", &named[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_the_login_is_the_home() {
        let home = |login: &str, path: &str| {
            let login = Login::parse(login).unwrap();
            own_home(path.as_bytes(), &login).map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(home("web-1+ticket", "~web-1+ticket").as_deref(), Some("~"));
        assert_eq!(home("web-1+ticket", "~web-1+ticket/a/b").as_deref(), Some("~/a/b"));
        assert_eq!(home("ada/ec2-user%web-1", "~ada/ec2-user@web-1/x").as_deref(), Some("~/x"));
        for path in ["~", "~/web-1+ticket", "~web-1", "~web-1+ticket2", "~root/x", "web-1+ticket", ""] {
            assert_eq!(home("web-1+ticket", path), None, "{path}");
        }
    }
}
