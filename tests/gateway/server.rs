//! HTTP/1.1 over TCP and TLS, a thread for each connection: raw heads, and bodies as they stream.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The head of a request, and its parts.
pub struct Head {
    /// Every byte, up to and with the empty line.
    pub raw: Vec<u8>,
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    fn parse(raw: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let mut request_line = lines.next()?.split(' ');
        let (method, target) = (request_line.next()?.to_owned(), request_line.next()?.to_owned());
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Some(Self { method, target, headers: lines.filter_map(header).collect(), raw })
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, head: &Head, body: &mut dyn Read) -> Answer;
}

/// Both listeners, until the process ends.
pub struct Server {
    pub http: String,
    pub https: String,
    /// What clients must trust to speak to the second, PEM.
    pub ca: PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
    pub fn start(handler: Arc<impl Handler>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ca = directory.path().join("ca.pem");
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(&ca, certified.cert.pem()).expect("written");
        let chain = vec![CertificateDer::from(certified.cert.der().to_vec())];
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("they fit");
        let tls = Arc::new(tls);
        let http = listen(handler.clone(), Some);
        let https =
            listen(handler, move |stream| Some(StreamOwned::new(ServerConnection::new(tls.clone()).ok()?, stream)));
        Self {
            http: format!("http://localhost:{}", http.port()),
            https: format!("https://localhost:{}", https.port()),
            ca,
            _directory: directory,
        }
    }
}

fn listen<S: Read + Write>(
    handler: Arc<impl Handler>,
    wrap: impl Fn(TcpStream) -> Option<S> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (handler, wrap) = (handler.clone(), wrap.clone());
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                // A client that goes away in the middle is no concern of the gateway's.
                let _ = wrap(stream).map(|stream| Connection { stream, read: Vec::new() }.serve(&*handler));
            });
        }
    });
    address
}

struct Connection<S> {
    stream: S,
    /// Read from the stream, and not taken yet.
    read: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    fn serve(&mut self, handler: &impl Handler) -> io::Result<()> {
        while let Some(head) = self.head()? {
            let is_head = head.method == "HEAD";
            let framing = Framing::of(&head);
            let goes_on = head.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
            if head.header("expect").is_some() {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let mut body = Body { connection: self, framing };
            let answer = handler.handle(&head, &mut body);
            // What was refused before its end is read all the same: a client that is still sending would miss the answer.
            io::copy(&mut body, &mut io::sink())?;
            self.answer(&answer, is_head)?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(Head::parse(self.read.drain(..end + 4).collect()));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; 64 * 1024];
        let read = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// A line without its line break.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(line.trim_ascii_end().to_vec());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn answer(&mut self, answer: &Answer, is_head: bool) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} .\r\n", answer.status);
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let has_length = answer.headers.iter().any(|(name, _)| name == "content-length");
        let length = (!has_length).then(|| ("content-length".to_owned(), answer.body.len().to_string()));
        let headers = answer.headers.iter().cloned().chain(length).chain([("date".to_owned(), date)]);
        headers.for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        self.stream.write_all(text.as_bytes())?;
        self.stream.write_all(b"\r\n")?;
        self.stream.write_all(if is_head { b"" } else { &answer.body })?;
        self.stream.flush()
    }
}

/// How the end of a body is told.
enum Framing {
    /// So many bytes are still to come.
    Length(usize),
    /// So many bytes of HTTP's own chunk are still to come; none of the first yet.
    Chunked(Option<usize>),
    Ended,
}

impl Framing {
    fn of(head: &Head) -> Self {
        let chunked = head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        match head.header("content-length").and_then(|length| length.parse().ok()) {
            _ if chunked => Self::Chunked(None),
            Some(length) => Self::Length(length),
            None => Self::Ended,
        }
    }
}

struct Body<'c, S> {
    connection: &'c mut Connection<S>,
    framing: Framing,
}

impl<S: Read + Write> Body<'_, S> {
    fn take(&mut self, buffer: &mut [u8], left: usize) -> io::Result<usize> {
        if self.connection.read.is_empty() && self.connection.fill()? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = buffer.len().min(left).min(self.connection.read.len());
        buffer[..taken].copy_from_slice(&self.connection.read[..taken]);
        self.connection.read.drain(..taken);
        Ok(taken)
    }

    fn next_chunk(&mut self, is_first: bool) -> io::Result<()> {
        if !is_first {
            self.connection.line()?;
        }
        let line = self.connection.line()?;
        let digits = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(digits.split(';').next().unwrap_or_default(), 16);
        self.framing = match size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
            0 => {
                while !self.connection.line()?.is_empty() {}
                Framing::Ended
            }
            size => Framing::Chunked(Some(size)),
        };
        Ok(())
    }
}

impl<S: Read + Write> Read for Body<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.framing {
                Framing::Ended | Framing::Length(0) => return Ok(0),
                Framing::Length(left) => {
                    let taken = self.take(buffer, left)?;
                    self.framing = Framing::Length(left - taken);
                    return Ok(taken);
                }
                Framing::Chunked(None) => self.next_chunk(true)?,
                Framing::Chunked(Some(0)) => self.next_chunk(false)?,
                Framing::Chunked(Some(left)) => {
                    let taken = self.take(buffer, left)?;
                    self.framing = Framing::Chunked(Some(left - taken));
                    return Ok(taken);
                }
            }
        }
    }
}
