//! Many connections, one after the other.

use std::time::Duration;

use super::process::{alone, resident};
use super::wire::Raw;
use crate::testing::TestGateway;

#[tokio::test]
async fn d3_a_thousand_connections_that_came_and_went_leave_nothing() {
    if !alone("gateway::tests::many::d3_a_thousand_connections_that_came_and_went_leave_nothing").await {
        return;
    }
    let gateway = TestGateway::start().await;
    let key = gateway.key("ada");
    // some say nothing, some what they are, some exchange keys, some log in and run something
    let come_and_go = async |count: usize| {
        for n in 0..count {
            match n % 4 {
                0 => drop(Raw::silent(gateway.address).await),
                1 => drop(Raw::connect(gateway.address).await),
                2 => drop(Raw::encrypted(gateway.address).await),
                _ => {
                    let mut raw = Raw::logged_in(gateway.address, "ada", &key).await;
                    raw.exec(0, 1 << 20, 32768, "whoami").await;
                    raw.until(97).await;
                }
            }
        }
        // what went last is gone as well
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    come_and_go(200).await;
    let before = resident();
    come_and_go(1_000).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for 1,000 connections");
    gateway.works().await;
    gateway.until_nothing_is_held().await;
}
