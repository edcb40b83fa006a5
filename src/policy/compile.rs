//! From texts to a policy that can be asked: parsed, every policy named, its annotations read, all of it validated strictly
//! against the schema. Whatever is wrong has its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use cedar_policy::{Entities, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use sha2::{Digest as _, Sha256};

use super::advice::{Named, doubt, doubt_of_realm};
use super::candidates::Candidates;
use super::decision::{Compiled, Policy};
use super::denial::{DEFAULT, PolicyVersion};
use super::obligations::Obligations;
use super::policy_text::PolicyText;
use super::scope::{PolicyScope, realms_named};
use super::usable::Opener;

/// The words of policies.
const SCHEMA: &str = include_str!("../../config/portcullis.cedarschema");

/// The schema, and the entities that its actions are. It is compiled in, so that a test knows that it is one.
static WORDS: LazyLock<Option<(Schema, Entities)>> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
    let actions = schema.action_entities().ok()?;
    Some((schema, actions))
});

/// Something wrong, or odd, with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// Which of the files, by its place in the list.
    pub file: usize,
    /// Where in its text.
    pub span: Option<Range<usize>>,
    /// A sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// It can be used all the same.
    pub is_warning: bool,
}

/// Where one policy stands.
#[derive(Clone, Debug)]
struct Place {
    file: usize,
    span: Range<usize>,
}

/// Where each of them does.
type Places = BTreeMap<PolicyId, Place>;

/// What there is so far.
#[derive(Debug, Default)]
struct Compiling {
    set: PolicySet,
    places: Places,
    obligations: BTreeMap<PolicyId, Obligations>,
    problems: Vec<PolicyProblem>,
}

impl Policy {
    /// The policies of these files, and what is odd about them; or everything that is wrong.
    pub fn compile(texts: &[PolicyText], named: &Named) -> Result<(Self, Vec<PolicyProblem>), Vec<PolicyProblem>> {
        Self::compile_with_places(texts, named).map(|(policy, problems, _)| (policy, problems))
    }

    /// What says less in these files than it seems to, each at its place; or everything that is wrong.
    pub fn lint(texts: &[PolicyText], named: &Named) -> Result<Vec<PolicyProblem>, Vec<PolicyProblem>> {
        let (policy, _, places) = Self::compile_with_places(texts, named)?;
        let told = policy.findings().into_iter().map(|finding| {
            let place = places.get(&PolicyId::new(&finding.policy));
            let (file, span) = place.map_or((0, None), |place| (place.file, Some(place.span.clone())));
            let problem = PolicyProblem::new(file, span, finding.message, Some(finding.help));
            PolicyProblem { is_warning: true, ..problem }
        });
        Ok(told.collect())
    }

    fn compile_with_places(
        texts: &[PolicyText],
        named: &Named,
    ) -> Result<(Self, Vec<PolicyProblem>, Places), Vec<PolicyProblem>> {
        let Some((schema, actions)) = WORDS.as_ref() else {
            return Err(vec![PolicyProblem::new(0, None, "the schema of policies is damaged", None)]);
        };
        let mut compiling = Compiling::default();
        for (file, text) in texts.iter().enumerate() {
            compiling.take(file, &text.text, named);
        }
        compiling.validate(schema);
        compiling.doubt_realms(texts, named);
        let Compiling { set, obligations, problems, places } = compiling;
        if problems.iter().any(|problem| !problem.is_warning) {
            return Err(problems);
        }
        let scoped = set.policies().filter_map(|policy| Some((policy.id().clone(), policy.to_pst().ok()?)));
        let bodies: Vec<_> = scoped.collect();
        let openers = bodies.iter().filter_map(|(_, policy)| Opener::of(policy.body(), actions)).collect();
        let scoped = bodies.into_iter().map(|(id, policy)| {
            let wants_second_factor = obligations.get(&id).is_some_and(|obligations| obligations.second_factor);
            let mut scope = PolicyScope::of(policy.body());
            scope.wants_second_factor = wants_second_factor;
            (id, scope)
        });
        let scoped: Vec<_> = scoped.collect();
        let lookers = scoped.iter().filter(|(_, scope)| scope.looks_at_command).map(|(id, _)| id.clone()).collect();
        let scopes = scoped.into_iter().map(|(_, scope)| scope).collect();
        let actions = actions.clone();
        let candidates = Candidates::of(set);
        let version = version(texts);
        let compiled = Compiled { candidates, actions, scopes, openers, lookers, obligations, version };
        Ok((Self::new(compiled), problems, places))
    }
}

