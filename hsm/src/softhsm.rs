//! SoftHSM for development and tests: where its module is, and a token store of our own.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{PinSource, TokenConfig};
use crate::pkcs11::hex;

/// Where Linux distributions install the module.
const MODULES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A directory with a SoftHSM configuration, a PIN and a token store.
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Writes what is missing: `softhsm2.conf`, `pin` (random, mode 0600) and the directory `tokens`.
    pub fn prepare(directory: &Path) -> Result<Self, std::io::Error> {
        let tokens = directory.join("tokens");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&tokens)?;
        write_new(&directory.join("softhsm2.conf"), || {
            Ok(format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                tokens.display()
            ))
        })?;
        write_new(&directory.join("pin"), || {
            let mut pin = [0; 16];
            getrandom::fill(&mut pin).map_err(std::io::Error::other)?;
            Ok(format!("{}\n", hex(&pin)))
        })?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The variables that a process needs to use this store.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![("SOFTHSM2_CONF".into(), self.directory.join("softhsm2.conf").display().to_string())]
    }

    /// The configuration of a token in this store.
    pub fn token(&self, name: &str) -> Result<TokenConfig, std::io::Error> {
        Ok(TokenConfig {
            name: name.to_owned(),
            module: module()?,
            label: Some(name.to_owned()),
            serial: None,
            pin: PinSource::File(self.directory.join("pin")),
            sessions: 1,
            classes: Default::default(),
            session_copies: Default::default(),
            cannot_tell: Default::default(),
            latch: None,
        })
    }
}

/// The SoftHSM module of this machine: `SOFTHSM2_MODULE`, or the first of the usual places.
pub fn module() -> Result<PathBuf, std::io::Error> {
    if let Some(named) = std::env::var_os("SOFTHSM2_MODULE") {
        return Ok(named.into());
    }
    MODULES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "SoftHSM is not installed: install the package 'softhsm2', or name its module in SOFTHSM2_MODULE",
        )
    })
}

fn write_new(path: &Path, text: impl Fn() -> Result<String, std::io::Error>) -> Result<(), std::io::Error> {
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(text()?.as_bytes())?;
            file.sync_all()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
