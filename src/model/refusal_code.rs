//! Why something was refused, for programs: a code beside each sentence. Sentences may get better, codes stay; each is in
//! `docs/reason-codes.md` with what the person should do.

use std::fmt;

/// The codes, by who refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCode {
    /// Login: the key belongs to nobody.
    KeyUnknown,
    /// Login: the key, or the way it signs, is not good enough to prove anything.
    KeyTooWeak,
    /// Login: the key's owner is not the person that the login names.
    KeyOfAnother,
    /// Login: the time of the key or the certificate is over, or has not begun.
    ProofExpired,
    /// Login: the key or the certificate does not count from this address.
    SourceNotAllowed,
    /// Login: the security key did not ask who touches it, and has to.
    UserNotVerified,
    /// Login: the certificate is none that could be taken.
    CertificateNotTaken,
    /// Login: the certificate's authority is none that is trusted.
    AuthorityUnknown,
    /// Login: the certificate stands for nobody, or for several.
    PrincipalUnknown,
    /// Login: the key, the certificate or its authority is revoked.
    Revoked,
    /// Login: what is revoked can't be read.
    RevocationsUnreadable,
    /// Login: the key is an IAM user's, and IAM has not said for too long whether it still is.
    IamUnanswered,
    /// Login: what was proved is not enough for that person, and nothing could be asked for that would be.
    ProofNotEnough,
    /// Login: a second factor was asked for, and none came; policy: it is permitted with one, and there was none.
    SecondFactorNeeded,
    /// Login: the code is wrong, over, or was used.
    SecondFactorWrong,
    /// Login: so many wrong codes came of the person that none is looked at.
    TooManyGuesses,
    /// Login: the person did not sign in, the provider refused, or its token proves nothing.
    SignInFailed,
    /// Login: whoever has signed in is nobody here, or not whom the login or the key names.
    SignInOfNobody,
    /// Login: the provider can't be asked now, or too many sign in.
    SignInUnavailable,
    /// Login: the password is wrong, or nobody's.
    PasswordWrong,
    /// Login: the key can't be read, or nobody here knows its algorithm.
    KeyUnreadable,
    /// Login: something else than a public key was tried.
    MethodNotTaken,
    /// Login: the client gave up before it had tried to prove anything.
    NoProof,
    /// Login: a balancer said nothing of whom it connects for, or somebody who is none did.
    ProxyHeader,
    /// Login: the client takes no algorithm of ours.
    NoCommonAlgorithm,
    /// Login: the client's way of exchanging keys makes what it has chosen unsafe.
    ClientTooOld,
    /// Login: the user name can't be read.
    LoginUnreadable,
    /// Policy: none permits it.
    NoRule,
    /// Policy: it would be permitted, but not as this operating-system user.
    OsUserNotListed,
    /// Policy: one forbids it.
    Forbidden,
    /// Policy: it is permitted for a reason, and none was given.
    ReasonNeeded,
    /// Policy: it is permitted for another reason than the one that was given.
    ReasonUnsuitable,
    /// Policy: as much was uploaded in the session as may be.
    UploadLimit,
    /// Policy: no policy permits a command of the line.
    CommandNotListed,
    /// Policy: what a line, or a command of it, runs can't be told, and no policy permits that.
    CommandUnknown,
    /// Policy: it may be done at the beginning of a session only.
    SessionTooOld,
    /// Policy: it could not be evaluated.
    PolicyFailed,
    /// Policy: more than the session was opened for.
    BeyondTheGrant,
    /// The person has no role in AWS.
    NoAwsRole,
    /// The person's role in AWS is got by a sign-in, and they have logged in without one.
    AwsRoleNeedsSignIn,
    /// The name is no node's, or that of several.
    NodeUnknown,
    /// The node's agent is not connected.
    NodeNotConnected,
    /// IAM or Systems Manager refused.
    AwsRefused,
    /// Systems Manager can't be reached now.
    AwsUnreachable,
    /// A session document is missing or not what it must be.
    DocumentWrong,
    /// It can't be recorded, so it can't be.
    NotRecordable,
    /// The person's events have filled their part of the log.
    LogShareUsedUp,
    /// Everything was allowed, and the way to the node did not open.
    NoWayToTheNode,
    /// The node's own sshd did not take it.
    NodeSshd,
    /// The node's own sshd is not known to be who it should be.
    NodeHostKey,
    /// Somebody ended it while it was being opened.
    Killed,
    /// It is a kind of forwarding that the gateway does not do.
    ForwardingNotServed,
    /// A forward to where nobody is led, whatever policy says.
    TargetForbidden,
    /// A forward that is allowed, and whose target the node does not reach.
    TargetNotReached,
    /// The connection, or its person, has as many forwards as may be.
    TooManyForwards,
    /// A port was asked for, and the login names no node through which it could be reached.
    PortOfNoNode,
    /// The gateway serves sftp and no other subsystem.
    SubsystemNotServed,
    /// The variable is not among those that clients may set.
    VariableNotAccepted,
    /// The key or the certificate that was logged in with takes it from its person.
    TakenByTheKey,
    /// Nothing of this name is served.
    RequestNotServed,
    /// It is served, but not now, or not so.
    RequestOutOfPlace,
    /// As many channels are open on the connection as may be.
    TooManyChannels,
    /// So much was refused on the connection that the rest is not noted.
    TooManyRefusals,
    /// The person has as many connections as may be.
    TooManyConnections,
    /// More was sent than anybody took.
    TooMuchUntaken,
    /// A session was opened against the client's own promise.
    NoMoreSessions,
    /// The node carries as many channels as may be, or as this person may have there.
    NodeFull,
}

