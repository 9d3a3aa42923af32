//! What whoever runs a command is told and asked. Standard output has no buffer: what is printed may be a secret, and a
//! buffer would keep it for the life of the process.

use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;

/// Writes a text as it is.
pub fn text(text: &str) -> Result<(), std::io::Error> {
    File::from(std::io::stdout().as_fd().try_clone_to_owned()?).write_all(text.as_bytes())
}

/// Writes a line.
pub fn line(line: &str) -> Result<(), std::io::Error> {
    let mut whole = zeroize::Zeroizing::new(String::with_capacity(line.len() + 1));
    whole.push_str(line);
    whole.push('\n');
    text(&whole)
}

/// Asks whether to begin.
pub fn confirmed() -> Result<bool, std::io::Error> {
    eprint!("Begin? Type yes: ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}
