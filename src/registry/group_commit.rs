//! Group commit: keys that are asked for at the same time are registered in one transaction, so that they wait for the disk once.
//!
//! What each caller could rely on in a transaction of its own, it can rely on here:
//!
//! - It is answered when its key is on the disk, and not before.
//! - "No" is the caller's own, and so is a row that does not read: whether there will be a key is judged before anything is written
//!   for it, and the others are none the worse.
//! - Trouble is everybody's: where a statement or the commit fails, nothing of the group is registered, and each is told that
//!   the registry cannot tell.
//! - The transaction runs in a task of its own: a caller who goes away takes nothing along.
//!
//! The keys of a group are registered one after the other, each seeing those before it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::client_tokens::{self, Made, UsedToken};
use super::transaction::transact;
use super::{Connection, NewKey, Registry, RegistryError, Result, Trouble, TroubleKind, check_actor, issuing};

/// Most keys of a group. Other writers, who may want to deny something, wait for it to end.
const LARGEST: usize = 64;

/// Those who wait for a key of theirs to be registered.
#[derive(Debug, Default)]
pub(super) struct Line {
    orders: Mutex<Vec<Order>>,
    /// Held by the task that registers.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Order {
    new: NewKey,
    token: Option<UsedToken>,
    answer: oneshot::Sender<Result<Made>>,
}

impl Line {
    fn join(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
    }

    fn is_empty(&self) -> bool {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Fills a group with those who came first, and are still there.
    fn fill(&self, group: &mut Vec<Order>) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.retain(|order| !order.answer.is_closed());
        let room = (LARGEST - group.len()).min(orders.len());
        group.extend(orders.drain(..room));
    }
}

/// Registers a key together with those that are waiting, and returns once that is on the disk.
pub(super) async fn register(registry: &Registry, new: &NewKey, token: Option<&UsedToken>) -> Result<Made> {
    let (answer, outcome) = oneshot::channel();
    registry.line.join(Order { new: new.clone(), token: token.copied(), answer });
    // As many tasks as orders, and each registers one at least, if there is one left.
    tokio::spawn(register_group(Registry { actor: None, ..registry.clone() }));
    let given_up = |_| Trouble::new(TroubleKind::Io, "the transaction was given up");
    outcome.await.map_err(given_up)?
}

async fn register_group(registry: Registry) {
    let line = &registry.line;
    let _turn = line.turn.lock().await;
    if line.is_empty() {
        return;
    }
    let mut group = Vec::new();
    match commit(&registry, &mut group).await {
        Ok(made) => group.into_iter().zip(made).for_each(|(order, made)| order.tell(made)),
        Err(error) => {
            // Where no transaction was begun, that is what they were waiting for.
            if group.is_empty() {
                line.fill(&mut group);
            }
            group.into_iter().for_each(|order| order.tell(Err(error.clone())));
        }
    }
}

async fn commit(registry: &Registry, group: &mut Vec<Order>) -> Result<Vec<Result<Made>>> {
    transact!(registry, |transaction| register_all(transaction, &registry.line, group))
}

/// Who came while the transaction was waited for is taken along.
async fn register_all(transaction: &mut Connection, line: &Line, group: &mut Vec<Order>) -> Result<Vec<Result<Made>>> {
    line.fill(group);
    let now = group.iter().map(|order| order.new.at).max().unwrap_or_default();
    issuing::forget_signatures(transaction, now).await?;
    client_tokens::forget(transaction, now).await?;
    let mut made = Vec::with_capacity(group.len());
    for order in &*group {
        let judged = order.judge(transaction).await;
        match &judged {
            Ok(judged) => order.write(transaction, judged).await?,
            Err(error @ RegistryError::Trouble(_)) if !error.is_bad_row() => return judged.map(|_| made),
            Err(_) => {}
        }
        made.push(judged);
    }
    Ok(made)
}

impl Order {
    async fn judge(&self, transaction: &mut Connection) -> Result<Made> {
        let actor = match &self.new.created_by {
            Some(actor) => Some(check_actor(transaction, actor).await?),
            None => None,
        };
        match &self.token {
            Some(token) => client_tokens::judge(transaction, &self.new, token, actor.as_ref()).await,
            None => issuing::judge(transaction, &self.new, actor.as_ref()).await.map(Made::New),
        }
    }

    async fn write(&self, transaction: &mut Connection, judged: &Made) -> Result<()> {
        match judged {
            // Whoever overhears the request cannot have it answered again.
            Made::Before(..) => return issuing::use_signature(transaction, &self.new).await,
            Made::New(_) => issuing::write(transaction, &self.new).await?,
        }
        match &self.token {
            Some(token) => client_tokens::remember(transaction, &self.new, token).await,
            None => Ok(()),
        }
    }

    fn tell(self, made: Result<Made>) {
        // Who has gone away is not told.
        self.answer.send(made).ok();
    }
}
