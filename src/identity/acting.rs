//! As whom AWS sees somebody: the gateway itself, or a role of theirs, which is assumed in their name.
//!
//! ```text
//!  person, groups ──Roles::of──▶ ActsAs ──Acting::of──▶ role session name   who, in ARNs and in ids of sessions
//!                  (at the login,                       source identity     who, in every record of CloudTrail
//!                   for each realm)                     tags                who, from which groups, by which key, to which node
//! ```
//!
//! Where it is the person's own ID token that a role is got by, source identity and tags are what the token says, which the gateway can't
//! add to; where another role is assumed from there, it can again, but for what goes along from the first.
//!
//! All of it comes from what was proved and configured, and none of it from what a client sends beside its proof.

use std::sync::Arc;
use std::time::Duration;

use super::Identity;
use super::aws_claims::AwsClaims;
use super::fitting::{Fitting, as_written};
use crate::model::{NodeId, RealmName, RoleArn};

/// A role, and how it is assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Which.
    pub arn: RoleArn,
    /// What its trust policy may want to hear, where the account is another's.
    pub external_id: Option<String>,
    /// How long the credentials are good for.
    pub duration: Duration,
    /// The role that the person's own ID token is exchanged for: this one, or one from which this one is assumed. Without it the gateway
    /// assumes this one.
    pub web_identity: Option<RoleArn>,
}

/// By what a role is got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// By the gateway's own credentials.
    Gateway,
    /// By the person's ID token.
    Token,
    /// By those of this role, which is got by the person's ID token.
    TokenAnd(&'a RoleArn),
}

/// Who gets a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleOf {
    /// People by name; `*` is everybody.
    pub people: Vec<String>,
    /// Everybody who is in one of these.
    pub groups: Vec<String>,
    /// The role.
    pub role: Arc<Role>,
}

/// Who gets which in one realm. The default is that nobody has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Everybody's sessions are the gateway's own.
    Gateway,
    /// The first that is for somebody is theirs.
    OfPeople(Vec<RoleOf>),
}

/// Who gets which in each realm, in the configuration's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealmRoles(Vec<(RealmName, Roles)>);

/// As whom AWS sees somebody in each realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InRealms(Vec<(RealmName, ActsAs)>);

/// As whom AWS sees somebody, in one realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActsAs {
    /// As the gateway.
    Gateway,
    /// In this role, as themselves.
    Role(Arc<Role>),
    /// Not at all: the role that is for them is got by their ID token, and they have not signed in.
    NotSignedIn,
    /// Not at all: no role is for them.
    Nobody,
}

/// What AWS is told of somebody whose role is assumed, for one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// The role.
    pub role: Arc<Role>,
    /// Who, as part of an ARN; ids of sessions begin with it.
    pub session_name: String,
    /// Who, for as long as the credentials last, and those that are got with them; where it is the gateway that says so.
    pub source_identity: Option<String>,
    /// Facts for IAM's conditions (`aws:PrincipalTag/…`), as the gateway says them.
    pub tags: Vec<(&'static str, String)>,
    /// What the person's own token says instead, as far as it counts in this role.
    pub claims: AwsClaims,
    /// What would have been among the tags, and has no room there, can't be written, or is the token's to say.
    pub left_out: Vec<String>,
}

/// The name that stands for everybody.
pub const EVERYBODY: &str = "*";

/// What AWS takes of a session's tags together with its policy depends on how well they can be packed, which is not
/// published. The policy may have 2,048 characters; it leaves this much of them.
const TAGS_CHARS: usize = 648;

/// A tag's value (<https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html>).
const TAG_VALUE_CHARS: usize = 256;

impl Default for Roles {
    fn default() -> Self {
        Self::OfPeople(Vec::new())
    }
}

impl Roles {
    /// As whom somebody is seen.
    pub fn of(&self, person: &str, groups: &[String]) -> ActsAs {
        let Self::OfPeople(roles) = self else { return ActsAs::Gateway };
        let is_for = |one: &&RoleOf| {
            one.people.iter().any(|name| name == person || name == EVERYBODY)
                || one.groups.iter().any(|group| groups.contains(group))
        };
        roles.iter().find(is_for).map_or(ActsAs::Nobody, |one| ActsAs::Role(one.role.clone()))
    }
}

