//! How many people are asked for something on a terminal at once: why they are there, or which node they mean.
//!
//! Whoever is asked has logged in, and holds a channel for as long as they may think. So there is an end to how many are, from one
//! address and in all; who is one too many is told how to say it without being asked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection_limits::network;

/// The most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptBounds {
    /// From one address, or one network of IPv6.
    pub of_a_source: usize,
    /// From all.
    pub in_all: usize,
}

impl Default for PromptBounds {
    /// An office behind one address; and not so many that channels are short.
    fn default() -> Self {
        Self { of_a_source: 64, in_all: 512 }
    }
}

/// Those who are asked now.
#[derive(Clone, Debug)]
pub(super) struct Prompts {
    bounds: PromptBounds,
    asked: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of one of them; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Prompted {
    prompts: Prompts,
    source: IpAddr,
}

/// What somebody reads who is one too many.
pub(super) const TOO_MANY: &str = "too many people are being asked for something at once, and you are not";

impl Prompts {
    pub(super) fn new(bounds: PromptBounds) -> Self {
        Self { bounds, asked: Arc::default() }
    }

    /// Lets one more be asked, from there.
    pub(super) fn take(&self, source: IpAddr) -> Option<Prompted> {
        let source = network(source);
        let mut asked = self.asked();
        let theirs = asked.get(&source).copied().unwrap_or_default();
        if theirs >= self.bounds.of_a_source || asked.values().sum::<usize>() >= self.bounds.in_all {
            return None;
        }
        asked.insert(source, theirs + 1);
        Some(Prompted { prompts: self.clone(), source })
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Prompted {
    fn drop(&mut self) {
        let mut asked = self.prompts.asked();
        match asked.get_mut(&self.source) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            _ => drop(asked.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_asked_from_one_address_and_in_all_and_no_more() {
        let prompts = Prompts::new(PromptBounds { of_a_source: 2, in_all: 3 });
        let take = |source: &str| prompts.take(source.parse().unwrap());
        let (first, second) = (take("2001:db8::1").unwrap(), take("2001:db8::ffff:0:2").unwrap());
        assert!(take("2001:db8::3").is_none(), "a network of IPv6 is one address");
        let third = take("192.0.2.1").unwrap();
        assert!(take("192.0.2.2").is_none(), "in all");
        drop(first);
        let fourth = take("::ffff:192.0.2.1").unwrap();
        drop((second, third, fourth));
        assert!(prompts.asked().is_empty(), "nothing is kept of those who were asked");
    }
}
