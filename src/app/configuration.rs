//! The configuration's values as the parts want them: people, policies, how channels are carried.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    self, CertificateAuthority, Checks, Config, ConfigError, EnoughProofs, Fault, KeyFile, Loaded, Oidc, Overrides,
    Password, Person, PolicyFault, PolicyFile, PolicyFindings, Problem, ProofFault, ProofFiles, ProofPlace,
    RecordingWish, RoleOfPeople, SeenAs, Trust, Whose,
};
use crate::evidence::{Bounds, Keeping, Shares};
use crate::gateway::{self, SpokenWith};
use crate::identity::{
    self, Authority, Combination, EnoughFor, FirstProof, KeyLineError, LineFault, People, PeopleError, RealmRoles,
    Revocations, Role, RoleOf, Roles, SecondProof, SignIns, SourceList, SourceListError, TotpFault, authority_of_line,
    key_of_line, name_is_usable, password_is_usable,
};
use crate::model::{RealmName, RealmNameError, RoleArn, RoleArnError, SshdPorts};
use crate::policy::{Named, Policy, PolicyProblem, PolicyText};
use crate::transport::{Credential, HostKeyRules, SshdOptions, TransportOptions, UserCa};

/// What the parts say of single values.
const CHECKS: Checks = Checks {
    person: |name| name_is_usable(name).map_err(fault),
    key: |line| key_of_line(line).map_err(|error| line_fault(&error)),
    authority: |line| authority_of_line(line).map_err(|error| line_fault(&error)),
    role: |text| RoleArn::parse(text).map(drop).map_err(fault),
    realm: |name| RealmName::parse(name).map(drop).map_err(fault),
    network: |text| SourceList::networks(text).map(drop).map_err(fault),
    password: |password| password_is_usable(&password.hash, &password.from).map_err(fault),
    never_passes: gateway::never_passes,
    policies: policy_findings,
    // where the people themselves are wrong, that is said already
    never_enough: |config, files| {
        let Ok((everybody, _)) = people_and_faults(config, files) else { return Vec::new() };
        let never = |person: &Person| !everybody.could_be_enough(&person.name, &person.groups);
        config.people.iter().enumerate().filter(|(_, person)| never(person)).map(|(index, _)| index).collect()
    },
    proofs: |config, files| people_and_faults(config, files).map(|(_, faults)| faults).unwrap_or_default(),
};

/// Policies that are wrong are told with their places, and then nothing can be said of whom they are about.
fn policy_findings(files: &[PolicyFile], config: &Config) -> PolicyFindings {
    let people = &config.people;
    let meanings = || config.certificate_authorities.iter().flat_map(|authority| authority.principals.values());
    let groups = people.iter().flat_map(|person| &person.groups);
    let groups = groups.chain(meanings().flat_map(|meaning| &meaning.groups)).cloned().collect();
    let certified = config.certificate_authorities.iter().filter_map(|authority| authority.without_principals.as_ref());
    let certified = certified.chain(meanings().filter_map(|meaning| meaning.person.as_ref())).cloned();
    let named = Named {
        people: people.iter().map(|person| person.name.clone()).chain(certified).collect(),
        groups,
        others_come: config.certificate_authorities.iter().any(|authority| authority.unlisted_people)
            || config.oidc.as_ref().is_some_and(|oidc| oidc.unlisted_people),
        realms: config.realms.iter().map(|realm| realm.name.clone()).collect(),
    };
    let (policy, problems) = match Policy::compile(&texts(files), &named) {
        Ok((policy, warnings)) => (Some(policy), warnings),
        Err(problems) => (None, problems),
    };
    let may =
        |person: &Person| policy.as_ref().is_none_or(|policy| policy.permits_anything(&person.name, &person.groups));
    let unheeded = people.iter().enumerate().filter(|(_, person)| !may(person)).map(|(index, _)| index);
    PolicyFindings { faults: faults(problems), unheeded: unheeded.collect() }
}

