//! Windows out of one budget of memory: what is promised to many is never more than there is.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The part of the widest that windows have where over half of a budget is promised.
const NARROWER: u32 = 8;

/// What is promised of a budget.
#[derive(Debug)]
pub struct Promised {
    budget: AtomicUsize,
    narrowest: u32,
    bytes: AtomicUsize,
}

impl Promised {
    /// Nothing yet, of so many bytes. The `narrowest` window is never refused.
    pub fn of(budget: usize, narrowest: u32) -> Self {
        Self { budget: AtomicUsize::new(budget), narrowest, bytes: AtomicUsize::new(0) }
    }

    /// The budget.
    pub fn budget(&self) -> usize {
        self.budget.load(Ordering::Relaxed)
    }

    /// It is another from now on. What was promised stays so, and windows are narrower until there is room.
    pub fn set_budget(&self, budget: usize) {
        self.budget.store(budget, Ordering::Relaxed);
    }

    /// What is promised.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How wide a window may be beside what is promised already, without the one that it `has`: `most`, an eighth of it over
    /// half of the budget, and the narrowest over three quarters.
    pub fn window_of_at_most(&self, most: u32, has: u32) -> u32 {
        let others = self.bytes().saturating_sub(has as usize);
        let budget = self.budget();
        if others <= budget / 2 {
            most
        } else if others <= budget / 4 * 3 {
            (most / NARROWER).max(most.min(self.narrowest))
        } else {
            most.min(self.narrowest)
        }
    }

    /// A window is another one now; 0 is none.
    pub fn change(&self, before: u32, now: u32) {
        self.bytes.fetch_add(now as usize, Ordering::Relaxed);
        self.bytes.fetch_sub(before as usize, Ordering::Relaxed);
    }
}
