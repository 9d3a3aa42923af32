//! How many requests may be asked of two workers at once: one in twenty, and a few in a row.

/// What one request earns, in hundredths of a hedge: 5 %.
const EARNED: u32 = 5;
/// What one hedge costs.
const COST: u32 = 100;
/// Hedges that may be saved up.
const SAVED: u32 = 10;

/// The budget.
pub(super) struct HedgeBudget {
    hundredths: u32,
}

impl Default for HedgeBudget {
    fn default() -> Self {
        Self { hundredths: SAVED * COST }
    }
}

impl HedgeBudget {
    pub(super) fn earn(&mut self) {
        self.hundredths = (self.hundredths + EARNED).min(SAVED * COST);
    }

    pub(super) fn spend(&mut self) -> bool {
        let enough = self.hundredths >= COST;
        if enough {
            self.hundredths -= COST;
        }
        enough
    }
}
