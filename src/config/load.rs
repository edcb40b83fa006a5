//! Reading the file, laying the environment and the flags over it, and finding the place of what is wrong.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::check::{Checks, Finding, Key, PolicyFault, PolicyFindings, check};
use super::file::PolicyFiles;
use super::policy_files::{self, PolicyFile};
use super::proof_files::{self, ProofFiles};
use super::warn::warnings;
use super::{Config, ConfigError, Problem, ownership, retired, words};

/// What may be set outside the file. Each has a flag and one environment variable; a flag wins over its variable, and
/// both over the file. The list is short on purpose: everything else is in the file, where it can be reviewed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// An address that `serve` listens on (may be given several times; port 0 takes a free one)
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_LISTEN", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// The AWS region of the realm, where there is one
    #[arg(long, value_name = "NAME", env = "PORTCULLIS_REGION")]
    pub region: Option<String>,
    /// The realm's profile in the shared AWS configuration, where there is one realm
    #[arg(long, value_name = "NAME", env = "PORTCULLIS_PROFILE")]
    pub profile: Option<String>,
    /// The URL of Systems Manager's API, where there is one realm
    #[arg(long, value_name = "URL", env = "PORTCULLIS_ENDPOINT_SSM")]
    pub endpoint_ssm: Option<String>,
    /// A PEM file with the only certificate authorities to trust for AWS, where there is one realm
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CA_BUNDLE")]
    pub ca_bundle: Option<PathBuf>,
    /// The directory of the event log
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_EVIDENCE_DIR")]
    pub evidence_dir: Option<PathBuf>,
}

impl Overrides {
    fn apply(&self, config: &mut Config) {
        if !self.listen.is_empty() {
            config.gateway.listen.clone_from(&self.listen);
        }
        if let [realm] = &mut config.realms[..] {
            replace(&mut realm.region, &self.region);
            replace(&mut realm.profile, &self.profile);
            replace(&mut realm.endpoints.ssm, &self.endpoint_ssm);
            replace(&mut realm.ca_bundle, &self.ca_bundle);
        }
        if let Some(directory) = &self.evidence_dir {
            config.evidence.directory.clone_from(directory);
        }
    }

    /// Those of a realm, where it can't be told of which.
    fn of_no_realm(&self, config: &Config) -> Vec<&'static str> {
        let of_one = [
            (self.region.is_some(), "--region or PORTCULLIS_REGION"),
            (self.profile.is_some(), "--profile or PORTCULLIS_PROFILE"),
            (self.endpoint_ssm.is_some(), "--endpoint-ssm or PORTCULLIS_ENDPOINT_SSM"),
            (self.ca_bundle.is_some(), "--ca-bundle or PORTCULLIS_CA_BUNDLE"),
        ];
        let given = of_one.into_iter().filter(|(is_given, _)| *is_given && config.realms.len() > 1);
        given.map(|(_, name)| name).collect()
    }

    /// What a value was given by, where the file has no place to point at. Of those above only this one can be wrong.
    fn origin(&self, path: &[Key]) -> Option<&'static str> {
        match path {
            [Key::Name("realms"), _, Key::Name("endpoints"), Key::Name("ssm")] if self.endpoint_ssm.is_some() => {
                Some("--endpoint-ssm or PORTCULLIS_ENDPOINT_SSM")
            }
            _ => None,
        }
    }
}

fn replace<T: Clone>(target: &mut Option<T>, value: &Option<T>) {
    if value.is_some() {
        target.clone_from(value);
    }
}

/// A configuration that can be used, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// What people may do.
    pub policies: Vec<PolicyFile>,
    /// The keys that are in files of their own.
    pub proofs: ProofFiles,
    /// Things that are allowed and probably not meant.
    pub warnings: Vec<Problem>,
    /// Files of keys, and lines of them, that can't be used and prove nothing. All else holds.
    pub unusable: Vec<Problem>,
}

