//! A consistent copy of the registry while it is in use.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Registry, RegistryError, Result, Trouble, TroubleKind};

impl Registry {
    /// Copies the registry, as it is at one moment, to a new file (mode 0600). An existing file is not overwritten.
    ///
    /// The copy appears under its name only when it is complete and on the disk.
    pub async fn backup(&self, to: &Path) -> Result<()> {
        self.copy(to).await.map_err(|trouble| {
            let text = format!("backup to {}: {}", to.display(), trouble.text());
            RegistryError::Trouble(Trouble::new(trouble.kind, text))
        })
    }

    async fn copy(&self, to: &Path) -> std::result::Result<(), Trouble> {
        let partial = partial_name(to);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        let copied = self.copy_by_way_of(&partial, to).await;
        std::fs::remove_file(&partial)?;
        copied
    }

    async fn copy_by_way_of(&self, partial: &Path, to: &Path) -> std::result::Result<(), Trouble> {
        let name = partial.to_str().ok_or_else(|| Trouble::new(TroubleKind::Io, "the file name is not UTF-8"))?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&self.readers).await?;
        File::open(partial)?.sync_all()?;
        // Unlike a rename, a link never replaces a file.
        std::fs::hard_link(partial, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(folder)?.sync_all()?)
    }
}

fn partial_name(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    name.into()
}
