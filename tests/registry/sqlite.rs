//! The suite on SQLite.

use crate::place::*;

#[path = "feed.rs"]
mod feed;
#[path = "group_commit.rs"]
mod group_commit;
#[path = "keys.rs"]
mod keys;
#[path = "malformed.rs"]
mod malformed;
#[path = "policies.rs"]
mod policies;
#[path = "store.rs"]
mod store;
#[path = "terms.rs"]
mod terms;
#[path = "users.rs"]
mod users;

async fn place() -> Place {
    Place::sqlite().await
}
