//! Where a registry is: a file of SQLite's, or a database of PostgreSQL's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use zeroize::Zeroizing;

use super::{Result, Trouble, TroubleKind};

/// What may stand behind the `?` of a URL: the names that `libpq` has for it.
const PARAMETERS: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host"];

/// Where a registry is. Its texts never hold a password.
#[derive(Clone)]
pub enum Location {
    /// SQLite's file.
    File(PathBuf),
    /// A database, as `postgres://USER@HOST:PORT/DATABASE` names it.
    Postgres(Box<Database>),
}

/// A database of PostgreSQL's, or of an engine that speaks its protocol.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
    /// Whether the URL says how TLS is to be used.
    names_ssl_mode: bool,
}

/// A URL that cannot be used. The text does not hold the URL: it may have a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(String);

impl FromStr for Location {
    type Err = BadUrl;

    /// `sqlite:PATH` or `postgres://USER@HOST:PORT/DATABASE?sslmode=…&sslrootcert=…`.
    fn from_str(url: &str) -> std::result::Result<Self, BadUrl> {
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(Box::new(url.parse()?))),
            _ => Err(BadUrl("takes postgres://USER@HOST:PORT/DATABASE or sqlite:PATH".into())),
        }
    }
}

impl FromStr for Database {
    type Err = BadUrl;

    fn from_str(url: &str) -> std::result::Result<Self, BadUrl> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let names: Vec<_> = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
        if let Some(unknown) = names.iter().find(|name| !PARAMETERS.contains(&&***name)) {
            return Err(BadUrl(format!("`{unknown}` is none of its parameters: {}", PARAMETERS.join(", "))));
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| BadUrl(format!("does not read: {error}")))?;
        let options = options.application_name("rederive");
        Ok(Self { options, names_ssl_mode: names.iter().any(|name| name == "sslmode") })
    }
}

impl Database {
    /// Whether it is on this machine: nobody is in between.
    fn is_local(&self) -> bool {
        let host = self.options.get_host().trim_matches(['[', ']']);
        self.options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// Makes sure that the server is who it should be: whoever stands in between could bring a deleted key back to life.
    pub fn require_tls(self: Box<Self>) -> std::result::Result<Box<Self>, BadUrl> {
        let checks = matches!(self.options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
        match (self.is_local() || checks, self.names_ssl_mode) {
            (true, _) => Ok(self),
            (false, false) => Ok(Box::new(Self { options: self.options.ssl_mode(PgSslMode::VerifyFull), ..*self })),
            (false, true) => Err(BadUrl(
                "its sslmode does not check who the server is: say sslmode=verify-full, with sslrootcert=FILE where the \
                 authority is your own, or allow_plaintext = true if the network between is your own"
                    .into(),
            )),
        }
    }

    /// With the password that stands in a file.
    pub fn with_password_file(mut self: Box<Self>, file: &Path) -> Result<Box<Self>> {
        let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
            let text = format!("cannot read the password file {}: {error}", file.display());
            Trouble::new(TroubleKind::Io, text)
        })?;
        self.options = self.options.password(text.trim_end_matches(['\r', '\n']));
        Ok(self)
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(database) => database.fmt(f),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let (user, database) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
        match options.get_socket() {
            Some(socket) => write!(f, "postgres://{user}@{}:{}/{database}", socket.display(), options.get_port()),
            None => write!(f, "postgres://{user}@{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_its_texts_hold_no_password() {
        for (url, shown) in [
            ("sqlite:/var/lib/registry.sqlite", "/var/lib/registry.sqlite"),
            ("postgres://app:p%40ss@db.internal:6432/keys", "postgres://app@db.internal:6432/keys"),
            ("postgresql://app@127.0.0.1:5432/keys?sslmode=disable", "postgres://app@127.0.0.1:5432/keys"),
            ("postgres://app@localhost:5432/keys?host=/run/pg", "postgres://app@/run/pg:5432/keys"),
        ] {
            let location: Location = url.parse().expect(url);
            assert_eq!((location.to_string(), format!("{location:?}")), (shown.to_owned(), shown.to_owned()));
        }
        for bad in ["", "registry.sqlite", "sqlite:", "mysql://db/x", "postgres://app:s3cret@db:port/x"] {
            let error = bad.parse::<Location>().expect_err(bad);
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let misspelt = "postgres://db/x?pasword=s3cret".parse::<Location>().expect_err("misspelt");
        assert!(misspelt.to_string().contains("`pasword`") && !misspelt.to_string().contains("s3cret"), "{misspelt}");
    }

    #[test]
    fn a_server_elsewhere_must_show_who_it_is() {
        let mode = |url: &str| {
            let database = Box::new(url.parse::<Database>().expect(url));
            database.require_tls().map(|database| database.options.get_ssl_mode())
        };
        assert!(matches!(mode("postgres://a@db.internal/x"), Ok(PgSslMode::VerifyFull)));
        assert!(matches!(mode("postgres://a@db.internal/x?sslmode=verify-ca"), Ok(PgSslMode::VerifyCa)));
        assert!(matches!(mode("postgres://a@127.0.0.1/x?sslmode=disable"), Ok(PgSslMode::Disable)));
        assert!(matches!(mode("postgres://a@[::1]/x?sslmode=disable"), Ok(PgSslMode::Disable)));
        assert!(matches!(mode("postgres://a@x/x?host=/run/postgresql"), Ok(PgSslMode::Prefer)));
        for weak in ["disable", "allow", "prefer", "require"] {
            mode(&format!("postgres://a@10.0.0.1/x?sslmode={weak}")).expect_err(weak);
        }
    }
}
