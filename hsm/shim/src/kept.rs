//! What SoftHSM loses when it is killed at the wrong moment, and how it gets it back.
//!
//! SoftHSM 2.6.1 empties `token.object` and writes it anew whenever somebody logs in. A process that is killed in between leaves it
//! empty, and to whoever comes next the token is not there. Tests kill workers at all moments; this is no fault that they are
//! about, and an operator would put the file back from a copy. So do we.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The token stores of this process: the directories in the one that [`crate::STORE`] names.
fn stores() -> Vec<PathBuf> {
    let Some(all) = std::env::var_os(crate::STORE) else { return Vec::new() };
    fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Before a login: keeps each file that is whole.
pub fn keep() {
    for store in stores() {
        tell(replace(&file_of(&store), &copy_of(&store)));
    }
}

/// Before the module reads them: puts back each file that is empty.
pub fn put_back() {
    for store in stores() {
        let file = file_of(&store);
        if fs::metadata(&file).is_ok_and(|found| found.len() == 0) && copy_of(&store).exists() {
            tell(replace(&copy_of(&store), &file));
            eprintln!("the shim has put back {}, which was empty", file.display());
        }
    }
}

fn file_of(store: &Path) -> PathBuf {
    store.join("token.object")
}

/// Beside the store, where SoftHSM does not look.
fn copy_of(store: &Path) -> PathBuf {
    store.with_extension("kept")
}

/// Puts what `from` holds in the place of `to`, at once; nothing if `from` is empty.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let new = to.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, bytes)?;
    fs::rename(&new, to)
}

fn tell(done: io::Result<()>) {
    if let Err(error) = done {
        eprintln!("the shim cannot keep a copy of the token: {error}");
    }
}