/// Whose a file must be to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody but root and this user may be able to change it: it says who gets in.
    Ours,
    /// Anybody's: it is only looked at.
    Anybodys,
}

/// Reads a configuration file, lays the overrides over it and checks the result, with the help of whoever will take
/// the values. Paths in the file are relative to it.
pub fn load(path: &Path, trust: Trust, overrides: &Overrides, checks: &Checks) -> Result<Loaded, ConfigError> {
    let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
    if trust == Trust::Ours {
        ownership::check(path, &file)?;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    let mut loaded = parse(path, &text, trust, overrides, checks)?;
    let has_passwords = loaded.config.people.iter().any(|person| person.password.is_some());
    if trust == Trust::Ours && has_passwords && file.metadata().is_ok_and(|found| found.mode() & 0o004 != 0) {
        let message = "every user of this machine can read the hashes of passwords in it, and try passwords on them";
        loaded.warnings.push(Problem::with_file(path, message, format!("chmod o-r {}", path.display())).warning());
    }
    Ok(loaded)
}

/// Reads files of policies alone, and has them checked.
pub fn load_policies(
    paths: &[PathBuf],
    check: impl Fn(&[PolicyFile]) -> Vec<PolicyFault>,
) -> Result<Loaded, ConfigError> {
    let named = PolicyFiles { directory: None, files: paths.to_vec() };
    let policies = policy_files::read(&named, Trust::Anybodys)?;
    let (problems, warnings) = told(check(&policies), &policies);
    let config = Config::default();
    if problems.is_empty() {
        let (proofs, unusable) = Default::default();
        Ok(Loaded { config, policies, proofs, warnings, unusable })
    } else {
        Err(ConfigError { problems, warnings })
    }
}

/// What is only odd about policies, at its places.
pub fn odd(faults: Vec<PolicyFault>, policies: &[PolicyFile]) -> Vec<Problem> {
    told(faults, policies).1
}

/// Reads the files of keys, and of what is revoked, that a configuration names, and says what of them can't be used.
pub fn load_proofs(config: &Config, trust: Trust, checks: &Checks) -> (ProofFiles, Vec<Problem>) {
    let (proofs, mut unusable) = proof_files::read(config, trust);
    unusable.extend(proof_files::told((checks.proofs)(config, &proofs), &proofs));
    (proofs, unusable)
}

/// The secret by which the provider knows the gateway, where there is one.
pub fn client_secret(config: &Config, trust: Trust) -> Result<Option<Zeroizing<String>>, ConfigError> {
    let path = config.oidc.as_ref().and_then(|oidc| oidc.client_secret_file.as_ref());
    path.map(|path| proof_files::client_secret(path, trust)).transpose()
}

/// What was found in policies, at its places: the problems, and what is only odd.
fn told(faults: Vec<PolicyFault>, policies: &[PolicyFile]) -> (Vec<Problem>, Vec<Problem>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for PolicyFault { file, span, fault, is_warning } in faults {
        let Some(PolicyFile { path, text }) = policies.get(file) else { continue };
        let problem = Problem::at(path, text, span, fault.message).help(fault.help);
        match is_warning {
            true => warnings.push(problem.warning()),
            false => problems.push(problem),
        }
    }
    (problems, warnings)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let help = match error.kind() {
        io::ErrorKind::NotFound => {
            "give the file with --config FILE; config/gateway.toml of the source tree explains every key"
        }
        io::ErrorKind::PermissionDenied => {
            "run it as the gateway's user (sudo -u portcullis portcullis …), or give a copy that you can read with --config FILE"
        }
        io::ErrorKind::IsADirectory => "give the file in it, such as gateway.toml",
        io::ErrorKind::InvalidData => "TOML is UTF-8 text; save the file as that",
        _ => "see that the file can be read",
    };
    Problem::with_file(path, format!("the configuration can't be read: {}", in_words(error)), help)
}

/// Without the number that Rust puts behind it.
pub(super) fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The same for a text that was read already.
fn parse(path: &Path, text: &str, trust: Trust, overrides: &Overrides, checks: &Checks) -> Result<Loaded, ConfigError> {
    let tree = toml::de::DeTable::parse(text).ok();
    if let Some(retired) = tree.as_ref().and_then(|tree| retired::find(tree.get_ref(), text)) {
        return Err(Problem::at(path, text, Some(retired.span), retired.message).help(Some(retired.help)).into());
    }
    let mut config: Config = toml::from_str(text).map_err(|error| {
        let said = words::said(error.message());
        Problem::at(path, text, error.span(), said.message).help(said.help)
    })?;
    anchor(&mut config, path.parent().unwrap_or(Path::new("")));
    overrides.apply(&mut config);
    let policies = policy_files::read(&config.policy, trust)?;
    let placed = |findings: Vec<Finding>| -> Vec<Problem> {
        let placed = findings.into_iter().map(|finding| {
            if let Some(origin) = overrides.origin(&finding.path) {
                let help = format!("it was given by {origin}, not in the file");
                return Problem::with_file(path, finding.message, help);
            }
            let span = tree.as_ref().and_then(|tree| find(tree, &finding.path));
            Problem::at(path, text, span, finding.message).help(finding.help)
        });
        placed.collect()
    };
    let mut problems = placed(check(&config, checks));
    problems.extend(overrides.of_no_realm(&config).into_iter().map(|origin| {
        let message = format!("{origin} is for a gateway with one realm, and this one has {}", config.realms.len());
        Problem::with_file(path, message, "leave it out, and write what it says under its [[realms]]")
    }));
    let PolicyFindings { faults, unheeded } = (checks.policies)(&policies, &config);
    let (proofs, unusable) = load_proofs(&config, trust, checks);
    let never = (checks.never_enough)(&config, &proofs);
    let found = placed(warnings(&config, &policies, (&unheeded, &never), checks).0);
    let mut warnings: Vec<Problem> = found.into_iter().map(Problem::warning).collect();
    let (wrong, odd) = told(faults, &policies);
    problems.extend(wrong);
    warnings.extend(odd);
    if problems.is_empty() {
        Ok(Loaded { config, policies, proofs, warnings, unusable })
    } else {
        Err(ConfigError { problems, warnings })
    }
}

/// Makes the file's relative paths relative to the file.
fn anchor(config: &mut Config, base: &Path) {
    let gateway = &mut config.gateway;
    let paths = gateway
        .host_keys
        .iter_mut()
        .chain(&mut gateway.host_certificates)
        .chain(&mut gateway.legacy_host_keys)
        .chain(&mut gateway.host_ca);
    let policy = &mut config.policy;
    let paths = paths.chain(&mut policy.directory).chain(&mut policy.files);
    let paths = paths.chain(config.people.iter_mut().flat_map(|person| &mut person.keys_from));
    let paths = paths.chain(config.certificate_authorities.iter_mut().flat_map(|authority| {
        let keys = &mut authority.keys_from;
        keys.iter_mut().chain(&mut authority.revoked)
    }));
    let sshd = &mut config.sshd;
    let paths = paths.chain(&mut sshd.user_ca).chain(&mut sshd.host_keys).chain(&mut sshd.known_hosts);
    let paths = paths.chain(&mut config.revocation.files).chain(&mut config.second_factor.totp_secrets);
    let paths = paths.chain(config.oidc.iter_mut().flat_map(|oidc| {
        let secret = &mut oidc.client_secret_file;
        secret.iter_mut().chain(&mut oidc.ca_bundle)
    }));
    let paths = paths.chain(config.evidence.sinks.syslog.iter_mut().flat_map(|syslog| {
        let files = [&mut syslog.ca_file, &mut syslog.certificate_file, &mut syslog.key_file];
        files.into_iter().flatten()
    }));
    let bundles = config.realms.iter_mut().flat_map(|realm| &mut realm.ca_bundle);
    for path in paths.chain(bundles).chain([&mut config.evidence.directory]) {
        *path = base.join(&*path);
    }
}

/// Where a value is in the text: as far down its path as the text goes.
fn find(tree: &toml::Spanned<toml::de::DeTable<'_>>, path: &[Key]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let Key::Name(name) = first else { return None };
    let mut value = tree.get_ref().iter().find(|(key, _)| key.get_ref().as_ref() == *name)?.1;
    for key in rest {
        let next = match (key, value.get_ref()) {
            (Key::Name(name), toml::de::DeValue::Table(table)) => {
                table.iter().find(|(key, _)| key.get_ref().as_ref() == *name).map(|(_, value)| value)
            }
            (Key::Index(index), toml::de::DeValue::Array(array)) => array.get(*index),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    Some(value.span())
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, Realm};
    use super::*;

    /// Parts that find nothing wrong, but for one word.
    const CHECKS: Checks = Checks {
        person: plain,
        key: |text| plain(text).map(|()| text.into()),
        authority: |text| plain(text).map(|()| text.into()),
        role: plain,
        realm: plain,
        network: plain,
        password: |_| Ok(()),
        never_passes: |pattern| pattern == "LD_*",
        never_enough: |_, _| Vec::new(),
        policies: |_, _| PolicyFindings::default(),
        proofs: |_, _| Vec::new(),
    };

    const REALM: &str = "[[realms]]\nname = \"main\"\n";

    fn plain(text: &str) -> Result<(), Fault> {
        match text {
            "wrong" => Err(Fault { message: "`wrong` is wrong".to_owned(), help: Some("write another".to_owned()) }),
            _ => Ok(()),
        }
    }

    fn read(text: &str) -> Result<Config, ConfigError> {
        parse(Path::new("g.toml"), text, Trust::Anybodys, &Overrides::default(), &CHECKS).map(|loaded| loaded.config)
    }

    fn problem(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn the_reference_file_is_the_defaults() {
        let text = include_str!("../../config/gateway.toml");
        let config = read(text).unwrap();
        let mut kept = serde_json::to_value(&config).unwrap();
        // the file shows people, and a realm with a role; the defaults have none
        let shown = Realm { roles: Vec::new(), ..config.realms[0].clone() };
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            serde_json::to_value(Realm { name: "main".to_owned(), ..Realm::default() }).unwrap()
        );
        kept["people"] = serde_json::json!([]);
        kept["realms"] = serde_json::json!([]);
        assert_eq!(kept, serde_json::to_value(Config::default()).unwrap());
    }

    #[test]
    fn the_reference_file_names_every_key() {
        let text = include_str!("../../config/gateway.toml");
        let mut tree = serde_json::to_value(Config::default()).unwrap();
        tree["realms"] = serde_json::to_value(Realm::default()).unwrap();
        for (section, keys) in tree.as_object().unwrap() {
            for key in keys.as_object().into_iter().flatten().map(|(key, _)| key) {
                let named = text.lines().any(|line| {
                    let line = line.trim_start_matches(['#', ' ']);
                    line.starts_with(&format!("{key} ="))
                        || line == format!("[{section}.{key}]")
                        || line == format!("[[{section}.{key}]]")
                });
                assert!(named, "config/gateway.toml does not explain {section}.{key}");
            }
        }
    }

    #[test]
    fn a_misspelt_key_has_its_place_and_a_suggestion() {
        let error = read("[gateway]\nlistn = []\n").unwrap_err();
        assert_eq!(error.problems[0].line_column, Some((2, 1)));
        assert_eq!(error.problems[0].help.as_deref(), Some("did you mean `listen`?"));
        assert!(error.to_string().starts_with("g.toml:2:1: there is no `listn` here"), "{error}");
        assert!(error.render(false).contains("listn = []"), "{}", error.render(false));
    }

    #[test]
    fn a_wrong_type_has_its_place() {
        assert!(
            problem("[lanes]\nframe_bytes = \"big\"\n")
                .starts_with("g.toml:2:15: the text \"big\" is here, where a whole")
        );
    }

    #[test]
    fn what_serde_cannot_see_has_its_place_too() {
        let text = "[[people]]\nname = \"alice\"\nkeys = [\"wrong\"]\n\n[lanes]\nframe_bytes = 5\n";
        let text = problem(text);
        assert!(text.contains("g.toml:3:9:"), "{text}");
        assert!(text.contains("g.toml:6:15:"), "{text}");
    }

    #[test]
    fn flags_win_over_the_file_and_paths_are_relative_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.toml");
        std::fs::write(&path, "[[realms]]\nname = \"main\"\nregion = \"eu-west-1\"\n[evidence]\ndirectory = \"log\"\n")
            .unwrap();
        let overrides = Overrides { region: Some("eu-central-1".to_owned()), ..Overrides::default() };
        let config = load(&path, Trust::Anybodys, &overrides, &CHECKS).unwrap().config;
        assert_eq!(config.realms[0].region.as_deref(), Some("eu-central-1"));
        assert_eq!(config.evidence.directory, dir.path().join("log"));
    }

    #[test]
    fn what_is_checked_is_what_will_be_used() {
        let text = "[gateway]\nlisten = []\n[[realms]]\nname = \"main\"\n[realms.endpoints]\nssm = \"https://vpce.example.com\"\n";
        let listen = Overrides { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Overrides::default() };
        assert_eq!(
            parse(Path::new("g.toml"), text, Trust::Anybodys, &listen, &CHECKS).unwrap().config.gateway.listen,
            listen.listen
        );
        let wrong = Overrides { endpoint_ssm: Some("ftp://x".to_owned()), ..listen };
        let error = parse(Path::new("g.toml"), text, Trust::Anybodys, &wrong, &CHECKS).unwrap_err();
        assert!(error.to_string().contains("`ftp://x` is no URL"), "{error}");
        // the file says something else there, and nothing wrong
        assert_eq!(error.problems[0].line_column, None);
        assert!(error.problems[0].help.as_deref().is_some_and(|help| help.contains("--endpoint-ssm")), "{error}");
    }

    #[test]
    fn what_is_probably_not_meant_is_a_warning() {
        let warned = |text: &str| {
            let text = format!("{text}{REALM}");
            let loaded = parse(Path::new("g.toml"), &text, Trust::Anybodys, &Overrides::default(), &CHECKS).unwrap();
            loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let empty = warned("");
        assert!(empty[0].contains("nobody can log in") && empty[1].contains("nobody may do anything"), "{empty:?}");
        let people = "[[people]]\nname = \"ada\"\nkeys = [\"key\"]\n[[people]]\nname = \"bob\"\nkeys = []\n";
        assert!(warned(people)[0].contains("`bob` has no key"), "{:?}", warned(people));
        let accept = warned(&format!("{people}[environment]\naccept = [\"LANG\", \"*\", \"LD_*\"]\n"));
        assert!(accept[2].starts_with("g.toml:8:19: every variable"), "{accept:?}");
        assert!(accept[3].starts_with("g.toml:8:24: `LD_*` never passes"), "{accept:?}");
        let error = read("[environment]\naccept = [\"L*_X\"]\n").unwrap_err();
        assert!(error.to_string().contains("no variable is called `L*_X`"), "{error}");
        assert_eq!(error.warnings.len(), 2, "beside the errors");
    }

    #[test]
    fn roles_that_are_nobody_s_or_none_are_problems_and_people_without_one_are_told_of() {
        let realm = |lines: &str| format!("{REALM}{lines}\n");
        let role = |lines: &str| realm(&format!("[[realms.roles]]\nrole = \"r\"\npeople = [\"ada\"]\n{lines}"));
        for (text, says) in [
            (realm("[[realms.roles]]\nrole = \"wrong\"\npeople = [\"*\"]"), "g.toml:4:8: `wrong` is wrong"),
            (realm("[[realms.roles]]\nrole = \"r\""), "this role is nobody's"),
            (role("minutes = 5"), "g.toml:6:11: minutes = 5 is outside 15..=720"),
            (role("external_id = \"a b\""), "an external id is 2 to 1224"),
            (role("web_identity = \"r\""), "g.toml:6:16: nobody has a token for this role: there is no [oidc]"),
            (role("web_identity = \"wrong\""), "g.toml:6:16: `wrong` is wrong"),
            (role("web_identity = \"r\"\nexternal_id = \"x-1\""), "is told no external id"),
            (role("web_identity = \"first\"\nminutes = 61"), "g.toml:7:11: AWS gives a role that another one assumes"),
            (realm("[[realms.roles]]\npeople = [\"ada\"]"), "`role` is missing here"),
            (realm("identity = \"persons\""), "there is no `persons` here"),
        ] {
            let said = problem(&text);
            assert!(said.contains(says), "{said}");
        }
        let people = "[[people]]\nname = \"ada\"\nkeys = [\"k\"]\n[[people]]\nname = \"bob\"\nkeys = [\"l\"]\ngroups = [\"ops\"]\n";
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("policies")).unwrap();
        std::fs::write(dir.path().join("policies/p.cedar"), "permit all").unwrap();
        let warned = |text: &str| {
            let path = dir.path().join("g.toml");
            let loaded =
                parse(&path, &format!("{people}{REALM}{text}"), Trust::Anybodys, &Overrides::default(), &CHECKS)
                    .unwrap();
            loaded.warnings.iter().map(|warning| warning.message.clone()).collect::<Vec<_>>()
        };
        let none = warned("");
        assert_eq!(none.len(), 1);
        assert!(
            none[0].starts_with("policies permit `ada`, `bob` something, and no role in AWS is theirs"),
            "{none:?}"
        );
        assert!(warned("identity = \"gateway\"\n")[0].starts_with("AWS sees the gateway in every session"));
        let some = warned("[[realms.roles]]\nrole = \"r\"\ngroups = [\"ops\", \"dev\"]\npeople = [\"eve\"]\n");
        assert_eq!(some[..2], ["nobody is called `eve`", "nobody is in the group `dev`"]);
        assert!(some[2].contains("`ada` something"), "{some:?}");
        assert!(warned("[[realms.roles]]\nrole = \"r\"\npeople = [\"*\"]\n").is_empty());
        // who can't bring what it takes
        let web = "[[realms.roles]]\nrole = \"r\"\npeople = [\"*\"]\nweb_identity = \"r\"\n\
                   [oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"g\"\nname_claim = \"sub\"\n";
        let rules = "[[proofs]]\npeople = [\"ada\"]\nenough = [\"key and oidc\"]\n[[proofs]]\npeople = [\"*\"]\nenough = [\"key\"]\n";
        assert_eq!(warned(&format!("{web}{rules}")), ["`bob` never signs in, and it takes a sign-in to be in r"]);
    }
    #[test]
    fn realms_have_names_that_differ_and_there_is_one_at_least() {
        let none = problem("");
        assert!(none.contains("an account and region is needed whose nodes are reached"), "{none}");
        for (text, says) in [
            ("[[realms]]\nregion = \"eu-west-1\"\n", "g.toml:1:1: `name` is missing here"),
            ("[[realms]]\nname = \"wrong\"\n", "g.toml:2:8: `wrong` is wrong"),
            ("[[realms]]\nname = \"a\"\n[[realms]]\nname = \"a\"\n", "g.toml:4:8: `a` is here twice"),
            ("[[realms]]\nname = \"a\"\nnmae = 1\n", "there is no `nmae` here"),
            ("[[realms]]\nname = \"a\"\n[[realms]]\nname = \"b\"\nproxy = \"x\"\n", "g.toml:5:9: `x` is no URL"),
            ("[realms]\nname = \"a\"\n", "a table is here, where a list belongs"),
        ] {
            let said = problem(text);
            assert!(said.contains(says), "{text}\n{said}");
        }
        let two = "[[realms]]\nname = \"a\"\nca_bundle = \"x.pem\"\n[[realms.roles]]\nrole = \"r\"\npeople = [\"*\"]\n\
                   [[realms]]\nname = \"b\"\n[realms.endpoints]\nssm = \"https://x.example\"\n";
        let realms = read(two).unwrap().realms;
        assert_eq!((realms[0].roles.len(), realms[1].roles.len()), (1, 0));
        assert_eq!((&realms[0].endpoints.ssm, realms[1].endpoints.ssm.as_deref()), (&None, Some("https://x.example")));
        // a flag does not say which of them it is for
        let flags = Overrides { region: Some("eu-west-1".to_owned()), ..Overrides::default() };
        let said = parse(Path::new("g.toml"), two, Trust::Anybodys, &flags, &CHECKS).unwrap_err().to_string();
        assert!(said.contains("--region or PORTCULLIS_REGION is for a gateway with one realm"), "{said}");
    }

    #[test]
    fn what_was_written_for_one_realm_is_refused_with_the_lines_that_replace_it() {
        for old in [
            "[realm]\n",
            "[realm]\nregion = \"eu-west-1\"\nidentity = \"gateway\"\n",
            "realm.region = \"eu-west-1\"\n",
            "[[realm.roles]]\nrole = \"r\"\npeople = [\"*\"]\n[realm.endpoints]\nssm = \"https://x.example\"\n",
        ] {
            let refused = read(old).unwrap_err();
            let problem = &refused.problems[0];
            assert!(problem.message.starts_with("there is no [realm] any more"), "{refused}");
            assert_eq!(problem.line_column.map(|(line, _)| line), Some(1), "{old}");
            let (_, lines) = problem.help.as_deref().unwrap().split_once("\n\n").unwrap();
            assert!(lines.starts_with("[[realms]]\nname = \"main\"\n"), "{lines}");
            let config = read(lines).unwrap();
            let of = |text: &str, realm: &str| text.parse::<toml::Table>().unwrap()[realm].clone();
            let (mut new, old) = (of(lines, "realms")[0].clone(), of(old, "realm"));
            assert_eq!(new.as_table_mut().unwrap().remove("name"), Some("main".into()));
            assert_eq!((new, config.realms.len()), (old, 1));
        }
        let both = format!("{REALM}[realm]\nregion = \"x\"\n");
        assert!(problem(&both).contains("there is no [realm] any more"));
    }

    #[test]
    fn who_somebody_is_in_a_realm_may_change_while_it_runs_and_the_realm_itself_not() {
        let one = |more: &str| read(&format!("[[realms]]\nname = \"a\"\n{more}\n[[realms]]\nname = \"b\"\n")).unwrap();
        let before = one("");
        let (now, region) = (one("identity = \"gateway\""), one("region = \"eu-west-1\""));
        let applied = before.with_people_of(&now);
        assert_eq!((before.differing(&applied), applied.differing(&now)), (vec!["realms".to_owned()], Vec::new()));
        let applied = before.with_people_of(&region);
        assert_eq!((before.differing(&applied), applied.differing(&region)), (Vec::new(), vec!["realms".to_owned()]));
        // one that is gone from the file stays as it is until then
        let gone = before.with_people_of(&read("[[realms]]\nname = \"b\"\n").unwrap());
        assert_eq!(gone.realms.len(), 2);
    }
}
