//! Where entries go.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use super::AuditError;
use super::chain::{Link, LogId, seal};
use super::file::{LogFile, random_id};
use crate::config;

/// A sink that is open.
pub(super) enum Sink {
    /// A file.
    File(LogFile),
    /// A stream that cannot be read back: each process begins a log of its own on it.
    Stream { out: Stream, log: LogId, last: Link },
}

/// A stream of lines.
pub(super) enum Stream {
    /// Standard output, without a buffer.
    Stdout(File),
    /// The local syslog, or journald, which listens on the same socket.
    Syslog(Option<Box<Logger<LoggerBackend, Formatter3164>>>, Option<PathBuf>),
}

impl Sink {
    /// Opens what the configuration names; `None` if nothing is to be written.
    pub fn open(config: &config::Config) -> Result<Option<Self>, AuditError> {
        let stream = |out| {
            let log = random_id().map_err(|error| AuditError::new(error.to_string()))?;
            Ok(Some(Self::Stream { out, log, last: Link::START }))
        };
        let audit = &config.audit;
        match audit.sink_of(config.role) {
            config::AuditSink::Off => Ok(None),
            config::AuditSink::File => {
                let default = config.state_dir.join("audit.log");
                LogFile::open(audit.file.as_ref().unwrap_or(&default)).map(Self::File).map(Some)
            }
            config::AuditSink::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                stream(Stream::Stdout(stdout.map_err(|error| AuditError::new(error.to_string()))?.into()))
            }
            config::AuditSink::Syslog => {
                let mut out = Stream::Syslog(None, audit.syslog_socket.clone());
                out.connect().map_err(|error| AuditError::new(error.to_string()))?;
                stream(out)
            }
        }
    }

    /// Appends events. A file takes all or none of them; what a stream has taken, it has.
    pub fn append(&mut self, events: &[Vec<u8>], durable: bool) -> io::Result<Link> {
        match self {
            Self::File(file) => file.append(events, durable),
            Self::Stream { out, log, last } => {
                for event in events {
                    let (line, link) = seal(log, last, event);
                    out.line(&line)?;
                    *last = link;
                }
                Ok(*last)
            }
        }
    }

    /// The id of the log that is written.
    pub fn log(&self) -> &LogId {
        match self {
            Self::File(file) => file.log(),
            Self::Stream { log, .. } => log,
        }
    }
}

impl Stream {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(&[line, b"\n"].concat()),
            Self::Syslog(..) => self.syslog(&String::from_utf8_lossy(line)),
        }
    }

    /// Once more on a new socket: the daemon may have been restarted.
    fn syslog(&mut self, line: &str) -> io::Result<()> {
        for attempt in [1, 2] {
            self.connect()?;
            let Self::Syslog(logger, _) = self else { return Ok(()) };
            let Some(open) = logger else { continue };
            match open.notice(line) {
                Ok(()) => return Ok(()),
                Err(error) if attempt == 2 => return Err(io::Error::other(error)),
                Err(_) => *logger = None,
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        let Self::Syslog(logger @ None, socket) = self else { return Ok(()) };
        let formatter = Formatter3164 {
            facility: Facility::LOG_AUTH,
            hostname: None,
            process: "rederive".into(),
            pid: std::process::id(),
        };
        let opened = match socket {
            Some(path) => syslog::unix_custom(formatter, path),
            None => syslog::unix(formatter),
        };
        let nobody = |error| {
            let path = socket.as_deref().unwrap_or(Path::new("/dev/log")).display();
            io::Error::other(format!("no syslog takes it at {path} ([audit] syslog_socket): {error}"))
        };
        *logger = Some(Box::new(opened.map_err(nobody)?));
        Ok(())
    }
}
