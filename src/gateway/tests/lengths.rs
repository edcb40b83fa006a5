//! T4: packets whose lengths cannot be, in the clear and encrypted, before a login and after it. After it nothing else would
//! end the connection: no deadline, no limit of bytes.

use tokio::io::AsyncWriteExt as _;

use super::wire::{Offer, Raw};
use crate::testing::{SOON, TestGateway};

/// What follows a length: too little for anything but the length to be the reason, and more than a block and a MAC.
const REST: [u8; 96] = [0xff; 96];

/// More than 256 KiB of data with their headers and padding; in step with blocks of 16, the length itself in it or not.
const OVER: u32 = 260 * 1024;

#[tokio::test]
async fn t4_absurd_lengths_end_the_connection() {
    let gateway = TestGateway::start().await;
    for length in [0_u32, 1, 4, OVER, 512 * 1024, 1 << 30, u32::MAX] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.tcp.write_all(&length.to_be_bytes()).await.unwrap();
        let _ = raw.tcp.write_all(&REST).await;
        assert!(raw.gets_hung_up_on(SOON).await, "length {length} in the clear");
    }
    // GCM's length is in the clear too; one that is shorter than a block or no multiple of it must not underflow
    for cipher in ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"] {
        for length in [0_u32, 1, 15, 17, OVER, u32::MAX] {
            let mut raw = Raw::connect(gateway.address).await;
            let offer = Offer { cipher: cipher.to_owned(), ..Offer::default() };
            let ours = raw.send_kexinit(&offer).await;
            raw.finish_exchange(&ours, |_| ()).await;
            raw.tcp.write_all(&length.to_be_bytes()).await.unwrap();
            let _ = raw.tcp.write_all(&REST).await;
            assert!(raw.gets_hung_up_on(SOON).await, "length {length} with {cipher}");
        }
    }
    gateway.works().await;
}

#[tokio::test]
async fn t4_absurd_lengths_under_a_good_mac_do_so_too() {
    let gateway = TestGateway::start().await;
    let key = gateway.key("ada");
    for logged_in in [false, true] {
        let connect = async || match logged_in {
            true => Raw::logged_in(gateway.address, "web-1", &key).await,
            false => Raw::encrypted(gateway.address).await,
        };
        for length in [0_u32, 1, 11, OVER, u32::MAX - 3, u32::MAX] {
            let mut raw = connect().await;
            raw.send_packet(&[&length.to_be_bytes()[..], &[4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat()).await;
            let _ = raw.tcp.write_all(&REST).await;
            assert!(raw.gets_hung_up_on(SOON).await, "length {length}, logged in: {logged_in}");
        }
        // padding that is longer than the packet
        for padding in [13, 200, 255] {
            let mut raw = connect().await;
            raw.send_packet(&[&[0, 0, 0, 12, padding][..], &[0; 11]].concat()).await;
            assert!(raw.gets_hung_up_on(SOON).await, "padding {padding}, logged in: {logged_in}");
        }
    }
    // a packet that is nothing but padding says nothing
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.send_packet(&[&[0, 0, 0, 12, 11][..], &[0; 11]].concat()).await;
    raw.log_in("web-1", &key).await;
    gateway.works().await;
}
