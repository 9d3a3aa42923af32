//! The cells of the fault matrix, and nodes that run them: several beside each other, because a cell mostly waits.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rederive_shim::{Call, Deed, Fault, How, RETURN_VALUES, When};

use crate::common::{self, Pair, REDERIVE, sign};
use crate::copies::copyable;
use crate::modules::key_of;
use crate::oracle::{Tally, Truth, ask_both};
use crate::place::{Module, Node, Place, Token, tail};

/// How often a cell tries to have its fault met. One that strikes at a rate may pass a call over.
const TRIES: usize = 12;
/// How long one try waits. A worker that failed over and over is started a second later.
const TRY: Duration = Duration::from_secs(4);
/// How long a command may hang in its last call.
const HANGS: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(5);
/// Looking at metrics costs the node something.
const LOOK_AT_NODE: Duration = Duration::from_millis(40);

/// One cell: the fault, and whether both tokens have it.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub fault: Fault,
    pub on_both: bool,
}

impl Cell {
    /// Whether its call is made by no worker but those that use masters by copies (`session_copies`).
    fn needs_copies(&self) -> bool {
        self.fault.call == Call::CopyObject
    }
}

/// All of them, in an order that never changes: a cell's number is its name.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for call in Call::ALL {
        for deed in deeds(*call) {
            for when in [When::Before, When::After] {
                for how in [How::Times(1), How::Rate(300_000), How::ForGood] {
                    // A master that can be copied is on one token alone: its class says so.
                    let tokens: &[bool] = if *call == Call::CopyObject { &[false] } else { &[false, true] };
                    let fault = Fault { call: *call, deed, when, how };
                    cells.extend(tokens.iter().map(|on_both| Cell { fault, on_both: *on_both }));
                }
            }
        }
    }
    cells
}

/// What a call can be made to do.
fn deeds(call: Call) -> impl Iterator<Item = Deed> {
    let returned = RETURN_VALUES.iter().map(|(_, value)| Deed::Return(*value));
    let others = [Deed::Delay(30), Deed::Hang, Deed::Die, Deed::LoseSessions];
    let on_signatures = [Deed::Flip(None), Deed::Short].into_iter().filter(move |_| call == Call::Sign);
    returned.chain(others).chain(on_signatures)
}

/// Whether a call is made only while a worker starts or ends.
pub fn is_of_the_start(call: Call) -> bool {
    !matches!(call, Call::SignInit | Call::Sign)
}

/// What came of a cell.
#[derive(Default)]
pub struct Outcome {
    pub tally: Tally,
    /// Whether the fault was met, on each token that had it.
    pub is_met: bool,
    /// Whether `serve` ended, or was not whole again when the fault was over.
    pub broken: Option<String>,
}

/// A node with tokens of its own.
pub struct Lane {
    pub place: Place,
    pub node: Node,
    /// Whose requests are sent: of a master that workers use by copies, where they do.
    pair: Pair,
    uses_copies: bool,
}

impl Lane {
    /// Two tokens, with so many workers for each.
    pub fn open(workers: usize) -> Self {
        let place = Place::new(&["a", "b"], workers);
        let (node, pair) = (place.serve(), place.root.clone());
        Self { place, node, pair, uses_copies: false }.whole()
    }

    /// One that cells like this can run on.
    pub fn suiting(cell: &Cell) -> Self {
        if !cell.needs_copies() {
            return Self::open(1);
        }
        let place = copyable(Module::SoftHsm);
        let node = place.whole();
        let pair = key_of(&place, &node, 1);
        Self { place, node, pair, uses_copies: true }.whole()
    }

    fn whole(mut self) -> Self {
        self.mend().unwrap_or_else(|why| panic!("a new node: {why}"));
        self
    }

    /// Whether a cell can run on it.
    pub fn suits(&self, cell: &Cell) -> bool {
        self.uses_copies == cell.needs_copies()
    }

    /// Ends it. Its workers have kept the rules of the standard.
    pub fn end(self) {
        for token in &self.place.tokens {
            assert_eq!((token.control.forked(), token.control.raced()), (0, 0), "rules of the standard");
        }
    }

    /// Faults injected so far.
    pub fn injected(&self) -> u64 {
        self.place.tokens.iter().map(|token| token.control.all_injected()).sum()
    }

    pub fn disarm(&self) {
        self.place.tokens.iter().for_each(|token| token.control.disarm_all());
    }

    /// From now on this request is cached, whatever the tokens do.
    fn warm_up(&self) {
        common::wait_until("a first answer", || self.node.verdict(&self.warm()) == "accept");
    }

    pub fn warm(&self) -> sign::Signed {
        sign::s3_get(&self.place.root, "local", "h", "/b/k")
    }

    /// Runs a cell, and leaves the node whole.
    pub fn run(&mut self, number: usize, cell: Cell) -> Outcome {
        let (tally, is_met) = self.strike(number, cell);
        self.disarm();
        let mended = self.mend();
        if mended.is_err() {
            self.begin_anew();
            self.mend().unwrap_or_else(|why| panic!("cell {number} {cell:?}: a new node: {why}"));
        }
        Outcome { tally, is_met, broken: mended.err().map(|why| format!("cell {number} {cell:?}: {why}")) }
    }

