//! Where a PIN comes from. It is wiped as soon as the token has had it.

use std::env::VarError;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Write};
use std::path::Path;

use cryptoki::types::AuthPin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::TokenError;
use crate::config::PinSource;

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The terminal of whoever has started this.
const TERMINAL: &str = "/dev/tty";
/// More than any token takes.
const LONGEST: usize = 256;

/// The PIN of a token's user or officer, wiped when dropped: the first line of what its source gives.
pub(super) fn read(source: &PinSource, token: &str, whose: &str) -> Result<AuthPin, TokenError> {
    let failed = |reason: Error| TokenError::PinSource {
        token: token.to_owned(),
        place: source.to_string(),
        reason: reason.to_string(),
    };
    let text = match source {
        PinSource::File(path) => file(path),
        PinSource::Credential(name) => credential(name),
        PinSource::Env(variable) => environment(variable),
        PinSource::Prompt => ask(&format!("PIN of {whose} '{token}': ")),
    };
    let text = text.map_err(failed)?;
    let pin = text.lines().next().unwrap_or_default();
    if pin.is_empty() {
        return Err(failed(Error::other("it is empty")));
    }
    Ok(AuthPin::from(pin.to_owned()))
}

/// The library's own error would tell a value that is no text.
fn environment(variable: &str) -> Result<Zeroizing<String>, Error> {
    std::env::var(variable).map(Zeroizing::new).map_err(|error| match error {
        VarError::NotPresent => Error::new(ErrorKind::NotFound, "it is not set"),
        VarError::NotUnicode(_) => Error::other("it is no text"),
    })
}

fn file(path: &Path) -> Result<Zeroizing<String>, Error> {
    std::fs::read_to_string(path).map(Zeroizing::new)
}

fn credential(name: &str) -> Result<Zeroizing<String>, Error> {
    let directory = std::env::var_os(CREDENTIALS)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{CREDENTIALS} is not set: systemd sets it")))?;
    file(&Path::new(&directory).join(name))
}

/// Restores a terminal's modes.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn open() -> Result<Self, Error> {
        let terminal = File::options().read(true).write(true).open(TERMINAL)?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        silent.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Whoever looks at the terminal sees what is wrong, and nobody else could do anything about it.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// A line that a person types at the terminal, which does not show it.
fn ask(prompt: &str) -> Result<Zeroizing<String>, Error> {
    let mut silent = Silent::open()?;
    silent.terminal.write_all(prompt.as_bytes())?;
    let mut line = Zeroizing::new([0; LONGEST]);
    // A terminal hands out a whole line at a time.
    let length = silent.terminal.read(&mut *line)?;
    let text = std::str::from_utf8(&line[..length]).map_err(|_| Error::other("it is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
