//! By what AWS's own records have the calls that began a session.

/// The ids of requests, as CloudTrail has them (`requestID`); none where AWS did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallIds {
    /// Of `StartSession`.
    pub start: Option<String>,
    /// Of the `AssumeRole` that gave what it was signed with; none where that is the gateway's own.
    pub assume_role: Option<String>,
}