#[cfg(test)]
impl Policy {
    /// Policies that are fine.
    pub(crate) fn for_test(text: &str) -> Self {
        let texts = [PolicyText { file: "test.cedar".to_owned(), text: text.to_owned() }];
        Self::compile(&texts, &Named::default()).unwrap_or_else(|problems| panic!("{text}: {problems:#?}")).0
    }
}

impl Compiling {
    /// Takes one file in.
    fn take(&mut self, file: usize, text: &str, named: &Named) {
        let parsed: PolicySet = match text.parse() {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                self.problems.extend(errors.iter().map(|error| PolicyProblem::of(file, None, error)));
                return;
            }
        };
        if let Some(template) = parsed.templates().next() {
            let at = template.to_cedar();
            let span = text.find(&at).map(|start| start..start + at.len());
            let help = "write it out for each: a policy is read on its own";
            let message = "templates (?principal, ?resource) are not taken";
            self.problems.push(PolicyProblem::new(file, span, message, Some(help)));
        }
        let mut from = 0;
        for number in 0..parsed.num_of_policies() {
            let Some(policy) = parsed.policy(&PolicyId::new(format!("policy{number}"))) else { continue };
            let source = policy.to_cedar().unwrap_or_default();
            let start = text.get(from..).and_then(|rest| rest.find(&source)).map_or(from, |at| from + at);
            let place = Place { file, span: start..start + source.len() };
            from = place.span.end;
            self.add(policy, place, text, named);
        }
    }

    fn add(&mut self, policy: &cedar_policy::Policy, place: Place, text: &str, named: &Named) {
        let Place { file, span } = place.clone();
        let source = text.get(span.clone()).unwrap_or_default();
        let at = |needle: &str| {
            let start = source.find(needle).map_or(span.start, |at| span.start + at);
            Some(start..start + if source.contains(needle) { needle.len() } else { 0 })
        };
        let keyword = || at("permit (").filter(|span| !span.is_empty()).or_else(|| at("forbid ("));
        let Some(name) = policy.annotation("id").filter(|name| !name.is_empty() && *name != DEFAULT) else {
            let message = "this policy needs a name of its own (`default` is the refusal's)";
            let help = "write @id(\"a-name\") above it: messages and events call it so";
            self.problems.push(PolicyProblem::new(file, keyword(), message, Some(help)));
            return;
        };
        let id = PolicyId::new(name);
        match Obligations::read(policy.annotations(), policy.effect() == cedar_policy::Effect::Permit) {
            Ok(obligations) => drop(self.obligations.insert(id.clone(), obligations)),
            Err(fault) => {
                let span = at(&format!("@{}", fault.annotation));
                self.problems.push(PolicyProblem::new(file, span, fault.message, Some(&fault.help)));
            }
        }
        let mut doubted: Vec<cedar_policy::EntityUid> = Vec::new();
        for uid in policy.entity_literals() {
            if let Some(doubt) = doubt(&uid, named).filter(|_| !doubted.contains(&uid)) {
                let problem = PolicyProblem::new(file, at(&uid.to_string()), doubt.message, Some(&doubt.help));
                self.problems.push(PolicyProblem { is_warning: !doubt.is_wrong, ..problem });
                doubted.push(uid);
            }
        }
        if self.set.add(policy.new_id(id.clone())).is_err() {
            let message = format!("two policies are called `{name}`");
            self.problems.push(PolicyProblem::new(file, at(&format!("\"{name}\"")), message, None));
            return;
        }
        self.places.insert(id, place);
    }

    /// Says which realms they name that are none.
    fn doubt_realms(&mut self, texts: &[PolicyText], named: &Named) {
        for policy in self.set.policies() {
            let (Ok(body), Some(Place { file, span })) = (policy.to_pst(), self.places.get(policy.id())) else {
                continue;
            };
            let text = texts.get(*file).and_then(|text| text.text.get(span.clone())).unwrap_or_default();
            for realm in realms_named(body.body()) {
                let Some(doubt) = doubt_of_realm(&realm, named) else { continue };
                let written = format!("\"{realm}\"");
                let at = text.find(&written).map(|at| span.start + at..span.start + at + written.len());
                let problem = PolicyProblem::new(*file, at.or(Some(span.clone())), doubt.message, Some(&doubt.help));
                self.problems.push(PolicyProblem { is_warning: true, ..problem });
            }
        }
    }

    fn validate(&mut self, schema: &Schema) {
        let validated = Validator::new(schema.clone()).validate(&self.set, ValidationMode::Strict);
        let place =
            |id: &PolicyId| self.places.get(id).map_or((0, None), |place| (place.file, Some(place.span.clone())));
        for error in validated.validation_errors() {
            let (file, span) = place(error.policy_id());
            self.problems.push(PolicyProblem::of(file, span, error));
        }
        if self.problems.iter().any(|problem| !problem.is_warning) {
            // what is wrong shows as odd once more
            return;
        }
        for warning in validated.validation_warnings() {
            let (file, span) = place(warning.policy_id());
            self.problems.push(PolicyProblem { is_warning: true, ..PolicyProblem::of(file, span, warning) });
        }
    }
}

