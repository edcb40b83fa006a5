//! The commands of a line, each a question of its own.
//!
//! ```text
//!  line ─▶ permitted whatever they are, by a policy that looks into no line, and none looks in that forbids? ─yes─▶ as it is
//!             no
//!             ▼
//!          taken apart ─▶ Command, for each ─▶ all permitted: /bin/sh runs it, as it was read
//! ```

use cedar_policy::PolicyId;

use super::action::Action;
use super::asking::Asking;
use super::command_line::commands;
use super::decision::{Answer, Asked, Policy};
use super::denial::{ASK, DEFAULT, Denial};
use crate::model::{RefusalCode, plain_text_up_to};

/// What was said of a line's commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgedLine {
    /// They may be whatever they are: nobody looked.
    Any(Vec<PolicyId>),
    /// Each of them may be run.
    Each(Vec<JudgedCommand>),
}

/// One command that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedCommand {
    /// What it is called; nothing for a line that was not taken apart.
    pub name: String,
    /// Why it can't be said what it runs, where that is so.
    pub unknown: Option<String>,
    /// The policies that permit it.
    policies: Vec<PolicyId>,
}

impl JudgedLine {
    /// Whether the line has to be run by the shell as which it was read, whatever the person's own is.
    pub fn takes_the_modelled_shell(&self) -> bool {
        matches!(self, Self::Each(_))
    }

    /// Each command, where they were looked at.
    pub fn each(&self) -> &[JudgedCommand] {
        match self {
            Self::Any(_) => &[],
            Self::Each(each) => each,
        }
    }

    /// The policies that permit any of it.
    pub(super) fn policies(&self) -> impl Iterator<Item = &PolicyId> {
        let (any, each) = match self {
            Self::Any(policies) => (policies.as_slice(), [].as_slice()),
            Self::Each(each) => ([].as_slice(), each.as_slice()),
        };
        any.iter().chain(each.iter().flat_map(|one| &one.policies))
    }
}