impl RefusalCode {
    /// All of them, in the order of the page.
    #[cfg(test)]
    pub const ALL: [Self; 67] = [
        Self::KeyUnknown,
        Self::KeyTooWeak,
        Self::KeyOfAnother,
        Self::ProofExpired,
        Self::SourceNotAllowed,
        Self::UserNotVerified,
        Self::CertificateNotTaken,
        Self::AuthorityUnknown,
        Self::PrincipalUnknown,
        Self::Revoked,
        Self::RevocationsUnreadable,
        Self::IamUnanswered,
        Self::ProofNotEnough,
        Self::SecondFactorNeeded,
        Self::SecondFactorWrong,
        Self::TooManyGuesses,
        Self::SignInFailed,
        Self::SignInOfNobody,
        Self::SignInUnavailable,
        Self::PasswordWrong,
        Self::KeyUnreadable,
        Self::MethodNotTaken,
        Self::NoProof,
        Self::ProxyHeader,
        Self::NoCommonAlgorithm,
        Self::ClientTooOld,
        Self::LoginUnreadable,
        Self::NoRule,
        Self::OsUserNotListed,
        Self::Forbidden,
        Self::ReasonNeeded,
        Self::ReasonUnsuitable,
        Self::UploadLimit,
        Self::CommandNotListed,
        Self::CommandUnknown,
        Self::SessionTooOld,
        Self::PolicyFailed,
        Self::BeyondTheGrant,
        Self::NoAwsRole,
        Self::AwsRoleNeedsSignIn,
        Self::NodeUnknown,
        Self::NodeNotConnected,
        Self::AwsRefused,
        Self::AwsUnreachable,
        Self::DocumentWrong,
        Self::NotRecordable,
        Self::LogShareUsedUp,
        Self::NoWayToTheNode,
        Self::NodeSshd,
        Self::NodeHostKey,
        Self::Killed,
        Self::ForwardingNotServed,
        Self::TargetForbidden,
        Self::TargetNotReached,
        Self::TooManyForwards,
        Self::PortOfNoNode,
        Self::SubsystemNotServed,
        Self::VariableNotAccepted,
        Self::TakenByTheKey,
        Self::RequestNotServed,
        Self::RequestOutOfPlace,
        Self::TooManyChannels,
        Self::TooManyRefusals,
        Self::TooManyConnections,
        Self::TooMuchUntaken,
        Self::NoMoreSessions,
        Self::NodeFull,
    ];

