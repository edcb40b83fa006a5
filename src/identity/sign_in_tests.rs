//! Whom a sign-in stands for, alone and beside a key, and for how long.

use std::time::Duration;

use super::super::id_token::tests::{Signer, rules};
use super::super::{Combination, EnoughFor, Expected, FirstProof, KeySet, Purpose, SecondProof};
use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Somebody who has signed in now under this name, in the group `dev`, for a minute.
fn signed_in(name: &str) -> Arc<SignedIn> {
    signed_in_saying(name, serde_json::json!({}))
}

/// The same by a token that says this as well.
pub(crate) fn signed_in_saying(name: &str, more: serde_json::Value) -> Arc<SignedIn> {
    signed_in_by(&Signer::new(), name, more)
}

/// The same by a token of this provider.
pub(crate) fn signed_in_by(signer: &Signer, name: &str, more: serde_json::Value) -> Arc<SignedIn> {
    let token = verified_by(signer, name, more);
    let until = token.expires();
    Arc::new(SignedIn::new(token, until))
}

/// A token of that provider for them.
pub(crate) fn verified_by(signer: &Signer, name: &str, more: serde_json::Value) -> VerifiedToken {
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = serde_json::json!({
        "iss": rules().issuer, "aud": "gate", "sub": format!("sub of {name}"), "iat": seconds, "exp": seconds + 60,
        "preferred_username": name, "groups": ["dev"],
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let token = signer.token(&serde_json::json!({ "alg": "ES256", "kid": "ec" }), &claims);
    let keys = KeySet::parse(signer.jwks().to_string().as_bytes()).unwrap();
    rules().verify(&keys, &token, Expected { nonce: None, since: now, max_age: None }, now).unwrap()
}

fn people(enough: &[(FirstProof, Option<SecondProof>)], unlisted_people: bool) -> People {
    let enough = enough.iter().map(|&(first, second)| Combination { first, second }).collect();
    let rule = EnoughFor { people: vec!["*".to_owned()], groups: Vec::new(), enough };
    let ops = ["ops".to_owned()];
    People::new([("ada", &[][..])])
        .unwrap()
        .in_groups([("ada", &ops[..])])
        .with_enough(vec![rule], Duration::ZERO)
        .who_sign_in(SignIns { issuer: rules().issuer, unlisted_people })
}

const ALONE: &[(FirstProof, Option<SecondProof>)] = &[(FirstProof::SignIn, None)];

fn code<T: std::fmt::Debug>(proved: Result<T, Unproved>) -> &'static str {
    proved.unwrap_err().code().name()
}

#[test]
fn whoever_has_signed_in_is_one_of_the_people_unless_others_are_taken() {
    let now = SystemTime::now();
    let who = |people: &People, name: &str, login: Option<&str>| {
        let login = login.map(|login| Login::parse(login).unwrap());
        match people.identify_signed_in(&signed_in(name), login.as_ref(), HERE, now)? {
            Proved::Enough(identity) => Ok(identity),
            Proved::Half(half) => panic!("{half:?}"),
        }
    };
    let listed = people(ALONE, false);
    let ada = who(&listed, "ada", Some("ada/web-1")).unwrap();
    assert_eq!((ada.person(), ada.groups()), ("ada", &["dev", "ops"].map(str::to_owned)[..]));
    assert_eq!((ada.method(), ada.key()), ("oidc", None));
    assert_eq!(ada.proof(), "oidc https://id.example.com sub of ada");
    assert_eq!(code(who(&listed, "ada", Some("bob/web-1"))), "sign-in-of-nobody");
    assert_eq!(code(who(&listed, "eve", None)), "sign-in-of-nobody");
    assert_eq!(who(&people(ALONE, true), "eve", None).unwrap().groups(), ["dev"]);
    // nobody may, or by another provider
    let mut other = people(ALONE, true);
    other.sign_ins = Some(SignIns { issuer: "https://other.example.com".to_owned(), unlisted_people: true });
    assert_eq!(code(who(&other, "ada", None)), "sign-in-of-nobody");
    // without a rule that wants it a sign-in is not enough, though a key is
    for rules in [Vec::new(), vec![(FirstProof::Key, None)]] {
        let mut people = people(&rules, true);
        if rules.is_empty() {
            people = people.with_enough(Vec::new(), Duration::ZERO);
        }
        assert!(!people.sign_in_may_come_first());
        assert_eq!(code(who(&people, "ada", None)), "proof-not-enough");
    }
    assert!(listed.sign_in_may_come_first());
}

#[test]
fn a_sign_in_that_is_over_or_of_somebody_who_is_gone_is_none_any_more() {
    let before = people(ALONE, false);
    let sign_in = signed_in("ada");
    // a provider's key takes a while to be made
    let now = SystemTime::now();
    let Ok(Proved::Enough(ada)) = before.identify_signed_in(&sign_in, None, HERE, now) else { panic!("ada") };
    let renew = |people: &People, at| people.renew(&ada, at, Purpose::GoOn);
    assert_eq!(renew(&before, now), Ok(ada.clone()));
    let end = ada.ends().unwrap();
    assert!(end > now + Duration::from_secs(50) && end <= now + Duration::from_secs(61));
    assert_eq!(code(renew(&before, end)), "proof-expired");
    sign_in.extend(end + Duration::from_secs(60));
    assert!(renew(&before, end).is_ok() && ada.ends() > Some(end));
    // the person is gone, or the rule wants something else now
    assert_eq!(
        code(renew(&People::default().who_sign_in(SignIns { issuer: rules().issuer, unlisted_people: false }), now)),
        "sign-in-of-nobody"
    );
    assert_eq!(code(renew(&people(&[(FirstProof::Key, None)], false), now)), "proof-not-enough");
    assert_eq!(code(renew(&People::new([("ada", &[][..])]).unwrap(), now)), "sign-in-of-nobody");
    sign_in.end("the provider does not stand to it", now);
    assert_eq!(renew(&before, now).unwrap_err().to_string(), "the provider does not stand to it");
    assert!(ada.ends() <= Some(now));
}

#[test]
fn beside_a_key_it_must_be_the_key_s_owner_who_signs_in() {
    let now = SystemTime::now();
    let both = people(&[(FirstProof::Key, Some(SecondProof::SignIn))], true);
    assert!(!both.sign_in_may_come_first(), "strangers are not asked");
    let Ok(Proved::Half(half)) = both.is_enough(Identity::for_test_in("ada", &["ops"])) else { panic!("half") };
    assert_eq!(half.wants(), SecondProof::SignIn);
    assert_eq!(half.recall(&Default::default(), now), None);
    assert!(half.answer(&Default::default(), "", now).is_err(), "no code is what is missing");
    assert_eq!(code(half.signed_in(&both, &signed_in("bob"), now)), "sign-in-of-nobody");
    let sign_in = signed_in("ada");
    let ada = half.signed_in(&both, &sign_in, now).unwrap();
    assert_eq!((ada.groups(), ada.method()), (&["dev", "ops"].map(str::to_owned)[..], "test"));
    assert_eq!(ada.proof(), "test and oidc https://id.example.com sub of ada");
    assert_eq!(ada.second_factor().map(|facts| facts.kind), Some("oidc"));
    assert!(ada.key().is_some() && ada.sign_in().is_some_and(|facts| facts.subject == "sub of ada"));
    // and its end is theirs
    let still = || both.is_still_enough(Identity::for_test("ada"), ada.proof.second.as_ref(), now);
    assert!(still().is_ok());
    sign_in.end("over", now);
    assert_eq!(code(still()), "sign-in-failed");
    // without a provider nobody could
    let mut none = both.clone();
    none.sign_ins = None;
    assert_eq!(none.is_enough(Identity::for_test("ada")).err(), Some(Unproved::NoProvider));
    assert!(!none.could_be_enough("ada", &[]) && both.could_be_enough("ada", &[]));
}

#[test]
fn the_token_is_there_for_as_long_as_the_sign_in_counts_and_the_newest_is_it_and_no_text_shows_it() {
    let (signer, now) = (Signer::new(), SystemTime::now());
    let sign_in = signed_in_by(&signer, "ada", serde_json::json!({}));
    let first = sign_in.id_token(now).unwrap();
    assert!(first.as_str().starts_with("eyJ") && first.expires() > now + Duration::from_secs(50));
    assert_ne!(sign_in.number(), signed_in("ada").number());
    let newer = verified_by(&signer, "ada", serde_json::json!({ "jti": "2", "exp": 4_000_000_000_u64 }));
    assert!(newer.says_the_same(sign_in.token()));
    let text = format!("{sign_in:?} {newer:?} {first:?}");
    assert!(!text.contains("eyJ") && text.contains("IdToken(hidden)"), "{text}");
    sign_in.renewed(newer);
    let second = sign_in.id_token(now).unwrap();
    assert!(first != second && second.expires() > now + Duration::from_secs(3600));
    // only the one who asked before has the older one still
    assert_eq!(Arc::strong_count(&first), 1);
    drop(second);
    sign_in.end("over", now);
    assert!(sign_in.id_token(now).is_none() && sign_in.id_token(SystemTime::UNIX_EPOCH).is_none());
    sign_in.renewed(verified_by(&signer, "ada", serde_json::json!({})));
    assert!(sign_in.id_token(SystemTime::UNIX_EPOCH).is_none(), "what has ended has no token again");
    let sign_in = signed_in("ada");
    assert!(sign_in.id_token(sign_in.ends()).is_none() && sign_in.id_token(now).is_none());
    // another source identity or tag is another person to AWS
    for claims in [
        serde_json::json!({ "https://aws.amazon.com/source_identity": "eve" }),
        serde_json::json!({ "https://aws.amazon.com/tags/principal_tags/team": "red" }),
    ] {
        assert!(!verified_by(&signer, "ada", claims).says_the_same(sign_in.token()));
    }
}