impl Role {
    /// By what it is got.
    pub fn by(&self) -> By<'_> {
        match &self.web_identity {
            None => By::Gateway,
            Some(first) if *first == self.arn => By::Token,
            Some(first) => By::TokenAnd(first),
        }
    }
}

impl RealmRoles {
    /// Those roles, each realm once.
    pub fn new(roles: impl IntoIterator<Item = (RealmName, Roles)>) -> Self {
        Self(roles.into_iter().collect())
    }

    /// Those of the only realm that a test knows.
    #[cfg(test)]
    pub(crate) fn for_test(roles: Roles) -> Self {
        Self::new([(RealmName::for_test(), roles)])
    }

    pub(super) fn of(&self, person: &str, groups: &[String]) -> InRealms {
        InRealms(self.0.iter().map(|(realm, roles)| (realm.clone(), roles.of(person, groups))).collect())
    }
}

impl InRealms {
    #[cfg(test)]
    pub(super) fn one(realm: RealmName, acts_as: ActsAs) -> Self {
        Self(vec![(realm, acts_as)])
    }

    /// In a realm that is not known, as nobody.
    pub(super) fn within(&self, realm: &RealmName) -> &ActsAs {
        self.each().find(|(name, _)| *name == realm).map_or(&ActsAs::Nobody, |(_, acts_as)| acts_as)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (&RealmName, &ActsAs)> {
        self.0.iter().map(|(realm, acts_as)| (realm, acts_as))
    }
}

impl Acting {
    /// What AWS is told in a realm; nothing where somebody has no role of their own there. Without a node it is what is the same for
    /// all.
    pub fn of(identity: &Identity, realm: &RealmName, node: Option<&NodeId>) -> Option<Self> {
        let ActsAs::Role(role) = identity.acts_as(realm) else { return None };
        let (person, mut tags) = (identity.person(), Tags::default());
        tags.add("portcullis:person", person);
        if let Some(node) = node {
            tags.add("portcullis:node", &node.0);
        }
        if let Some(key) = identity.key() {
            tags.add("portcullis:key", &key.to_string());
        }
        tags.add_groups("portcullis:groups", identity.groups());
        let said = || identity.signed_in().map(|signed_in| signed_in.token().aws().clone()).unwrap_or_default();
        let claims = match role.by() {
            By::Gateway => AwsClaims::default(),
            By::Token => {
                tags.leave_out(|_| true);
                said()
            }
            By::TokenAnd(_) => {
                let claims = said().that_go_along();
                // STS refuses one that has come along already
                tags.leave_out(|key| claims.has_tag(key));
                claims
            }
        };
        let says_who = role.by() != By::Token && claims.source_identity.is_none();
        Some(Self {
            role: role.clone(),
            session_name: SESSION_NAME.of(person),
            source_identity: says_who.then(|| SOURCE_IDENTITY.of(person)),
            tags: tags.kept,
            claims,
            left_out: tags.left_out,
        })
    }

    /// Who it is in every record of CloudTrail; nothing where a token is all that could say so, and does not.
    pub fn seen_as(&self) -> Option<&str> {
        self.claims.source_identity.as_deref().or(self.source_identity.as_deref())
    }
}

/// Ids of sessions are this, a `-` and more, and a policy of IAM knows a person's sessions by `<name>-*`. So there is no
/// `-` in it: those of `ann` must not be those of `ann-marie` as well.
const SESSION_NAME: Fitting = Fitting { fits: |c| c.is_ascii_alphanumeric() || "_.@".contains(c), chars: (2, 64) };

/// What AWS takes, which is all that a name may have.
const SOURCE_IDENTITY: Fitting =
    Fitting { fits: |c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(c), chars: (2, 64) };

/// Between two colons in a tag, so that `*:ops:*` is that group and no other.
const GROUP: Fitting =
    Fitting { fits: |c| c.is_ascii_alphanumeric() || " _./=+-@".contains(c), chars: (1, TAG_VALUE_CHARS - 2) };

#[derive(Default)]
struct Tags {
    kept: Vec<(&'static str, String)>,
    left_out: Vec<String>,
}

impl Tags {
    /// How many characters more there may be in the value of another.
    fn room(&self, key: &str) -> usize {
        let used: usize = self.kept.iter().map(|(key, value)| key.len() + value.chars().count()).sum();
        TAGS_CHARS.saturating_sub(used + key.len()).min(TAG_VALUE_CHARS)
    }