    fn strike(&self, number: usize, cell: Cell) -> (Tally, bool) {
        let (call, what) = (cell.fault.call, format!("cell {number} {cell:?}"));
        let faulted = &self.place.tokens[..if cell.on_both { 2 } else { 1 }];
        let before: Vec<u64> = faulted.iter().map(|token| token.control.injected(call)).collect();
        let is_met = |at: usize| faulted[at].control.injected(call) > before[at];
        let unmet = || (0..faulted.len()).filter(|at| !is_met(*at)).map(|at| &faulted[at]).collect::<Vec<_>>();
        faulted.iter().for_each(|token| token.control.arm(0, cell.fault));
        let mut tally = Tally::default();
        for _ in 0..TRIES {
            self.provoke(call, &unmet());
            tally.add(ask_both(&self.node, &self.pair, 2, &what));
            if unmet().is_empty() {
                break;
            }
        }
        // Only of the master that both tokens hold it is known what secret is right.
        if !self.uses_copies && (number.is_multiple_of(5) || call == Call::Sign) {
            match self.node.new_key(&self.place.root, &format!("u{number}")) {
                Ok(key) => tally.judge_key(&key, &what),
                Err(status) => tally.judge(Truth::Valid, &status.to_string(), &what),
            }
        }
        tally.judge_cached(&self.node.verdict(&self.warm()), &what);
        (tally, unmet().is_empty())
    }

    /// Has the workers of some tokens make a call that a request alone does not make.
    fn provoke(&self, call: Call, tokens: &[&Token]) {
        match call {
            Call::Finalize => self.end_a_worker(tokens),
            // Sessions are closed when something failed on them.
            Call::CloseSession => {
                let fails =
                    Fault { call: Call::Sign, deed: Deed::Return(0x06), when: When::Before, how: How::Times(2) };
                tokens.iter().for_each(|token| token.control.arm(1, fails));
            }
            call if is_of_the_start(call) => self.start_workers(call, tokens),
            _ => {}
        }
    }

    /// Has tokens' workers replaced, and waits until each new one has met the fault, or has no more to do with it.
    fn start_workers(&self, call: Call, tokens: &[&Token]) {
        let since = Instant::now();
        let mut waiting: BTreeMap<&str, (&Token, u64, Vec<u32>)> = BTreeMap::new();
        for token in tokens {
            let old = self.node.worker_ids(token.name);
            waiting.insert(token.name, (token, token.control.injected(call), old.clone()));
            old.into_iter().for_each(|id| common::kill(id, "KILL"));
        }
        let mut looked = Instant::now();
        while !waiting.is_empty() && since.elapsed() < TRY {
            std::thread::sleep(LOOK);
            waiting.retain(|_, (token, before, _)| token.control.injected(call) == *before);
            if looked.elapsed() > LOOK_AT_NODE {
                looked = Instant::now();
                waiting.retain(|_, (token, _, old)| !self.is_replaced(token, old));
            }
        }
    }

    fn is_replaced(&self, token: &Token, old: &[u32]) -> bool {
        let now = self.node.worker_ids(token.name);
        !now.is_empty() && now.iter().all(|id| !old.contains(id)) && self.node.workers(token.name, "trusted") > 0.0
    }

    /// A worker ends in good order where an operator's command has started it.
    fn end_a_worker(&self, tokens: &[&Token]) {
        let injected = || tokens.iter().map(|token| token.control.injected(Call::Finalize)).collect::<Vec<_>>();
        let mut doctor = Command::new(REDERIVE)
            .args(["doctor", "--config"])
            .arg(self.place.config())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        let (before, since) = (injected(), Instant::now());
        while doctor.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Whoever hangs there has been met.
            for (token, (before, now)) in tokens.iter().zip(before.iter().zip(injected())) {
                if now > *before && since.elapsed() > HANGS {
                    token.control.disarm_all();
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the node is whole; a PIN that was said to be refused is unlatched, as an operator would. Says why it is not.
    pub fn mend(&mut self) -> Result<(), String> {
        // Counted in looks: where every process of the machine is stopped for a while, this one is as well.
        for _ in 0..common::LONG.as_millis() / LOOK_AT_NODE.as_millis() {
            if !self.node.is_running() {
                return Err(format!("serve ended: {}", tail(&self.node.log)));
            }
            let has = |token: &Token, state| self.node.workers(token.name, state) > 0.0;
            // What is latched shows late where a worker waits for another's login: so a new node may be latched as well.
            let latched: Vec<_> = self.place.tokens.iter().filter(|token| has(token, "latched")).collect();
            if !latched.is_empty() {
                latched.iter().for_each(|token| drop(self.place.run(&["token", "unlatch", token.name])));
                self.begin_anew();
            } else if self.place.tokens.iter().all(|token| has(token, "trusted")) {
                self.warm_up();
                return Ok(());
            }
            std::thread::sleep(LOOK_AT_NODE);
        }
        Err(format!("it is not whole again: {}", tail(&self.node.log)))
    }

    fn begin_anew(&mut self) {
        common::kill(self.node.process.id(), "KILL");
        let _ = self.node.process.wait();
        self.node = self.place.serve();
    }
}
