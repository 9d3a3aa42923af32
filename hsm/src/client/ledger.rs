//! Whether a worker has been asked for more than we have asked: two counts of the same requests, compared. Pure.
//!
//! A worker reads the requests of a connection in their order, so the count of a connection must be ours exactly. Requests on
//! other connections to the same worker must be those of our own former connections, of which the last may be unread.

use crate::tally::{Sheet, Tally};
use crate::wire::Request;

/// What was sent to the worker at the end of one line.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Others may ask the same worker: only the count of our own connection is compared.
    is_shared: bool,
    /// Sent on this connection.
    sent: Tally,
    /// The same as of a request for a sheet, by its mark.
    marked: Option<(u64, Tally)>,
    marks: u64,
    /// The process that was compared last.
    instance: Option<[u8; 8]>,
    /// What others had asked it when it was compared first.
    before: Tally,
    /// Sent on former connections since then, and what of it was surely read.
    past: Tally,
    past_read: Tally,
    /// Of this connection, as of the last sheet.
    read: Tally,
    /// What the masters were used for, by former processes and as of the last sheet.
    former_uses: Tally,
    uses: Tally,
}

/// Why the counts differ; for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Difference {
    #[error("it has counted other requests on our connection than we have sent: {0}")]
    Own(String),
    #[error("somebody else has asked it: {0}")]
    Others(String),
}

impl Ledger {
    pub(super) fn new(is_shared: bool) -> Self {
        Self { is_shared, ..Self::default() }
    }

    /// From now on requests go over a new connection.
    pub(super) fn connected(&mut self) {
        let (sent, read) = (std::mem::take(&mut self.sent), std::mem::take(&mut self.read));
        self.past = std::mem::take(&mut self.past).plus(&sent);
        self.past_read = std::mem::take(&mut self.past_read).plus(&read);
        self.marked = None;
    }

    /// The mark for the next request for a sheet.
    pub(super) fn next_mark(&mut self) -> u64 {
        self.marks += 1;
        self.marks
    }

    /// A request goes out now.
    pub(super) fn sends(&mut self, request: &Request) {
        match request {
            Request::Tally(mark) => self.marked = Some((*mark, self.sent.clone())),
            other => self.sent.count_request(other),
        }
    }

    /// What every process so far has used the masters for.
    pub(super) fn uses(&self) -> Tally {
        self.former_uses.clone().plus(&self.uses)
    }

    /// Compares what a worker has counted. A difference is told once.
    pub(super) fn compare(&mut self, sheet: &Sheet) -> Result<(), Difference> {
        // The answer to a request of before: another one is on its way.
        let Some((_, sent)) = self.marked.take_if(|(mark, _)| *mark == sheet.mark) else { return Ok(()) };
        let others = sheet.all.minus(&sheet.own);
        match self.instance.replace(sheet.instance) {
            Some(known) if known == sheet.instance => {}
            known => self.begins_anew(known.is_some(), &others),
        }
        self.uses = sheet.uses.clone();
        self.read = sheet.own.clone();
        if sheet.own != sent {
            return Err(Difference::Own(differ(&sheet.own, &sent)));
        }
        let most = self.before.clone().plus(&self.past);
        let least = self.before.clone().plus(&self.past_read);
        if self.is_shared || (others.is_within(&most) && least.is_within(&others)) {
            return Ok(());
        }
        let told = differ(&others, &most);
        (self.before, self.past, self.past_read) = (others, Tally::default(), Tally::default());
        Err(Difference::Others(told))
    }

    /// Another process. If we knew the one before, all that this one was asked until now was asked by us.
    fn begins_anew(&mut self, knew_another: bool, others: &Tally) {
        self.former_uses = std::mem::take(&mut self.former_uses).plus(&self.uses);
        self.past_read = Tally::default();
        if !knew_another {
            (self.before, self.past) = (others.clone(), Tally::default());
        } else {
            self.before = Tally::default();
        }
    }
}

/// `signing_key of generation 0: 7 instead of 5`.
fn differ(found: &Tally, expected: &Tally) -> String {
    let at = |tally: &Tally, name: &str, generation: &str| {
        tally.requests().find(|(n, g, _)| *n == name && g == generation).map_or(0, |(_, _, count)| count)
    };
    let all = found.clone().plus(expected);
    let lines = all.requests().filter_map(|(name, generation, _)| {
        let (found, expected) = (at(found, name, &generation), at(expected, name, &generation));
        (found != expected).then(|| format!("{name} of generation {generation}: {found} instead of {expected}"))
    });
    lines.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_key_id::Generation;

    fn check() -> Request {
        Request::Check(Generation::new(0).expect("in range"))
    }

    fn counted(requests: u64) -> Tally {
        vec![(3, 0, requests)].into_iter().filter(|(_, _, count)| *count > 0).collect::<Vec<_>>().into()
    }

    /// Sends some requests and has the worker's counts compared.
    fn after(ledger: &mut Ledger, requests: usize, instance: u8, own: u64, all: u64) -> Result<(), Difference> {
        (0..requests).for_each(|_| ledger.sends(&check()));
        let mark = ledger.next_mark();
        ledger.sends(&Request::Tally(mark));
        // Sent while the sheet is on its way.
        ledger.sends(&check());
        let (own, all, uses) = (counted(own), counted(all), counted(all));
        ledger.compare(&Sheet { mark, instance: [instance; 8], own, all, uses })
    }

    #[test]
    fn our_own_requests_are_no_alarm_over_any_number_of_connections() {
        let mut ledger = Ledger::default();
        ledger.connected();
        assert_eq!(after(&mut ledger, 5, 1, 5, 105), Ok(()), "100 of whoever was here before");
        assert_eq!(after(&mut ledger, 2, 1, 8, 108), Ok(()));
        ledger.connected();
        // Of the 9 that were sent on the first connection, 8 or 9 were read.
        assert_eq!(after(&mut ledger, 1, 1, 1, 109), Ok(()));
        assert_eq!(after(&mut ledger, 0, 1, 2, 111), Ok(()));
        ledger.connected();
        assert_eq!(after(&mut ledger, 1, 2, 1, 1), Ok(()), "another process");
        assert_eq!(ledger.uses(), counted(112));
    }

    #[test]
    fn one_request_of_somebody_else_is_told_once() {
        let mut ledger = Ledger::default();
        ledger.connected();
        assert_eq!(after(&mut ledger, 5, 1, 5, 5), Ok(()));
        let told = after(&mut ledger, 0, 1, 6, 7).expect_err("one more");
        assert_eq!(told, Difference::Others("check of generation 0: 1 instead of 0".into()));
        assert_eq!(after(&mut ledger, 0, 1, 7, 8), Ok(()), "it was told");
        ledger.connected();
        assert!(after(&mut ledger, 0, 2, 0, 30).is_err(), "somebody was quicker than we, with a new process");
        ledger.connected();
        assert!(after(&mut ledger, 3, 2, 2, 32).is_err(), "one of ours was not read, or another was");
        let mut shared = Ledger::new(true);
        shared.connected();
        assert_eq!(after(&mut shared, 5, 1, 5, 5), Ok(()));
        assert_eq!(after(&mut shared, 0, 1, 6, 70), Ok(()), "others may");
        assert!(after(&mut shared, 0, 1, 6, 70).is_err(), "but not on our connection");
    }
}