    /// A value that says exactly what it is, or none.
    fn add(&mut self, key: &'static str, value: &str) {
        let exact = value.chars().all(|c| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c));
        if exact && value.chars().count() <= self.room(key) {
            self.kept.push((key, value.to_owned()));
        } else {
            self.left_out.push(format!("{key} {}", as_written(value)));
        }
    }

    /// Takes those out that the gateway has no say in.
    fn leave_out(&mut self, not_ours: impl Fn(&str) -> bool) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.kept).into_iter().partition(|(key, _)| not_ours(key));
        self.kept = kept;
        self.left_out.extend(gone.into_iter().map(|(key, value)| format!("{key} {}", as_written(&value))));
    }

    /// `:developers:on-call:`, as many as there is room for.
    fn add_groups(&mut self, key: &'static str, groups: &[String]) {
        let (room, mut value) = (self.room(key), String::new());
        for group in groups {
            let written = GROUP.of(group);
            let colons = if value.is_empty() { 2 } else { 1 };
            if value.chars().count() + written.chars().count() + colons > room {
                self.left_out.push(format!("{key} {}", as_written(group)));
                continue;
            }
            if value.is_empty() {
                value.push(':');
            }
            value.push_str(&written);
            value.push(':');
        }
        if !value.is_empty() {
            self.kept.push((key, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn role(name: &str) -> Arc<Role> {
        let arn = RoleArn::parse(&format!("arn:aws:iam::123456789012:role/{name}")).unwrap();
        Arc::new(Role { arn, external_id: None, duration: Duration::from_secs(3600), web_identity: None })
    }

    fn role_of(people: &[&str], groups: &[&str], name: &str) -> RoleOf {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        RoleOf { people: owned(people), groups: owned(groups), role: role(name) }
    }

    fn acting(person: &str, groups: &[&str]) -> Acting {
        let identity = Identity::for_test_in(person, groups).in_role(role("r"));
        Acting::of(&identity, &RealmName::for_test(), Some(&NodeId("i-0123456789abcdef0".to_owned()))).unwrap()
    }

    #[test]
    fn the_first_role_that_is_for_somebody_is_theirs_and_without_one_they_have_none() {
        let roles =
            Roles::OfPeople(vec![role_of(&["ada"], &[], "own"), role_of(&["bob"], &["ops", "dev"], "of-group")]);
        let dev = ["dev".to_owned()];
        assert_eq!(roles.of("ada", &dev), ActsAs::Role(role("own")));
        assert_eq!(roles.of("eve", &dev), ActsAs::Role(role("of-group")));
        assert_eq!(roles.of("bob", &[]), ActsAs::Role(role("of-group")));
        assert_eq!(roles.of("eve", &[]), ActsAs::Nobody);
        assert_eq!(Roles::default().of("ada", &dev), ActsAs::Nobody);
        assert_eq!(Roles::Gateway.of("eve", &[]), ActsAs::Gateway);
        let all = Roles::OfPeople(vec![role_of(&[EVERYBODY], &[], "all")]);
        assert_eq!(all.of("eve", &[]), ActsAs::Role(role("all")));
        // nobody is called so
        assert!(super::super::name_is_usable(EVERYBODY).is_err());
    }

    #[test]
    fn a_role_is_of_its_realm_and_where_none_is_known_somebody_is_nobody() {
        let [dev, prod, other] = ["dev", "prod", "other"].map(RealmName::of_test);
        let everybody = Roles::OfPeople(vec![role_of(&[EVERYBODY], &[], "all")]);
        let roles = RealmRoles::new([(dev.clone(), everybody), (prod.clone(), Roles::default())]);
        let ada = roles.of("ada", &[]);
        let seen = [&dev, &prod, &other].map(|realm| ada.within(realm).clone());
        assert_eq!(seen, [ActsAs::Role(role("all")), ActsAs::Nobody, ActsAs::Nobody]);
        assert_eq!(ada.each().map(|(realm, _)| realm).collect::<Vec<_>>(), [&dev, &prod]);
    }

    #[test]
    fn what_aws_is_told_is_who_where_by_what_and_from_which_groups() {
        let told = acting("ann@example.com", &["dev", "on call", "a:b"]);
        assert_eq!(told.session_name, "ann@example.com");
        assert_eq!(told.seen_as(), Some("ann@example.com"));
        let [person, node, key, groups] = &told.tags[..] else { panic!("{told:?}") };
        assert_eq!(person, &("portcullis:person", "ann@example.com".to_owned()));
        assert_eq!(node, &("portcullis:node", "i-0123456789abcdef0".to_owned()));
        assert!(key.0 == "portcullis:key" && key.1.starts_with("SHA256:"), "{key:?}");
        // no name of a group makes one of two
        assert!(groups.1.starts_with(":dev:on call:a_b."), "{groups:?}");
        assert_eq!(groups.1.matches(':').count(), 4);
        assert!(told.left_out.is_empty());
        let hyphen = acting("ann-marie", &[]);
        assert!(hyphen.session_name.starts_with("ann_marie.") && hyphen.seen_as() == Some("ann-marie"), "{hyphen:?}");
        assert_eq!(acting("x", &[]).seen_as().map(str::len), Some(22));
        let gateway = Identity::for_test("ann");
        assert_eq!(Acting::of(&gateway, &RealmName::for_test(), None), None);
    }

    #[test]
    fn a_role_that_is_got_by_a_token_is_nobody_s_without_one_and_says_what_the_token_says() {
        let first = RoleArn::parse("arn:aws:iam::123456789012:role/first").unwrap();
        let got_by =
            |name: &str, first: &RoleArn| Arc::new(Role { web_identity: Some(first.clone()), ..(*role(name)).clone() });
        let (direct, chained) = (got_by("first", &first), got_by("second", &first));
        assert_eq!((direct.by(), chained.by(), role("r").by()), (By::Token, By::TokenAnd(&first), By::Gateway));
        // the next role that would be for them is not theirs instead
        let roles = Roles::OfPeople(vec![
            RoleOf { role: direct.clone(), ..role_of(&[EVERYBODY], &[], "x") },
            role_of(&[EVERYBODY], &[], "other"),
        ]);
        let (realm, node) = (RealmName::for_test(), NodeId("i-0123456789abcdef0".to_owned()));
        let ada = Identity::for_test_in("ada", &["dev"]).in_roles(&RealmRoles::for_test(roles));
        assert_eq!(ada.acts_as(&realm), &ActsAs::NotSignedIn);
        assert_eq!(ada.in_realms().map(|(_, acts_as)| acts_as).collect::<Vec<_>>(), [&ActsAs::NotSignedIn]);
        assert_eq!(Acting::of(&ada, &realm, Some(&node)), None);
        let told = |role: &Arc<Role>, claims: serde_json::Value| {
            let signed_in = super::super::sign_in::tests::signed_in_saying("ada", claims);
            let ada = Identity::for_test_in("ada", &["dev"]).in_role(role.clone()).by_sign_in(&signed_in);
            assert_eq!(ada.acts_as(&realm), &ActsAs::Role(role.clone()));
            Acting::of(&ada, &realm, Some(&node)).unwrap()
        };
        let ours = ["portcullis:person ada", "portcullis:node i-0123456789abcdef0", "portcullis:groups :dev:"];
        let nothing = told(&direct, serde_json::json!({}));
        assert_eq!((nothing.session_name.as_str(), nothing.seen_as(), nothing.tags.len()), ("ada", None, 0));
        assert_eq!(nothing.left_out, ours);
        let says = serde_json::json!({
            "https://aws.amazon.com/source_identity": "a.lovelace",
            "https://aws.amazon.com/tags": {
                "principal_tags": { "team": ["blue"], "Portcullis:Person": ["ada.l"] }, "transitive_tag_keys": ["Portcullis:Person"],
            },
        });
        let said = told(&direct, says.clone());
        assert_eq!(
            (said.seen_as(), said.source_identity.as_deref(), said.left_out.len()),
            (Some("a.lovelace"), None, 3)
        );
        assert_eq!(said.claims.tags.len(), 2);
        // from there, what the token says once and for all stays as it says
        let said = told(&chained, says);
        assert_eq!((said.seen_as(), said.source_identity.as_deref()), (Some("a.lovelace"), None));
        assert_eq!(said.claims.tags, [("Portcullis:Person".to_owned(), "ada.l".to_owned())]);
        assert_eq!(said.tags.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["portcullis:node", "portcullis:groups"]);
        assert_eq!(said.left_out, ours[..1]);
        let said = told(&chained, serde_json::json!({}));
        assert_eq!((said.source_identity.as_deref(), said.tags.len(), said.left_out.len()), (Some("ada"), 3, 0));
    }

    #[test]
    fn z8_what_has_no_room_in_tags_is_left_out_whole_and_said() {
        let long: Vec<String> = (0..30).map(|number| format!("{number:02}-{}", "g".repeat(40))).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let told = acting("ann", &long);
        let (_, groups) = told.tags.last().unwrap();
        assert!(groups.len() <= TAG_VALUE_CHARS && groups.starts_with(":00-ggg"), "{groups}");
        let kept = groups.matches(':').count() - 1;
        assert_eq!(kept + told.left_out.len(), long.len());
        assert!(told.left_out[0].starts_with("portcullis:groups 05-ggg"), "{:?}", told.left_out);
        // what is not a group's whole name is in no tag
        assert!(groups.trim_matches(':').split(':').all(|group| long.contains(&group)));
    }

    proptest! {
        #[test]
        fn whatever_the_names_aws_takes_them(
            person in "[a-zA-Z0-9._@-]{1,64}",
            groups in prop::collection::vec("\\PC{1,80}", 0..20),
            node in "\\PC{1,400}",
        ) {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            let identity = Identity::for_test_in(&person, &groups).in_role(role("r"));
            let told = Acting::of(&identity, &RealmName::for_test(), Some(&NodeId(node))).unwrap();
            for name in [told.session_name.as_str(), told.seen_as().unwrap()] {
                prop_assert!((2..=64).contains(&name.len()), "{name}");
                prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(c)), "{name}");
            }
            prop_assert!(!told.session_name.contains('-'));
            let chars: usize = told.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert!(chars <= TAGS_CHARS, "{chars}");
            for (_, value) in &told.tags {
                prop_assert!(value.len() <= TAG_VALUE_CHARS && !value.is_empty());
                prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c)), "{value}");
            }
        }

        #[test]
        fn no_two_people_have_one_name_in_aws_nor_one_whose_sessions_are_another_s(
            people in prop::collection::btree_set("[ab._@-]{1,4}|[a-zA-Z0-9._@-]{1,64}", 2..40),
        ) {
            let told: Vec<Acting> = people.iter().map(|person| acting(person, &[])).collect();
            let names: BTreeSet<&String> = told.iter().map(|told| &told.session_name).collect();
            let sources: BTreeSet<&str> = told.iter().filter_map(Acting::seen_as).collect();
            prop_assert_eq!((names.len(), sources.len()), (people.len(), people.len()));
            for one in &names {
                let theirs = format!("{one}-");
                let others = names.iter().filter(|other| format!("{other}-0123456789abcdef0").starts_with(&theirs));
                prop_assert_eq!(others.count(), 1);
            }
        }
    }
}
