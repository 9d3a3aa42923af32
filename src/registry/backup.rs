//! A consistent copy of the registry while it is in use.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::connection::Pool;
use super::{Registry, Result, Trouble, TroubleKind, query};

impl Registry {
    /// Copies the registry, as it is at one moment, to a new file (mode 0600). An existing file is not overwritten.
    ///
    /// The copy appears under its name only when it is complete and on the disk. For SQLite: PostgreSQL has tools of its own.
    pub async fn backup(&self, to: &Path) -> Result<()> {
        self.copy(to).await.map_err(|error| error.at(&format!("backup to {}", to.display())))
    }

    async fn copy(&self, to: &Path) -> Result<()> {
        if let Pool::Postgres(_) = self.readers {
            let text = "the registry is in PostgreSQL: copy it with pg_dump, or with the backups of the whole server";
            return Err(Trouble::new(TroubleKind::Io, text).into());
        }
        let partial = partial_name(to);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(Trouble::from)?;
        let copied = self.copy_by_way_of(&partial, to).await;
        std::fs::remove_file(&partial).map_err(Trouble::from)?;
        copied
    }

    async fn copy_by_way_of(&self, partial: &Path, to: &Path) -> Result<()> {
        let name = partial.to_str().ok_or_else(|| Trouble::new(TroubleKind::Io, "the file name is not UTF-8"))?;
        query("VACUUM INTO $1").bind(name).execute(&mut self.readers.acquire().await?).await?;
        publish(partial, to).map_err(|error| Trouble::from(error).into())
    }
}

/// Gives a complete file its name.
fn publish(partial: &Path, to: &Path) -> std::io::Result<()> {
    File::open(partial)?.sync_all()?;
    // Unlike a rename, a link never replaces a file.
    std::fs::hard_link(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn partial_name(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    name.into()
}
