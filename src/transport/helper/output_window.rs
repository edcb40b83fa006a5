//! How much output a node may send before the client has taken it, out of what the gateway's memory leaves for all of it.
//!
//! ```text
//!   a channel starts ──▶ OutputBudget::window ──▶ OutputWindow, narrow at a terminal    promised to the helper with its start
//!                          its person's, everybody's       │ as the client takes it
//!                                                          └─▶ as wide as there is room for, from the next credit on
//! ```
//!
//! Who reads nothing on many channels has the narrowest on most of them, and holds no more than their budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::model::Promised;

/// The widest: how many bytes of output the node may send before the client has taken them.
pub const WIDEST_OUTPUT: u32 = 2 * 1024 * 1024;

/// One that is never refused. The helper for sh gives credit away by 48 KiB to each of a command's two outputs, before they
/// have anything to say, and the gateway grants more when a quarter has been taken.
pub const NARROWEST_OUTPUT: u32 = 256 * 1024;

/// What output may hold of the gateway's memory.
#[derive(Debug)]
pub struct OutputBudget {
    all: Arc<Promised>,
    of_a_person: usize,
    people: Mutex<HashMap<String, Weak<Promised>>>,
}

/// One channel's.
#[derive(Debug)]
pub struct OutputWindow {
    budgets: Vec<Arc<Promised>>,
    bytes: u32,
}

impl OutputBudget {
    /// So many bytes for all, and for each person.
    pub fn new(of_all: usize, of_a_person: usize) -> Self {
        Self { all: Arc::new(Promised::of(of_all, NARROWEST_OUTPUT)), of_a_person, people: Mutex::default() }
    }

    /// The window of one more channel of this person's. A screen is small, and credit for more comes over the in lane that
    /// is there from the start; what has none yet would have to open one.
    pub fn window(&self, person: &str, terminal: bool) -> OutputWindow {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let known = people.get(person).and_then(Weak::upgrade);
        let theirs = known.unwrap_or_else(|| {
            people.retain(|_, others| others.strong_count() > 0);
            let theirs = Arc::new(Promised::of(self.of_a_person, NARROWEST_OUTPUT));
            people.insert(person.to_owned(), Arc::downgrade(&theirs));
            theirs
        });
        drop(people);
        let mut window = OutputWindow { budgets: vec![theirs, self.all.clone()], bytes: 0 };
        window.set(if terminal { NARROWEST_OUTPUT } else { window.most() });
        window
    }
}

impl OutputWindow {
    /// As wide as it is.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// As wide as there is room for now, and at least as wide as what has been granted of it already.
    pub fn fit(&mut self, granted: u64) -> u32 {
        let granted = u32::try_from(granted).unwrap_or(WIDEST_OUTPUT).min(WIDEST_OUTPUT);
        self.set(self.most().max(granted));
        self.bytes
    }

    fn most(&self) -> u32 {
        let room = self.budgets.iter().map(|budget| budget.window_of_at_most(WIDEST_OUTPUT, self.bytes));
        room.min().unwrap_or(WIDEST_OUTPUT)
    }

    fn set(&mut self, bytes: u32) {
        for budget in &self.budgets {
            budget.change(self.bytes, bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for OutputWindow {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// One that is of nobody's budget, for tests of what is sent within it.
#[cfg(any(test, feature = "testing"))]
impl Default for OutputWindow {
    fn default() -> Self {
        Self { budgets: Vec::new(), bytes: WIDEST_OUTPUT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn who_takes_no_output_on_many_channels_holds_no_more_than_their_budget() {
        let budget = OutputBudget::new(512 * MIB, 128 * MIB);
        let mut windows: Vec<OutputWindow> = (0..512).map(|_| budget.window("ada", false)).collect();
        // they take a little of each, so that there is more credit
        let wide: Vec<u32> = windows.iter_mut().map(|window| window.fit(0)).collect();
        assert!(wide.iter().map(|&bytes| bytes as usize).sum::<usize>() <= 128 * MIB, "{wide:?}");
        assert!(wide.iter().all(|&bytes| bytes >= NARROWEST_OUTPUT));
        // what was granted is not taken back
        assert_eq!(windows[511].fit(300_000), 300_000);
        // others have theirs
        assert_eq!(budget.window("bob", false).bytes(), WIDEST_OUTPUT);
        drop(windows);
        assert_eq!(budget.all.bytes(), 0);
        assert_eq!(budget.window("ada", false).bytes(), WIDEST_OUTPUT);
        assert_eq!(budget.people.lock().unwrap().len(), 1, "who has no channel is not remembered");
    }

    #[test]
    fn a_screen_promises_little_and_what_flows_gets_what_there_is_room_for() {
        let budget = OutputBudget::new(512 * MIB, 128 * MIB);
        let mut shells: Vec<OutputWindow> = (0..200).map(|_| budget.window("ada", true)).collect();
        assert_eq!(budget.all.bytes(), 200 * NARROWEST_OUTPUT as usize);
        assert_eq!(shells[0].fit(0), WIDEST_OUTPUT);
        assert_eq!(budget.window("ada", false).bytes(), WIDEST_OUTPUT);
    }
}