    /// The code in events and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyUnknown => "key-unknown",
            Self::KeyTooWeak => "key-too-weak",
            Self::KeyOfAnother => "key-of-another",
            Self::ProofExpired => "proof-expired",
            Self::SourceNotAllowed => "source-not-allowed",
            Self::UserNotVerified => "user-not-verified",
            Self::CertificateNotTaken => "certificate-not-taken",
            Self::AuthorityUnknown => "authority-unknown",
            Self::PrincipalUnknown => "principal-unknown",
            Self::Revoked => "revoked",
            Self::RevocationsUnreadable => "revocations-unreadable",
            Self::IamUnanswered => "iam-unanswered",
            Self::ProofNotEnough => "proof-not-enough",
            Self::SecondFactorNeeded => "second-factor-needed",
            Self::SecondFactorWrong => "second-factor-wrong",
            Self::TooManyGuesses => "too-many-guesses",
            Self::SignInFailed => "sign-in-failed",
            Self::SignInOfNobody => "sign-in-of-nobody",
            Self::SignInUnavailable => "sign-in-unavailable",
            Self::PasswordWrong => "password-wrong",
            Self::KeyUnreadable => "key-unreadable",
            Self::MethodNotTaken => "method-not-taken",
            Self::NoProof => "no-proof",
            Self::ProxyHeader => "proxy-header",
            Self::NoCommonAlgorithm => "no-common-algorithm",
            Self::ClientTooOld => "client-too-old",
            Self::LoginUnreadable => "login-unreadable",
            Self::NoRule => "no-rule",
            Self::OsUserNotListed => "os-user-not-listed",
            Self::Forbidden => "forbidden",
            Self::ReasonNeeded => "reason-needed",
            Self::ReasonUnsuitable => "reason-unsuitable",
            Self::UploadLimit => "upload-limit",
            Self::CommandNotListed => "command-not-listed",
            Self::CommandUnknown => "command-unknown",
            Self::SessionTooOld => "session-too-old",
            Self::PolicyFailed => "policy-failed",
            Self::BeyondTheGrant => "beyond-the-grant",
            Self::NoAwsRole => "no-aws-role",
            Self::AwsRoleNeedsSignIn => "aws-role-needs-sign-in",
            Self::NodeUnknown => "node-unknown",
            Self::NodeNotConnected => "node-not-connected",
            Self::AwsRefused => "aws-refused",
            Self::AwsUnreachable => "aws-unreachable",
            Self::DocumentWrong => "document-wrong",
            Self::NotRecordable => "not-recordable",
            Self::LogShareUsedUp => "log-share-used-up",
            Self::NoWayToTheNode => "no-way-to-the-node",
            Self::NodeSshd => "node-sshd",
            Self::NodeHostKey => "node-host-key",
            Self::Killed => "killed",
            Self::ForwardingNotServed => "forwarding-not-served",
            Self::TargetForbidden => "target-forbidden",
            Self::TargetNotReached => "target-not-reached",
            Self::TooManyForwards => "too-many-forwards",
            Self::PortOfNoNode => "port-of-no-node",
            Self::SubsystemNotServed => "subsystem-not-served",
            Self::VariableNotAccepted => "variable-not-accepted",
            Self::TakenByTheKey => "taken-by-the-key",
            Self::RequestNotServed => "request-not-served",
            Self::RequestOutOfPlace => "request-out-of-place",
            Self::TooManyChannels => "too-many-channels",
            Self::TooManyRefusals => "too-many-refusals",
            Self::TooManyConnections => "too-many-connections",
            Self::TooMuchUntaken => "too-much-untaken",
            Self::NoMoreSessions => "no-more-sessions",
            Self::NodeFull => "node-full",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for RefusalCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_the_codes_agree() {
        let page = include_str!("../../docs/reason-codes.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let codes = RefusalCode::ALL.map(RefusalCode::name);
        assert_eq!(rows.collect::<Vec<_>>(), codes);
        for (index, code) in RefusalCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, index, "{code} is missing, or out of place");
        }
    }
}
