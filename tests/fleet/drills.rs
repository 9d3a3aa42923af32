//! The drill of a fleet: three verifiers and two issuers on PostgreSQL, each a process; short here, 10,000 of each with `make soak`.
//!
//! Times are printed and not asserted, and who is told "cannot decide" asks again: on a machine that does much else, the worker of
//! SoftHSM may be late. What is asserted: once a key is refused by a verifier, that verifier accepts it no more
//! until it is switched on again; a new key verifies in the very next request everywhere, with the feed cut off.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{self, Pair, sign};
use crate::postgres::Server;
use crate::support::{Fleet, Node, Stop, pair};

/// Clients that change things at a time.
const CLIENTS: usize = 6;

struct Drill<'a> {
    root: &'a Pair,
    issuers: [&'a Node; 2],
    verifiers: &'a [Node],
    left: AtomicUsize,
}

impl Drill<'_> {
    fn call(&self, number: usize, body: &str) -> String {
        let mut undecided = 0;
        loop {
            let (status, xml) = self.issuers[number % 2].iam_with_patience(self.root, body);
            match status {
                200 => return xml,
                503 => undecided += 1,
                // The first time it was done, and that was not told.
                404 if undecided > 0 && body.contains("DeleteAccessKey") => return xml,
                _ => panic!("{body}: {status} {xml}"),
            }
        }
    }

    /// What a verifier says once it says anything.
    fn says(&self, verifier: &Node, key: &Pair) -> String {
        loop {
            let said = verifier.says(key);
            if said != "unavailable" {
                return said;
            }
        }
    }

    /// One less to do; `None` when all is done.
    fn next(&self) -> Option<usize> {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()
    }

    /// Switches a key off and on again, at one issuer and at the other; from each time that it was acknowledged to its refusal by
    /// every verifier.
    fn switch(&self, client: usize, key: &Pair) -> Vec<Duration> {
        let set = |number: usize, status: &str| {
            let id = &key.access_key_id;
            self.call(number, &format!("Action=UpdateAccessKey&UserName=c{client}&AccessKeyId={id}&Status={status}"))
        };
        let mut times = Vec::new();
        while let Some(number) = self.next() {
            set(number, "Inactive");
            let acknowledged = Instant::now();
            for verifier in self.verifiers {
                common::wait_until("a refusal", || verifier.says(key) == "refuse");
            }
            times.push(acknowledged.elapsed());
            for verifier in self.verifiers.iter().cycle().take(2 * self.verifiers.len()) {
                assert_eq!(self.says(verifier, key), "refuse", "never accepted again");
            }
            set(number + 1, "Active");
            self.verifiers.iter().for_each(|verifier| verifier.soon_says(key, "accept"));
        }
        times
    }

    /// Makes keys and uses each at once.
    fn create(&self, client: usize) {
        while let Some(number) = self.next() {
            let xml =
                self.call(number, &format!("Action=CreateAccessKey&UserName=c{client}&ClientToken=drill-{number}"));
            let key = pair(&xml);
            for verifier in self.verifiers {
                assert_eq!(self.says(verifier, &key), "accept", "the very next request");
            }
            self.call(number, &format!("Action=DeleteAccessKey&UserName=c{client}&AccessKeyId={}", key.access_key_id));
        }
    }
}

/// Verifies at one verifier for as long as the drill goes on; how often.
fn load(verifier: &Node, root: &Pair, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        // Signed anew each time: the long form may take longer than a signature is good for.
        let (_, answer) = verifier.ask(&sign::s3_get(root, "local", "h", "/b/k"));
        assert_ne!(answer["decision"], "refuse", "{answer}");
        count += usize::from(answer["decision"] == "accept");
        std::thread::sleep(Duration::from_millis(2));
    }
    count
}

#[test]
fn two_issuers_and_three_verifiers() {
    let count = if common::long() { 10_000 } else { 60 };
    let server = Server::durable();
    let fleet = Fleet::on_postgres(&server.database());
    let two = fleet.another_issuer("two", &[]);
    let feed = "max_staleness_s = 3600";
    let mut verifiers = vec![fleet.verifier("first", feed), fleet.verifier("second", feed)];
    fleet.wire.lead_to(&two.rpc);
    verifiers.push(fleet.verifier("third", feed));
    let keys: Vec<_> = (0..CLIENTS).map(|client| fleet.user(&format!("c{client}"))).collect();
    let drill = Drill { root: &fleet.root, issuers: [fleet.issuer(), &two], verifiers: &verifiers, left: count.into() };

    let stop = AtomicBool::new(false);
    let (mut times, verified) = std::thread::scope(|scope| {
        let stopped = Stop(&stop);
        let loads: Vec<_> =
            verifiers.iter().map(|verifier| scope.spawn(|| load(verifier, &fleet.root, &stop))).collect();
        let clients: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(client, key)| {
                let drill = &drill;
                scope.spawn(move || drill.switch(client, key))
            })
            .collect();
        let times: Vec<_> = clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
        drop(stopped);
        (times, loads.into_iter().map(|load| load.join().expect("no panic")).sum::<usize>())
    });
    assert!(verified > 0, "the control");
    times.sort();
    assert_eq!(times.len(), count);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{count} keys switched off under {verified} verifications: acknowledged to refused on three verifiers: median {:?}, \
         p99 {:?}, worst {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );

    fleet.wire.cut();
    drill.left.store(count, Ordering::Relaxed);
    let since = Instant::now();
    std::thread::scope(|scope| {
        (0..CLIENTS).for_each(|client| {
            let drill = &drill;
            scope.spawn(move || drill.create(client));
        });
    });
    println!(
        "{count} keys made, each accepted by three verifiers in the very next request, with the feed cut off: {:?}",
        since.elapsed()
    );
    let log = verifiers.iter().chain([fleet.issuer(), &two]).find(|node| node.log().contains("ALARM"));
    assert!(log.is_none(), "{}", log.map(Node::log).unwrap_or_default());
}