fn faults(problems: Vec<PolicyProblem>) -> Vec<PolicyFault> {
    let one = |problem: PolicyProblem| {
        let PolicyProblem { file, span, message, help, is_warning } = problem;
        PolicyFault { file, span, fault: Fault { message, help }, is_warning }
    };
    problems.into_iter().map(one).collect()
}

fn texts(files: &[PolicyFile]) -> Vec<PolicyText> {
    let text = |file: &PolicyFile| PolicyText { file: file.path.display().to_string(), text: file.text.clone() };
    files.iter().map(text).collect()
}

fn line_fault(error: &KeyLineError) -> Fault {
    Fault { help: Some(error.help()), ..fault(error) }
}

fn fault(error: impl std::fmt::Display) -> Fault {
    Fault { message: error.to_string(), help: None }
}

/// Reads a configuration file, lays the overrides over it, and checks every value with the part that will take it.
pub fn read(file: &Path, trust: Trust, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    config::load(file, trust, overrides, &CHECKS)
}

/// Reads the files of keys, and of what is revoked, of a configuration that is in force; and says what of them can't be used.
pub(super) fn read_proofs(config: &Config) -> (ProofFiles, Vec<Problem>) {
    config::load_proofs(config, Trust::Ours, &CHECKS)
}

/// Reads files of policies alone, without a configuration: nobody is known, so no name is doubted.
pub fn read_policies(files: &[PathBuf]) -> Result<Loaded, ConfigError> {
    config::load_policies(files, |files| {
        let problems = match Policy::compile(&texts(files), &Named::default()) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        faults(problems.into_iter().filter(|problem| !problem.is_warning).collect())
    })
}

/// What says less, in the policies of what was read and in the roles of people beside them, than it seems to.
pub fn lint(file: &Path, loaded: &Loaded, policy: &Policy) -> Vec<Problem> {
    let found = Policy::lint(&texts(&loaded.policies), &Named::default()).unwrap_or_default();
    let mut odd = config::odd(faults(found), &loaded.policies);
    odd.extend(idle_roles(&loaded.config, policy).map(|(role, whose)| {
        let message = format!("{role} is of no use: no policy permits {whose} anything");
        let help = "write a policy for those whose role it is, or take the role out";
        Problem::with_file(file, message, help).warning()
    }));
    odd
}

/// The roles of people whom no policy lets do anything, and whose they are.
fn idle_roles<'a>(config: &'a Config, policy: &'a Policy) -> impl Iterator<Item = (&'a str, String)> {
    let groups_of = move |name: &str| {
        let known = config.people.iter().find(|person| person.name == name);
        known.map(|person| person.groups.clone()).unwrap_or_default()
    };
    let person = move |name: &str| match name {
        // everybody is somebody
        "*" => policy.permits_somebody(),
        name => policy.permits_anything(name, &groups_of(name)),
    };
    let group = move |name: &String| {
        let mut members = config.people.iter().filter(|person| person.groups.contains(name));
        policy.permits_anything("", std::slice::from_ref(name))
            || members.any(|member| policy.permits_anything(&member.name, &member.groups))
    };
    let idle = config
        .realms
        .iter()
        .flat_map(|realm| &realm.roles)
        .filter(move |role| !(role.people.iter().any(|name| person(name)) || role.groups.iter().any(&group)));
    idle.map(|role| {
        let whose: Vec<&str> = role.people.iter().chain(&role.groups).map(String::as_str).collect();
        (role.role.as_str(), whose.join(", "))
    })
}

/// The policies of what was read.
pub fn policy_of(loaded: &Loaded) -> Result<Policy, ConfigError> {
    policy(&loaded.policies).map_err(|error| {
        let file = loaded.policies.first().map_or(Path::new(""), |file| &file.path);
        Problem::with_file(file, error.to_string(), "").help(None).into()
    })
}

/// Who may log in, and who they are in AWS.
pub(super) fn people(config: &Config, files: &ProofFiles) -> Result<People, PeopleFault> {
    let (people, _) = people_and_faults(config, files)?;
    Ok(people.in_roles(roles(config)?))
}

