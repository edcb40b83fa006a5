//! How many people are asked for something on a terminal at once: why they are there, or which node they mean.
//!
//! Whoever is asked has logged in, and holds a channel for as long as they may think. So there is an end to how many are, from one
//! address and in all; who is one too many is told how to say it without being asked.

use std::net::IpAddr;

use super::connection_limits::network;
use crate::model::{Place, PlaceBounds, Places};

/// An office behind one address; and not so many that channels are short.
pub(super) const BOUNDS: PlaceBounds = PlaceBounds { of_a_source: 64, in_all: 512 };

/// Those who are asked now.
#[derive(Clone, Debug)]
pub(super) struct Prompts(Places);

/// What somebody reads who is one too many.
pub(super) const TOO_MANY: &str = "too many people are being asked for something at once, and you are not";

impl Prompts {
    pub(super) fn new(bounds: PlaceBounds) -> Self {
        Self(Places::new(bounds))
    }

    /// Lets one more be asked, from an address, or a network of IPv6.
    pub(super) fn take(&self, source: IpAddr) -> Option<Place> {
        self.0.take(network(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_asked_from_one_address_and_in_all_and_no_more() {
        let prompts = Prompts::new(PlaceBounds { of_a_source: 2, in_all: 3 });
        let take = |source: &str| prompts.take(source.parse().unwrap());
        let (first, second) = (take("2001:db8::1").unwrap(), take("2001:db8::ffff:0:2").unwrap());
        assert!(take("2001:db8::3").is_none(), "a network of IPv6 is one address");
        let third = take("192.0.2.1").unwrap();
        assert!(take("192.0.2.2").is_none(), "in all");
        drop(first);
        let fourth = take("::ffff:192.0.2.1").unwrap();
        drop((second, third, fourth));
        assert!(prompts.0.is_empty(), "nothing is kept of those who were asked");
    }
}
