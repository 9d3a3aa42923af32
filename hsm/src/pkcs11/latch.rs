//! The latch of a refused PIN: most tokens lock after three wrong ones, so one try has to be enough until an operator has
//! mended it, over any number of restarts.
//!
//! It is a file beside the node's state. It names the token and the token's answer, and holds nothing of the PIN.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use super::TokenError;
use crate::config::TokenConfig;

/// How the names of latches begin.
pub const LATCH_PREFIX: &str = "pin-refused.";

/// Refuses to log in while the latch is set.
pub(super) fn check(config: &TokenConfig) -> Result<(), TokenError> {
    let Some(path) = &config.latch else { return Ok(()) };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let reason = text.lines().next().unwrap_or_default().to_owned();
            Err(TokenError::PinRefused { token: config.name.clone(), reason })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        // Whoever cannot tell whether the PIN was refused does not try it.
        Err(error) => Err(TokenError::Latch { path: path.display().to_string(), reason: error.to_string() }),
    }
}

/// Sets the latch.
pub(super) fn set(config: &TokenConfig, reason: &str) {
    let Some(path) = &config.latch else { return };
    let written = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let text =
        format!("{reason}\ntoken '{}' refused the PIN; 'rederive token unlatch' removes this file\n", config.name);
    if let Err(error) = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())) {
        tracing::error!(path = %path.display(), %error, "the refused PIN cannot be latched: do not restart before it is mended");
    }
}
