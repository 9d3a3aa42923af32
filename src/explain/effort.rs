//! How much a search may cost.

/// A bound on the work of a search for deviations.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    trials: usize,
    bytes: usize,
}

impl Effort {
    /// For one person at a terminal: some 50 ms.
    pub const OFFLINE: Self = Self { trials: 60_000, bytes: 64 << 20 };

    /// For a node that serves others meanwhile: a few milliseconds.
    pub(super) const ONLINE: Self = Self { trials: 4_000, bytes: 4 << 20 };
    /// Where one comparison costs as much as a hundred of the others: with ECDSA.
    pub(super) const COSTLY: Self = Self { trials: 400, bytes: 4 << 20 };

    /// Whether there is nothing left.
    pub(super) fn is_spent(&self) -> bool {
        self.trials == 0 || self.bytes == 0
    }

    /// Takes one trial and so many bytes; whether there was anything left to take from.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let had = !self.is_spent();
        self.trials = self.trials.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        had
    }
}
