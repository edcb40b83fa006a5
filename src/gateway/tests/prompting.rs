//! People who are asked for something on their terminals, and those who are one too many.

use std::net::Ipv4Addr;

use super::wire::Raw;
use crate::model::PlaceBounds;
use crate::policy::Policy;
use crate::testing::TestGateway;

const POLICY: &str = "@id(\"why\") @reason(\"a ticket\") permit (principal, action, resource);";

/// Of a gateway that asks two people at one address and three in all.
async fn gateway() -> TestGateway {
    let gateway = TestGateway::with(|settings| settings.prompts = PlaceBounds { of_a_source: 2, in_all: 3 }).await;
    gateway.policies.replace(Policy::for_test(POLICY));
    gateway
}

/// A shell on a terminal, from there.
async fn shell(gateway: &TestGateway, last: u8, login: &str) -> (Raw, u32) {
    let mut raw = Raw::encrypted_from(Ipv4Addr::new(127, 3, 0, last), gateway.address).await;
    raw.log_in(login, &gateway.key("ada")).await;
    let channel = raw.shell(0).await;
    (raw, channel)
}

#[tokio::test]
async fn au13_so_many_are_asked_from_one_address_and_in_all_and_who_is_one_too_many_is_told() {
    let gateway = gateway().await;
    let reason = "reason: ";
    let (mut first, channel) = shell(&gateway, 1, "web-1").await;
    first.until_it_says(reason).await;
    // a list of nodes is a question as well, and another connection of the same person no other source
    let (mut second, _) = shell(&gateway, 1, "ada").await;
    second.until_it_says("web-1").await;
    for login in ["web-1", "ada"] {
        let (mut third, _) = shell(&gateway, 1, login).await;
        let how = if login == "ada" { "name one: ssh <node>@<gateway>" } else { "needs a reason (a ticket)" };
        let told = third.until_it_says(how).await;
        assert!(told.contains("too many people are being asked") && !told.contains(reason), "{told}");
    }
    let refused = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!(refused["code"], "reason-needed");
    let (mut elsewhere, _) = shell(&gateway, 2, "web-1").await;
    elsewhere.until_it_says(reason).await;
    let (mut one_too_many, _) = shell(&gateway, 3, "web-1").await;
    one_too_many.until_it_says("too many people are being asked").await;
    // whoever says why by themselves is asked nothing
    let (mut unasked, other) = shell(&gateway, 3, "web-1+INC-1").await;
    unasked.data(other, b"echo in\n").await;
    unasked.until_it_says("in\n").await;
    // a place is given back by an answer, and by hanging up
    first.data(channel, b"INC-1\recho in\n").await;
    first.until_it_says("in\n").await;
    let asked = gateway.event(|event| event["event"] == "reason.asked" && event["answer"] == "INC-1").await;
    assert_eq!(
        (&asked["person"], &asked["policy"], &asked["wanted"]),
        (&"ada".into(), &"why".into(), &"a ticket".into())
    );
    drop(second);
    for _ in 0..2 {
        let gone = async {
            loop {
                let (mut next, _) = shell(&gateway, 1, "web-1").await;
                if next.until_it_says(": ").await.contains(reason) {
                    return next;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        drop(tokio::time::timeout(crate::testing::SOON, gone).await.expect("a place comes back"));
    }
}