/// The same, with the lines of files that prove nothing.
fn people_and_faults(config: &Config, files: &ProofFiles) -> Result<(People, Vec<ProofFault>), PeopleError> {
    let people = People::new(config.people.iter().map(|person| (person.name.as_str(), person.keys.as_slice())))?;
    let people = people.in_groups(config.people.iter().map(|person| (person.name.as_str(), person.groups.as_slice())));
    let remembered = Duration::from_secs(60 * u64::from(config.second_factor.remembered_minutes));
    let people = people.with_enough(config.proofs.iter().map(enough).collect(), remembered);
    let people = match &config.oidc {
        Some(Oidc { issuer, unlisted_people, .. }) => {
            let (issuer, unlisted_people) = (issuer.clone(), *unlisted_people);
            people.who_sign_in(SignIns { issuer, unlisted_people })
        }
        None => people,
    };
    let mut faults = Vec::new();
    let mut people = people.but(revoked(files, None, &mut faults));
    for person in &config.people {
        if let Some(Password { hash, from }) = &person.password {
            people
                .add_password(&person.name, hash, from)
                .map_err(|why| PeopleError::Password { person: person.name.clone(), why })?;
        }
    }
    let mut authorities = Vec::new();
    for (index, configured) in config.certificate_authorities.iter().enumerate() {
        let revoked = revoked(files, Some(index), &mut faults);
        let authority = Arc::new(authority(configured, revoked));
        for (number, key) in configured.keys.iter().enumerate() {
            people.add_authority_key(&authority, key).map_err(|why| {
                let authority = configured.name.clone();
                PeopleError::Authority { authority, number: number + 1, why }
            })?;
        }
        authorities.push(authority);
    }
    for (file, KeyFile { whose, content, .. }) in files.keys.iter().enumerate() {
        let Some(content) = content else { continue };
        let found = match *whose {
            Whose::Person(index) => config.people.get(index).map(|person| people.add_file(&person.name, content)),
            Whose::Authority(index) => {
                authorities.get(index).map(|authority| people.add_authority_file(authority, content))
            }
        };
        let found = found.into_iter().flatten();
        let file = ProofPlace::Keys(file);
        faults.extend(found.map(|LineFault { line, why }| {
            let (line, fault) = (Some(line), line_fault(&why));
            ProofFault { file, line, fault }
        }));
    }
    let secrets = files.secrets.as_ref().and_then(|file| file.content.as_ref());
    let found = secrets.map(|content| people.add_secrets(content)).unwrap_or_default();
    faults.extend(found.into_iter().map(|TotpFault { line, why }| {
        let fault = Fault { help: Some("such as: ada JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".to_owned()), ..fault(why) };
        ProofFault { file: ProofPlace::Secrets, line: Some(line), fault }
    }));
    Ok((people, faults))
}

fn enough(rule: &EnoughProofs) -> EnoughFor {
    let combination = |combination: &config::Combination| {
        use config::Combination as Word;
        let (first, second) = match combination {
            Word::Key => (FirstProof::Key, None),
            Word::Certificate => (FirstProof::Certificate, None),
            Word::Password => (FirstProof::Password, None),
            Word::PasswordAndTotp => (FirstProof::Password, Some(SecondProof::Totp)),
            Word::Oidc => (FirstProof::SignIn, None),
            Word::KeyAndTotp => (FirstProof::Key, Some(SecondProof::Totp)),
            Word::CertificateAndTotp => (FirstProof::Certificate, Some(SecondProof::Totp)),
            Word::OidcAndTotp => (FirstProof::SignIn, Some(SecondProof::Totp)),
            Word::KeyAndOidc => (FirstProof::Key, Some(SecondProof::SignIn)),
            Word::CertificateAndOidc => (FirstProof::Certificate, Some(SecondProof::SignIn)),
        };
        Combination { first, second }
    };
    let EnoughProofs { people, groups, enough } = rule.clone();
    EnoughFor { people, groups, enough: enough.iter().map(combination).collect() }
}

