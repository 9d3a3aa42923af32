//! One set of SQL for both engines: a statement with what is bound to it, and the rows that come back.
//!
//! What both take: `$1`, `ON CONFLICT`, `RETURNING`, partial indexes. A column is `BIGINT`, `TEXT` or bytes; whatever else
//! a value is, it is made one of these before it is bound. (`sqlx::Any` does much the same, but copies each cell once more,
//! and takes a password in nothing but a URL.)

use std::borrow::Cow;

use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Database, Decode, Encode, Executor, Postgres, Row as _, Sqlite, Type};

use super::connection::Connection;
use super::postgres::in_time;
use super::{Trouble, TroubleKind};

type Result<T> = std::result::Result<T, Trouble>;

/// A statement. Bind its parameters in order, then run it.
pub(super) fn query(sql: &str) -> Query<'_> {
    Query { sql, values: Vec::new() }
}

/// A statement and its parameters.
pub(super) struct Query<'q> {
    sql: &'q str,
    values: Vec<Value<'q>>,
}

/// What a parameter can be.
pub(super) enum Value<'q> {
    Int(i64),
    Text(Option<Cow<'q, str>>),
    Bytes(&'q [u8]),
}

impl<'q> Query<'q> {
    /// Binds the next parameter.
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it, and tells how many rows it made, changed or removed.
    pub async fn execute(self, connection: &mut Connection) -> Result<u64> {
        match connection {
            Connection::Sqlite(sqlite) => Ok(self.bound().execute(&mut **sqlite).await?.rows_affected()),
            Connection::Postgres(held) => {
                let outcome = in_time(held.begin().execute(self.bound())).await;
                Ok(held.settle(outcome)?.rows_affected())
            }
        }
    }

    /// The first row, if there is one.
    pub async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<Row>> {
        match connection {
            Connection::Sqlite(sqlite) => Ok(self.bound().fetch_optional(&mut **sqlite).await?.map(Row::Sqlite)),
            Connection::Postgres(held) => {
                let outcome = in_time(held.begin().fetch_optional(self.bound())).await;
                Ok(held.settle(outcome)?.map(Row::Postgres))
            }
        }
    }

    /// The row of a statement that always has one.
    pub async fn fetch_one(self, connection: &mut Connection) -> Result<Row> {
        let sql = self.sql;
        let none = || Trouble::new(TroubleKind::BadRow, format!("a row is missing: {sql}"));
        self.fetch_optional(connection).await?.ok_or_else(none)
    }

    /// All rows. There may be millions: it is each next one that must come in time.
    pub async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>> {
        match connection {
            Connection::Sqlite(sqlite) => {
                Ok(self.bound().fetch_all(&mut **sqlite).await?.into_iter().map(Row::Sqlite).collect())
            }
            Connection::Postgres(held) => {
                let mut rows = Vec::new();
                let outcome = async {
                    let mut stream = held.begin().fetch(self.bound());
                    while let Some(row) = in_time(stream.try_next()).await? {
                        rows.push(Row::Postgres(row));
                    }
                    Ok(())
                };
                let outcome = outcome.await;
                held.settle(outcome)?;
                Ok(rows)
            }
        }
    }

    fn bound<DB: Database>(self) -> sqlx::query::Query<'q, DB, DB::Arguments<'q>>
    where
        i64: Encode<'q, DB> + Type<DB>,
        Option<Cow<'q, str>>: Encode<'q, DB> + Type<DB>,
        &'q [u8]: Encode<'q, DB> + Type<DB>,
    {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(value: &'q str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(value: Option<&'q str>) -> Self {
        Self::Text(value.map(Cow::from))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(value: &'q String) -> Self {
        value.as_str().into()
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'q> From<&'q [u8]> for Value<'q> {
    fn from(value: &'q [u8]) -> Self {
        Self::Bytes(value)
    }
}

/// A row of either engine.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A column, by its name or its place.
    pub fn try_get<'r, T, I>(&'r self, column: I) -> std::result::Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// A primary key's column for a text that names the row, whatever its type is and whether it reads or not.
    pub fn name(&self, column: &str) -> String {
        let name = match self {
            Self::Sqlite(row) => row.try_get_unchecked::<String, _>(column),
            Self::Postgres(row) => row.try_get(column).or_else(|_| Ok(row.try_get::<i64, _>(column)?.to_string())),
        };
        name.unwrap_or_else(|_: sqlx::Error| "unreadable".into())
    }
}
