//! Reading rows: every column is checked, and a malformed one is trouble that names its row.

use super::{RegistryError, Result, Row, Trouble, TroubleKind};

/// The rows that read. One that does not is told in the log, and keeps nobody from the others.
pub(super) fn readable<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> Vec<T> {
    rows.iter().filter_map(|row| read(row).inspect_err(tell).ok()).collect()
}

/// Tells of a malformed row.
pub(super) fn tell(error: &RegistryError) {
    tracing::error!(%error, "a malformed row of the registry is left out");
}

/// A row on its way to a typed one.
pub(super) struct Cells<'r> {
    row: &'r Row,
    table: &'static str,
    key: String,
}

impl<'r> Cells<'r> {
    /// `key` is the primary key's column, by which trouble names the row. It may be of any type.
    pub fn of(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key: row.name(key) }
    }

    pub fn int(&self, column: &str) -> Result<i64> {
        self.row.try_get(column).map_err(|error| self.bad(column, &error.to_string()))
    }

    pub fn text(&self, column: &str) -> Result<String> {
        self.row.try_get(column).map_err(|error| self.bad(column, &error.to_string()))
    }

    pub fn optional_int(&self, column: &str) -> Result<Option<i64>> {
        self.row.try_get(column).map_err(|error| self.bad(column, &error.to_string()))
    }

    pub fn optional_text(&self, column: &str) -> Result<Option<String>> {
        self.row.try_get(column).map_err(|error| self.bad(column, &error.to_string()))
    }

    pub fn hash(&self, column: &str) -> Result<[u8; 32]> {
        self.bytes(column)
    }

    pub fn bytes<const N: usize>(&self, column: &str) -> Result<[u8; N]> {
        let bytes: Vec<u8> = self.row.try_get(column).map_err(|error| self.bad(column, &error.to_string()))?;
        bytes.try_into().map_err(|_| self.bad(column, &format!("not {N} bytes")))
    }

    /// A number that must fit a type.
    pub fn number<T>(&self, column: &str, read: impl FnOnce(u64) -> Option<T>) -> Result<T> {
        let number = self.int(column)?;
        u64::try_from(number).ok().and_then(read).ok_or_else(|| self.bad(column, &format!("{number} is out of range")))
    }

    /// A text that must be one of a type's.
    pub fn word<T>(&self, column: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let text = self.text(column)?;
        read(&text).ok_or_else(|| self.bad(column, &format!("{text:?} is not known here")))
    }

    /// A text that must be one of a type's, or NULL.
    pub fn optional_word<T>(&self, column: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        match self.optional_text(column)? {
            None => Ok(None),
            Some(text) => read(&text).map(Some).ok_or_else(|| self.bad(column, &format!("{text:?} is not known here"))),
        }
    }

    pub fn bad(&self, column: &str, why: &str) -> RegistryError {
        let text = format!("{} {}, column {column}: {why}", self.table, self.key);
        Trouble::new(TroubleKind::BadRow, text).into()
    }
}