/// The lists of an authority, or of everybody; one that is wrong counts as if it revoked everything.
fn revoked(files: &ProofFiles, of: Option<usize>, faults: &mut Vec<ProofFault>) -> Revocations {
    let mut revocations = Revocations::default();
    for (index, file) in files.revoked.iter().enumerate().filter(|(_, file)| file.authority == of) {
        if let Err(error) = revocations.add_file(file.content.as_deref()) {
            let fault = Fault { help: Some(error.help()), ..fault(&error) };
            faults.push(ProofFault { file: ProofPlace::Revoked(index), line: error.line(), fault });
        }
    }
    revocations
}

fn authority(configured: &CertificateAuthority, revoked: Revocations) -> Authority {
    let meaning = |config::Principal { person, groups }: &config::Principal| {
        let (person, groups) = (person.clone(), groups.clone());
        identity::Principal { person, groups }
    };
    let principals = configured.principals.iter().map(|(name, principal)| (name.clone(), meaning(principal)));
    Authority {
        name: configured.name.clone(),
        principals: principals.collect(),
        unlisted_people: configured.unlisted_people,
        without_principals: configured.without_principals.clone(),
        requires: configured.require.iter().map(|option| option.name()).collect(),
        longest: configured.longest_hours.map(|hours| Duration::from_secs(3600 * u64::from(hours))),
        outlived: configured.sessions_outlive_certificates,
        revoked,
    }
}

/// With which clients other algorithms are spoken.
pub(super) fn spoken_with(gateway: &config::Gateway) -> Result<Vec<SpokenWith>, SourceListError> {
    let one = |some: &config::AlgorithmsFor| {
        let config::AlgorithmsFor { algorithms, from, listen } = some.clone();
        let from = if from.is_empty() { None } else { Some(SourceList::of_networks(&from)?) };
        Ok(SpokenWith { algorithms, from, listeners: listen })
    };
    gateway.algorithms_for.iter().map(one).collect()
}

/// Who may say for whom they connect.
pub(super) fn balancers(gateway: &config::Gateway) -> Result<Option<SourceList>, SourceListError> {
    let from = &gateway.proxy_protocol.from;
    if from.is_empty() { Ok(None) } else { SourceList::of_networks(from).map(Some) }
}

/// What a realm is called.
pub fn realm_name(realm: &config::Realm) -> Result<RealmName, RealmFault> {
    RealmName::parse(&realm.name).map_err(|error| RealmFault { name: realm.name.clone(), error })
}

/// A realm whose name is none.
#[derive(Debug, thiserror::Error)]
#[error("{name:?}: {error}")]
pub struct RealmFault {
    name: String,
    error: RealmNameError,
}

fn roles(config: &Config) -> Result<RealmRoles, PeopleFault> {
    let of = |realm: &config::Realm| -> Result<_, PeopleFault> { Ok((realm_name(realm)?, roles_of(realm)?)) };
    Ok(RealmRoles::new(config.realms.iter().map(of).collect::<Result<Vec<_>, _>>()?))
}

fn roles_of(realm: &config::Realm) -> Result<Roles, PeopleFault> {
    if realm.identity == SeenAs::Gateway {
        return Ok(Roles::Gateway);
    }
    let role_of = |role: &RoleOfPeople| {
        let RoleOfPeople { role: arn, people, groups, external_id, minutes, web_identity } = role.clone();
        let read = |arn: String| RoleArn::parse(&arn).map_err(|error| PeopleFault::Role { arn, error });
        let role = Role {
            arn: read(arn)?,
            web_identity: web_identity.map(read).transpose()?,
            external_id,
            duration: Duration::from_secs(60 * u64::from(minutes)),
        };
        Ok(RoleOf { people, groups, role: Arc::new(role) })
    };
    Ok(Roles::OfPeople(realm.roles.iter().map(role_of).collect::<Result<_, PeopleFault>>()?))
}

