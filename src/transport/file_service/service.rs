//! The handle on a file service: requests may be issued at once from clones; answers come back to whoever asked.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::operation::{Answer, FileError, Operation};
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
}

/// An operation, and where its answer goes.
pub(crate) type Call = (Operation, oneshot::Sender<Result<Answer, FileError>>);

impl FileService {
    /// A service that the test itself carries out.
    #[cfg(test)]
    pub(crate) fn for_test(operations: mpsc::Sender<Call>) -> Self {
        Self::under(Grant::for_test("web-1", Action::Files), operations)
    }

    /// The same under a grant of the test's own.
    #[cfg(test)]
    pub(crate) fn under(grant: Grant, operations: mpsc::Sender<Call>) -> Self {
        Self { grant: Arc::new(grant), operations }
    }

    /// What may be done with it. Whoever serves files asks before each operation.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Issues an operation; the receiver resolves to its answer. Waits while too much is in flight.
    pub async fn issue(&self, operation: Operation) -> oneshot::Receiver<Result<Answer, FileError>> {
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