impl PolicyProblem {
    fn new(file: usize, span: Option<Range<usize>>, message: impl Into<String>, help: Option<&str>) -> Self {
        Self { file, span, message: message.into(), help: help.map(str::to_owned), is_warning: false }
    }

    /// What Cedar says, at the place that it says, or at the policy.
    fn of(file: usize, policy: Option<Range<usize>>, said: &(impl Diagnostic + ?Sized)) -> Self {
        let label = said.labels().and_then(|mut labels| labels.next());
        let span = label.as_ref().map(|label| label.offset()..label.offset() + label.len()).or(policy);
        let text = said.to_string();
        // every message begins with the policy's name, which the place says as well
        let message = text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")).map(|(_, rest)| rest);
        let message = message.unwrap_or(&text).to_owned();
        let help = said.help().map(|help| help.to_string());
        // what was expected stands in the label
        let label = label.and_then(|label| label.label().map(str::to_owned)).filter(|label| !message.contains(label));
        let message = label.map_or(message.clone(), |label| format!("{message}: {label}"));
        Self { file, span, message, help, is_warning: false }
    }
}

/// The hash of all files, in their order: their lengths and texts.
fn version(texts: &[PolicyText]) -> PolicyVersion {
    let mut hash = Sha256::new();
    for PolicyText { text, .. } in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    PolicyVersion::new(&hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_is_written_it_is_refused_or_fine(
            text in "\\PC{0,60}",
            id in "[a-z@\"() ]{0,6}",
            when in "(context|principal|resource|\\.|name|path| has |==|\"|like|\\*|&&|!|1|\\[|\\]|\\{|\\}){0,8}",
        ) {
            let written = format!("@id(\"{id}\") permit (principal, action, resource) when {{ {when} }};");
            for text in [text, written] {
                let texts = [PolicyText { file: "p.cedar".to_owned(), text }];
                match Policy::lint(&texts, &Named::default()) {
                    Ok(_) => proptest::prop_assert!(Policy::compile(&texts, &Named::default()).is_ok()),
                    Err(problems) => proptest::prop_assert!(problems.iter().any(|problem| !problem.is_warning)),
                }
            }
        }
    }
}