/// What is wrong with the people of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum PeopleFault {
    /// A name or a key.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// A realm.
    #[error(transparent)]
    Realm(#[from] RealmFault),
    /// A role.
    #[error("{arn:?}: {error}")]
    Role {
        /// As it is written.
        arn: String,
        /// What is wrong with it.
        error: RoleArnError,
    },
}

/// What they may do.
pub(super) fn policy(files: &[PolicyFile]) -> Result<Policy, PolicyError> {
    let compiled = Policy::compile(&texts(files), &Named::default());
    let (policy, _) = compiled.map_err(|problems| {
        let first = problems.into_iter().find(|problem| !problem.is_warning);
        PolicyError(first.map_or_else(String::new, |problem| problem.message))
    })?;
    Ok(policy)
}

/// Policies that can't be used. Whoever read them with [`read`] knows better what is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("the policies can't be used: {0}")]
pub struct PolicyError(String);

/// What those who cause events may fill of the log.
pub(super) fn evidence_bounds(config: &Config) -> Bounds {
    let evidence = &config.evidence;
    let (session, person, strangers) = (evidence.session_bytes, evidence.person_bytes, evidence.stranger_bytes);
    Bounds {
        shares: Shares { session, person, strangers }.of(evidence.max_bytes),
        questions_a_minute: evidence.questions_a_minute,
        keeping: Keeping {
            required: evidence.recording != RecordingWish::BestEffort,
            folders: evidence.recording != RecordingWish::Journal,
            output_head: usize::try_from(evidence.output_head_bytes).unwrap_or(usize::MAX),
            shares: Shares {
                session: evidence.session_recording_bytes,
                person: evidence.person_recording_bytes,
                strangers: 0,
            },
        },
    }
}