impl JudgedCommand {
    /// The policies that permit it, by name.
    pub fn policy(&self) -> String {
        self.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Policy {
    /// Whether all of a line's commands may be run.
    pub(super) fn judge_line(&self, asked: &Asked<'_>, line: &[u8]) -> Result<JudgedLine, Denial> {
        let Asking { person, groups, .. } = asked.asking;
        let whole = || Action::Command { line: line.to_vec(), command: None };
        let node = asked.facts.node();
        let looks_in = self
            .scopes()
            .iter()
            .filter(|scope| scope.looks_at_command && scope.concerns(person, groups) && scope.could_be_about(node));
        let (mut looks, mut forbids) = (false, false);
        for scope in looks_in {
            looks = true;
            forbids |= !scope.permits;
        }
        if !forbids {
            match self.answer(asked, &whole()) {
                Answer::Permitted(mut policies) => {
                    policies.retain(|policy| !self.looks_at_commands(policy));
                    if !policies.is_empty() {
                        return Ok(JudgedLine::Any(policies));
                    }
                }
                Answer::Nothing if looks => {}
                refused => return Err(self.refused_command(asked, refused, None, None)),
            }
        }
        let found = match commands(line) {
            Ok(found) => found,
            Err(unsure) => {
                let why = unsure.to_string();
                let policies = self.may_run(asked, &whole(), None, Some(&why))?;
                let whole = JudgedCommand { name: String::new(), unknown: Some(why), policies };
                return Ok(JudgedLine::Each(vec![whole]));
            }
        };
        let each = found.into_iter().map(|command| {
            let (name, unknown) = (command.name.clone(), command.opaque);
            let action = Action::Command { line: line.to_vec(), command: Some(Box::new(command)) };
            let policies = self.may_run(asked, &action, Some(&name), unknown)?;
            Ok(JudgedCommand { name, unknown: unknown.map(str::to_owned), policies })
        });
        each.collect::<Result<_, _>>().map(JudgedLine::Each)
    }

    fn may_run(
        &self,
        asked: &Asked<'_>,
        action: &Action,
        name: Option<&str>,
        unknown: Option<&str>,
    ) -> Result<Vec<PolicyId>, Denial> {
        match self.answer(asked, action) {
            Answer::Permitted(policies) => Ok(policies),
            refused => Err(self.refused_command(asked, refused, name, unknown)),
        }
    }

    /// The refusal of a command; none has a name where the line was not taken apart.
    fn refused_command(&self, asked: &Asked<'_>, answer: Answer, name: Option<&str>, unknown: Option<&str>) -> Denial {
        let Asking { person, node_name, .. } = asked.asking;
        // what somebody typed, on its way to a terminal and a log
        let name = name.map(|name| plain_text_up_to(LONGEST_NAME, name));
        let what = match &name {
            Some(name) => format!("the command `{name}`"),
            None => "the commands of the line".to_owned(),
        };
        let because = unknown.map(|why| format!(" ({why}, so what it runs is unknown)")).unwrap_or_default();
        match answer {
            Answer::Failed(why) => self.failed(&why),
            Answer::Unknown(why) => self.unknown(node_name, &why),
            Answer::Forbidden(policies) => {
                let (names, said) = self.named(&policies);
                let why = match said {
                    Some(message) => format!("{message}: {what}{because}"),
                    None => format!("it forbids {what} on {node_name}{because}; {ASK}"),
                };
                Denial::new(RefusalCode::Forbidden, &names, self.version(), format_args!("{why}"))
            }
            Answer::Nothing | Answer::Permitted(_) => {
                let (code, or) = match unknown {
                    Some(_) => (RefusalCode::CommandUnknown, "write out what it runs, or "),
                    None => (RefusalCode::CommandNotListed, ""),
                };
                let why = format_args!("no policy lets {person} run {what} on {node_name}{because}; {or}{ASK}");
                Denial::new(code, DEFAULT, self.version(), why)
            }
        }
    }
}

/// As much of a name tells which it is.
const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::Grant;
    use super::super::decision::{Decision, Request};
    use super::super::policies::Policies;
    use super::*;
    use crate::identity::Identity;
    use crate::model::{NodeFacts, NodeName, ReasonText};

    const LINES: &str = "@id(\"lines\") permit (principal, action == Action::\"Exec\", resource);\n";

    fn asked(policies: &Policies, line: &str, reason: Option<&str>) -> Result<Grant, Denial> {
        let decision = policies.decide(Request {
            identity: &Identity::for_test_in("ada", &["agents"]),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: &NodeName::for_test("web-1"),
            node: &NodeFacts::named("i-0123456789abcdef0", "web-1").into(),
            os_user: None,
            action: Action::Exec { command: line.into() },
            reason: reason.and_then(ReasonText::new).as_ref(),
        });
        match decision {
            Decision::Allow(grant) => Ok(grant),
            Decision::Deny(denial) => Err(denial),
        }
    }

    fn ask(policies: &str, line: &str) -> Result<Grant, Denial> {
        asked(&Policies::new(Policy::for_test(&format!("{LINES}{policies}"))), line, None)
    }

    /// Permits commands when this holds.
    fn commands_when(name: &str, condition: &str) -> String {
        format!("@id(\"{name}\") permit (principal, action == Action::\"Command\", resource) when {{ {condition} }};\n")
    }

    fn judged(grant: &Grant) -> Vec<(&str, String)> {
        grant.commands().unwrap().each().iter().map(|one| (one.name.as_str(), one.policy())).collect()
    }

    #[test]
    fn a_line_needs_leave_for_its_commands_as_well() {
        let denial = ask("", "uptime").unwrap_err();
        assert_eq!(denial.code, RefusalCode::CommandNotListed);
        let text = "denied by policy \"default\": no policy lets ada run the commands of the line on web-1; ask whoever keeps the policies";
        assert_eq!(denial.text, text);
        // and the leave for commands is none for a line
        let commands = Policies::new(Policy::for_test(&commands_when("c", "true")));
        assert_eq!(asked(&commands, "uptime", None).unwrap_err().code, RefusalCode::NoRule);
    }

    #[test]
    fn a_line_that_nobody_looks_into_is_run_as_it_is() {
        let anything = commands_when("any", "resource.name == \"web-1\" && context.command like \"*\"");
        for line in ["eval \"$(x)\"", "'", "sudo id", ""] {
            let grant = ask(&anything, line).unwrap();
            assert!(!grant.commands().unwrap().takes_the_modelled_shell(), "{line}");
            assert_eq!((judged(&grant), grant.policy()), (Vec::new(), "any, lines".to_owned()));
        }
        // whoever looks elsewhere makes no difference
        let elsewhere = commands_when("bobs", "principal == Person::\"bob\" && context.name == \"ls\"");
        let forbids = elsewhere.replace("permit", "forbid").replace("bobs", "not-bob");
        let grant = ask(&format!("{anything}{elsewhere}{forbids}"), "eval x").unwrap();
        assert!(!grant.commands().unwrap().takes_the_modelled_shell());
    }

    #[test]
    fn each_command_needs_a_policy_of_its_own() {
        let policies = commands_when("look", "context.known && [\"df\", \"tail\"].contains(context.name)")
            + &commands_when("words", "context.words == \"sudo -n systemctl restart app\"");
        let grant = ask(&policies, "df -h | tail -1; sudo -n systemctl restart app").unwrap();
        let expected = [("df", "look"), ("tail", "look"), ("sudo", "words")];
        assert_eq!(judged(&grant), expected.map(|(name, policy)| (name, policy.to_owned())));
        assert!(grant.commands().unwrap().takes_the_modelled_shell());
        assert_eq!(grant.policy(), "lines, look, words");
        for (line, code, says) in [
            ("df; rm -r /", RefusalCode::CommandNotListed, "no policy lets ada run the command `rm` on web-1"),
            ("df >/etc/x", RefusalCode::CommandNotListed, "the command `>`"),
            (
                "sudo df",
                RefusalCode::CommandUnknown,
                "the command `sudo` on web-1 (it runs other commands, so what it runs is",
            ),
            (
                "eval df",
                RefusalCode::CommandUnknown,
                "the commands of the line on web-1 (it has a command that may change",
            ),
            ("df $(rm x)", RefusalCode::CommandNotListed, "the command `rm`"),
            ("'\u{1b}[2J\u{7}'", RefusalCode::CommandNotListed, "the command `"),
        ] {
            let denial = ask(&policies, line).unwrap_err();
            assert_eq!((denial.code, denial.policy.as_str()), (code, "default"), "{line}: {denial:?}");
            assert!(denial.text.contains(says), "{line}: {denial:?}");
            assert!(!denial.text.contains(char::is_control), "{denial:?}");
        }
    }

    #[test]
    fn what_forbids_a_command_bites_who_may_run_any() {
        let all = commands_when("all", "true");
        let no_rm = "@id(\"no-rm\") forbid (principal, action == Action::\"Command\", resource) when { context.name == \"rm\" };";
        let denial = ask(&format!("{all}{no_rm}"), "cd /; r\\m -r x").unwrap_err();
        let text = "denied by policy \"no-rm\": it forbids the command `rm` on web-1; ask whoever keeps the policies";
        assert_eq!((denial.code, denial.text.as_str()), (RefusalCode::Forbidden, text));
        let said = no_rm.replace("forbid (", "@message(\"ask first\") forbid (");
        let denial = ask(&format!("{all}{said}"), "rm x").unwrap_err();
        assert_eq!(denial.text, "denied by policy \"no-rm\": ask first: the command `rm`");
        // what goes on has to be run as it was read
        assert!(ask(&format!("{all}{no_rm}"), "ls").unwrap().commands().unwrap().takes_the_modelled_shell());
    }

    #[test]
    fn a_script_that_is_known_by_its_hash_runs_whatever_is_in_it() {
        use sha2::Digest as _;
        let script = "x=$(date); case $x in *) eval echo \"$x\";; esac";
        let hash = hex::encode(sha2::Sha256::digest(script));
        let policy = format!(
            "@id(\"known\") permit (principal, action in Action::\"Commands\", resource) when {{ context.sha256 == \"{hash}\" }};"
        );
        let policies = Policies::new(Policy::for_test(&policy));
        assert!(asked(&policies, script, None).is_ok());
        assert_eq!(asked(&policies, &format!("{script} "), None).unwrap_err().code, RefusalCode::NoRule);
    }

    #[test]
    fn what_permits_a_command_obliges() {
        let policies = commands_when("df", "context.name == \"df\"")
            + &commands_when("ps", "context.name == \"ps\"")
                .replace("permit", "@reason(\"why\") @max_duration(\"1m\") permit");
        let policies = Policies::new(Policy::for_test(&format!("{LINES}{policies}")));
        assert_eq!(asked(&policies, "df", None).unwrap().times(), (None, None));
        let denial = asked(&policies, "df; ps", None).unwrap_err();
        assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::ReasonNeeded, "ps"));
        let minute = Some(std::time::Duration::from_secs(60));
        assert_eq!(asked(&policies, "df; ps", Some("so")).unwrap().times(), (minute, None));
    }

    #[test]
    fn a_line_that_runs_as_it_is_ends_where_policies_begin_to_look() {
        let policies = Policies::new(Policy::for_test(&format!("{LINES}{}", commands_when("all", "true"))));
        let standing = asked(&policies, "ls", None).unwrap().standing();
        let identity = Identity::for_test_in("ada", &["agents"]);
        assert_eq!(standing.judge(&policies, &identity), Ok(()));
        policies.replace(Policy::for_test(&format!("{LINES}{}", commands_when("ls", "context.name == \"ls\""))));
        assert_eq!(standing.judge(&policies, &identity).unwrap_err().code, RefusalCode::CommandUnknown);
        let begun_so = asked(&policies, "ls", None).unwrap().standing();
        assert_eq!(begun_so.judge(&policies, &identity), Ok(()));
    }
}
