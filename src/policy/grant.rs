//! The [`Grant`], without which nothing opens, and which judges whatever is done later in what it opened.
//!
//! ```text
//!  Request ──Policy::decide──▶ Grant ──consumed by opening──▶ the session's, for as long as it lasts
//!                                                                  │
//!                     each file operation ──Grant::judge──▶ Ok, or a Denial
//! ```

use super::action::Action;
#[cfg(test)]
use super::action::FileAction;
use super::denial::Denial;
use crate::identity::Identity;
use crate::model::{NodeId, NodeName, ReasonText, RefusalCode};

/// Proof that policy allowed one action, for one identity, on one node. Only this module makes one; it can't be cloned,
/// and opening a transport consumes it. Whoever carries out what follows from it asks it again: there is no second
/// decider.
#[derive(Debug)]
pub struct Grant {
    pub(super) policy: String,
    pub(super) identity: Identity,
    pub(super) node_name: NodeName,
    pub(super) node: NodeId,
    pub(super) os_user: Option<String>,
    pub(super) action: Action,
    pub(super) reason: Option<ReasonText>,
    pub(super) terms: Terms,
}

/// What an allow obliges those to who carry it out.
#[derive(Debug)]
pub struct Terms {
    files: FileTerms,
}

/// Which operations on files are covered.
#[derive(Debug)]
enum FileTerms {
    /// None: it is no session of files.
    No,
    /// Each: rules know no finer ones.
    Every,
    /// All but one action below one directory.
    #[cfg(test)]
    AllBut { action: FileAction, below: std::path::PathBuf },
}

/// What the judgement of a file operation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The action only. The path in the question is the client's own.
    Actions,
    /// The path, too: it is resolved first (one more round trip to the node), and the operation is carried out on the
    /// path that was judged.
    #[cfg_attr(
        not(any(test, feature = "testing")),
        expect(dead_code, reason = "no rule looks at paths yet; that they are judged is tested")
    )]
    Paths,
}

impl Grant {
    /// May this be done as well, under the same grant? From memory: it is asked while the client waits. A rename is asked
    /// about as `Rename` and also as `Remove` and `Download` of what is moved and as `Upload` to where it goes; a link as
    /// `Download` and `Upload`, and a new size as `Upload`. A directory is one path: what moves with it is not asked about.
    pub fn judge(&self, action: &Action) -> Result<(), Denial> {
        match (&self.terms.files, action) {
            (FileTerms::Every, Action::File { .. }) => Ok(()),
            #[cfg(test)]
            (FileTerms::AllBut { action: refused, below }, Action::File { action, path }) => {
                let path = std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path));
                match action == refused && path.starts_with(below) {
                    true => Err(Denial { text: "not below that".to_owned(), ..self.beyond(action.name()) }),
                    false => Ok(()),
                }
            }
            (_, asked) if *asked == self.action => Ok(()),
            (_, asked) => Err(self.beyond(asked.name())),
        }
    }

    /// What [`Self::judge`] looks at in an operation on a file.
    pub fn scope(&self) -> Scope {
        match self.terms.files {
            FileTerms::No | FileTerms::Every => Scope::Actions,
            #[cfg(test)]
            FileTerms::AllBut { .. } => Scope::Paths,
        }
    }

    fn beyond(&self, asked: &str) -> Denial {
        let policy = self.policy.clone();
        let text = format!(
            "denied by policy \"{policy}\": the session was opened for {}, not for {asked}",
            self.action.name()
        );
        Denial { code: RefusalCode::BeyondTheGrant, policy, text }
    }

    /// The rule that allowed it.
    pub fn policy(&self) -> &str {
        &self.policy
    }
    /// Who may.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// The node's name as the person wrote it.
    pub fn node_name(&self) -> &NodeName {
        &self.node_name
    }
    /// The node.
    pub fn node(&self) -> &NodeId {
        &self.node
    }
    /// The operating-system user; none means the agent's own.
    pub fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref()
    }
    /// What was allowed.
    pub fn action(&self) -> &Action {
        &self.action
    }
    /// Why.
    pub fn reason(&self) -> Option<&ReasonText> {
        self.reason.as_ref()
    }
}

impl Terms {
    /// What a rule that allows this action allows with it.
    pub(super) fn of(action: &Action) -> Self {
        let files = match action {
            Action::Files => FileTerms::Every,
            Action::Shell | Action::Exec { .. } | Action::File { .. } => FileTerms::No,
        };
        Self { files }
    }
}

/// Grants out of nothing, for tests of what comes after policy.
#[cfg(test)]
impl Grant {
    pub(crate) fn for_test(node: &str, action: Action) -> Self {
        Self::for_test_of("tester", node, action)
    }

    pub(crate) fn for_test_of(person: &str, node: &str, action: Action) -> Self {
        Self {
            policy: "test".to_owned(),
            identity: Identity::for_test(person),
            node_name: NodeName::for_test(node),
            node: NodeId(node.to_owned()),
            os_user: None,
            terms: Terms::of(&action),
            action,
            reason: None,
        }
    }

    /// The same for this reason.
    pub(crate) fn because(self, reason: ReasonText) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// For files, with one action refused below one directory: judged by path.
    pub(crate) fn for_files_but(action: FileAction, below: std::path::PathBuf) -> Self {
        let terms = Terms { files: FileTerms::AllBut { action, below } };
        Self { terms, ..Self::for_test("web-1", Action::Files) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(path: &str) -> Action {
        Action::File { action: FileAction::Upload, path: path.into() }
    }

    #[test]
    fn a_grant_covers_what_it_was_given_for_and_nothing_else() {
        let exec = |command: &str| Action::Exec { command: command.into() };
        let grant = Grant::for_test("web-1", exec("id"));
        assert_eq!(grant.judge(&exec("id")), Ok(()));
        for other in [exec("rm -r /"), Action::Shell, Action::Files, upload("/etc/passwd")] {
            let denial = grant.judge(&other).unwrap_err();
            assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::BeyondTheGrant, "test"));
            let name = other.name();
            assert!(denial.text.ends_with(&format!("the session was opened for Exec, not for {name}")), "{denial:?}");
        }
    }

    #[test]
    fn a_session_of_files_covers_every_operation_and_no_shell() {
        let grant = Grant::for_test("web-1", Action::Files);
        assert_eq!(grant.judge(&upload("/etc/passwd")), Ok(()));
        assert_eq!(grant.scope(), Scope::Actions);
        assert!(grant.judge(&Action::Shell).is_err());
    }

    #[test]
    fn terms_that_look_at_paths_are_judged_by_path() {
        let grant = Grant::for_files_but(FileAction::Upload, "/safe".into());
        assert_eq!(grant.scope(), Scope::Paths);
        assert!(grant.judge(&upload("/safe/x")).is_err());
        assert_eq!(grant.judge(&upload("/safer")), Ok(()));
        assert_eq!(grant.judge(&Action::File { action: FileAction::Download, path: b"/safe/x".to_vec() }), Ok(()));
    }
}