/// How channels are carried.
pub(super) fn transport_options(config: &Config, user_ca: Option<UserCa>) -> Result<TransportOptions, RealmFault> {
    let replaced = config.realms.iter().filter(|realm| realm.evidence_replaces_agent_logging).map(realm_name);
    let (lanes, limits) = (&config.lanes, &config.limits);
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    Ok(TransportOptions {
        helper: lanes.helper,
        compress: lanes.compress,
        rung: lanes.rung,
        rung_by_realm: config
            .realms
            .iter()
            .filter_map(|realm| Some((realm_name(realm), realm.via?)))
            .map(|(name, via)| Ok((name?, via)))
            .collect::<Result<_, _>>()?,
        sshd: SshdOptions {
            credential: user_ca.map(Credential::UserCa),
            user: config.sshd.user.clone(),
            port: config.sshd.port,
            host_keys: Arc::new(HostKeyRules::new(config.sshd.known_hosts.clone(), config.node_host_keys_path())),
        },
        payload: size(lanes.frame_bytes),
        shell: lanes.shell,
        channels_per_node: size(lanes.channels_per_node),
        channels_per_person: size(lanes.channels_per_person_on_a_node),
        forward: lanes.forward,
        agent_looks_names_up: lanes.agent_looks_names_up,
        sshd_ports: SshdPorts::new(config.all_sshd_ports()),
        evidence_replaces_logging: replaced.collect::<Result<_, _>>()?,
        idle_limit: (lanes.idle_minutes > 0).then(|| Duration::from_secs(60 * u64::from(lanes.idle_minutes))),
        output_bytes: bytes(limits.buffered_bytes),
        output_bytes_per_person: bytes(limits.buffered_bytes_per_person),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::identity::Identity;
    use crate::model::{NodeFacts, NodeName};
    use crate::policy::{Action, Decision, Policies, Request};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice";

    fn problem(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("g.toml");
        std::fs::write(&file, text).unwrap();
        let error = read(&file, Trust::Anybodys, &Overrides::default()).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn what_the_parts_say_of_a_value_has_its_place() {
        let text = problem("[[people]]\nname = \"alice\"\nkeys = [\"ssh-dss AAAA\"]\n\n[lanes]\nframe_bytes = 5\n");
        assert!(text.contains("g.toml:3:9: `ssh-dss` is no key type"), "{text}");
        assert!(text.contains("g.toml:6:15:"), "{text}");
    }

    #[test]
    fn a_name_that_no_login_could_carry_is_a_problem_with_a_place() {
        let text = problem(&format!("[[people]]\nname = \"Ada Lovelace\"\nkeys = [\"{KEY}\"]\n"));
        assert!(text.starts_with("g.toml:2:8: person \"Ada Lovelace\": a name is 1 to 64 letters"), "{text}");
    }

    fn policies(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/p.cedar"), text).unwrap();
        let people = format!(
            "[[people]]\nname = \"alice\"\ngroups = [\"ops\"]\nkeys = [\"{KEY}\"]\n\
             [[realms]]\nname = \"main\"\n[[realms.roles]]\nrole = \"arn:aws:iam::123456789012:role/r\"\ngroups = [\"ops\"]\n"
        );
        std::fs::write(dir.path().join("g.toml"), people).unwrap();
        let said = match read(&dir.path().join("g.toml"), Trust::Anybodys, &Overrides::default()) {
            Ok(loaded) => loaded.warnings,
            Err(error) => error.problems,
        };
        let said: Vec<String> = said.iter().map(|problem| format!("{problem} ({:?})", problem.help)).collect();
        said.join("\n").replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn what_is_wrong_with_a_policy_has_its_place_and_the_nearest_word() {
        let mut wrong = Vec::new();
        for (text, at, says) in [
            (
                "@id(\"a\") permit (principal, action == Action::\"Shel\", resource);",
                "1:39",
                "did you mean `Action::\\\"Shell\\\"`?",
            ),
            (
                "@id(\"a\") permit (principal, action, resource)\nwhen { resource.nam == \"x\" };",
                "2:8",
                "did you mean `name`?",
            ),
            (
                "@id(\"a\")\n@max_durration(\"8h\") permit (principal, action, resource);",
                "2:1",
                "did you mean `max_duration`?",
            ),
            ("permit (principal, action, resource);", "1:1", "write @id"),
            ("@id(\"a\") permit (principal, action, resource", "1:45", "unexpected"),
            (
                "@id(\"a\") permit (principal, action, resource == Node::\"web-1\");",
                "1:49",
                "resource.name == \\\"web-1\\\"",
            ),
            ("@id(\"a\") permit (principal == Person::\"alcie\", action, resource);", "1:31", "did you mean `alice`?"),
            ("@id(\"a\") permit (principal in Group::\"opps\", action, resource);", "1:31", "did you mean `ops`?"),
            (
                "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
                "2:5",
                "two policies are called `a`",
            ),
            ("@id(\"a\") permit (principal == ?principal, action, resource);", "1:1", "templates"),
            (
                "@id(\"a\") permit (principal, action == Action::\"Shell\", resource)\nwhen { context.reason == \"x\" };",
                "2:8",
                "reason",
            ),
        ] {
            let said = policies(text);
            let place = format!("policies/p.cedar:{at}: ");
            let right = said.lines().any(|line| line.starts_with(&place) && line.contains(says));
            wrong.extend((!right).then(|| format!("{text}\n{said}")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        let said = policies(
            "@id(\"a\") forbid (principal, action, resource)\nunless { [\"main\", \"mian\"].contains(resource.realm) };",
        );
        assert!(
            said.contains("policies/p.cedar:2:19: no realm is called `mian` (Some(\"did you mean `main`?\"))"),
            "{said}"
        );
        let said = policies("@id(\"a\") permit (principal == Person::\"bob\", action, resource);");
        assert!(said.contains("g.toml:2:8: no policy permits `alice` anything"), "{said}");
        assert_eq!(policies("@id(\"a\") permit (principal in Group::\"ops\", action, resource);"), "");
    }

    /// What a rule allowed: who, where, as whom, what; `*` is everything.
    struct OldRule(&'static [&'static str], &'static [&'static str], &'static [&'static str], &'static [&'static str]);

    const OLD_RULES: [OldRule; 5] = [
        OldRule(&["ada"], &["web-1"], &[], &["Shell", "Exec"]),
        OldRule(&["ada", "bob"], &["web-1", "i-0123456789abcdef0"], &["deploy"], &["Exec"]),
        OldRule(&["*"], &["*"], &[], &["Files"]),
        OldRule(&["bob"], &["i-0123456789abcdef0", "mi-0123456789abcdef0"], &["*"], &["*"]),
        OldRule(&["eve"], &["db \\\"1\\\""], &["root", "deploy"], &["Shell"]),
    ];

    #[test]
    fn what_replaces_rules_permits_what_they_did() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("g.toml");
        for (number, rule) in OLD_RULES.iter().enumerate() {
            let OldRule(people, nodes, users, actions) = rule;
            let list = |items: &[&str]| items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
            let text = format!(
                "[[rules]]\nname = \"r\"\npeople = [{}]\nnodes = [{}]\nos_users = [{}]\nactions = [{}]\n",
                list(people),
                list(nodes),
                list(users),
                list(actions)
            );
            std::fs::write(&file, text).unwrap();
            let refused = read(&file, Trust::Anybodys, &Overrides::default()).unwrap_err();
            let problem = &refused.problems[0];
            assert!(problem.message.starts_with("there are no [[rules]] any more"), "{refused}");
            assert_eq!(problem.line_column, Some((1, 3)));
            let (_, cedar) = problem.help.as_deref().unwrap().split_once("\n\n").unwrap();
            let policies = Policies::new(Policy::for_test(cedar));
            let has = |items: &[&str], wanted: &[&str]| items.iter().any(|item| *item == "*" || wanted.contains(item));
            let named = [("web-1", "i-0123456789abcdef0"), ("db \"1\"", "mi-0123456789abcdef0"), ("x", "i-00000000")];
            for (person, (name, id), user, action) in every(&["ada", "bob", "eve"], &named) {
                let name_in_toml = name.replace('"', "\\\"");
                let expected = has(people, &[person])
                    && has(nodes, &[&name_in_toml, id])
                    && user.is_none_or(|user| has(users, &[user]))
                    && has(actions, &[action.name()]);
                let node_name = NodeName::parse(name).unwrap();
                let decision = policies.decide(Request {
                    identity: &Identity::for_test(person),
                    source: Ipv4Addr::LOCALHOST.into(),
                    node_name: &node_name,
                    node: &NodeFacts::named(id, name).into(),
                    os_user: user,
                    action: action.clone(),
                    reason: None,
                });
                let allowed = matches!(decision, Decision::Allow(_));
                assert_eq!(allowed, expected, "rule {number}: {person}, {name}, {user:?}, {action:?}\n{cedar}");
            }
        }
    }

    type Node<'a> = (&'a str, &'a str);

    /// Everybody, everywhere, as everybody, whatever it is that rules knew.
    fn every<'a>(
        people: &'a [&'a str],
        nodes: &'a [Node<'a>],
    ) -> impl Iterator<Item = (&'a str, Node<'a>, Option<&'a str>, Action)> {
        let actions = || [Action::Shell, Action::Exec { command: b"id".to_vec() }, Action::Files];
        let of_user = move |person, node| {
            let users = [None, Some("deploy"), Some("root")].into_iter();
            users.flat_map(move |user| actions().map(|action| (person, node, user, action)))
        };
        people.iter().flat_map(move |&person| nodes.iter().flat_map(move |&node| of_user(person, node)))
    }

    #[test]
    fn the_reference_file_is_fine_for_every_part() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.toml");
        let loaded = read(&file, Trust::Anybodys, &Overrides::default()).unwrap();
        let Loaded { config, policies, proofs, warnings, unusable } = loaded;
        assert!(warnings.is_empty() && unusable.is_empty(), "{warnings:?} {unusable:?}");
        assert!(people(&config, &proofs).is_ok() && policy(&policies).is_ok_and(|policy| policy.count() > 0));
    }
}
