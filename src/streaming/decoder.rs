//! The decoder: framing off, everything verified.

use memchr::memchr;
use sha2::{Digest as _, Sha256};

use super::announced::Announced;
use super::chain::Chain;
use super::checksum::{ChecksumAlgorithm, Checksums};
use super::chunk_header::ChunkHeader;
use super::error::{BodyError, BodyFault};
use super::seed::Seed;
use super::trailer::Trailer;
use crate::sigv4::RequestHead;

/// The longest line of framing: a trailer's signature has 168 bytes, a chunk header with an ECDSA signature 179.
const LONGEST_LINE: usize = 256;

/// Bounds on signed chunks, in bytes. Unsigned ones pass through, so that their size costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// The least data of a signed chunk that others follow. S3 has 8192, and applies it to unsigned chunks, too; streams
    /// of the AWS SDK for JavaScript come in smaller ones.
    pub least: u64,
    /// The most data of a signed chunk: so much memory one body can take. Clients send 64 or 128 KiB.
    pub most: u64,
}

impl Default for ChunkLimits {
    /// 8 KiB and 16 MiB.
    fn default() -> Self {
        Self { least: 8 * 1024, most: 16 * 1024 * 1024 }
    }
}

/// Bytes of the body without framing, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'d> {
    /// Signed by the client as what stands in this place.
    Signed(&'d [u8]),
    /// Signed by nobody.
    Unsigned(&'d [u8]),
}

impl<'d> Piece<'d> {
    /// The bytes, whoever vouches for them. Nobody may see them as an object before [`Decoder::finish`] says so.
    pub fn bytes(self) -> &'d [u8] {
        match self {
            Self::Signed(bytes) | Self::Unsigned(bytes) => bytes,
        }
    }
}

/// What spoke for a body that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// Every byte was signed by the client.
    BySignatures,
    /// Checksums that came with it are right. That guards against accidents; whoever can change the body can change them,
    /// so that it is as trustworthy as the connection it came on.
    ByChecksums,
}

/// A body that is complete and all right. There is no other way to build one than [`Decoder::finish`].
#[derive(Debug)]
pub struct VerifiedBody {
    length: u64,
    vouched: Vouched,
    checksums: Vec<(ChecksumAlgorithm, String)>,
}

impl VerifiedBody {
    /// Bytes without framing.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What speaks for it.
    pub fn vouched(&self) -> Vouched {
        self.vouched
    }

    /// The checksums that headers and trailer stated, in base64; all are right.
    pub fn checksums(&self) -> &[(ChecksumAlgorithm, String)] {
        &self.checksums
    }
}

/// What comes next.
#[derive(Clone, Copy)]
enum State {
    ChunkHeader,
    /// So many bytes of the chunk are still to come.
    Data(u64),
    DataEnd,
    Trailer,
}

/// Decodes one body. Its memory is bounded by [`ChunkLimits::most`], whatever the size of the body.
pub struct Decoder {
    limits: ChunkLimits,
    chain: Option<Chain>,
    announced: u64,
    checksums: Checksums,
    trailer: Trailer,
    state: State,
    came: u64,
    /// The line of framing that is being read.
    line: Vec<u8>,
    chunk: Chunk,
    /// Bytes read, and how many had been before the line or chunk that is being read.
    offset: u64,
    mark: u64,
    failed: Option<BodyError>,
}

/// The chunk that is being read.
#[derive(Default)]
struct Chunk {
    size: u64,
    signature: Vec<u8>,
    hash: Sha256,
    /// Data of a signed chunk, of which no byte is handed on before its signature proves right.
    data: Vec<u8>,
}

/// What can be handed on.
enum Ready<'i> {
    Now(Piece<'i>),
    /// All that is in the chunk's buffer.
    Buffered,
}

impl Decoder {
    /// For the body of the request with this head, which must be the one that was verified.
    ///
    /// # Errors
    /// If the head does not say of the body what it must.
    pub fn new(seed: Seed, head: &RequestHead<'_>, limits: &ChunkLimits) -> Result<Self, BodyError> {
        let Seed { kind, chain } = seed;
        let announced = Announced::read(kind, head).map_err(|fault| BodyError { offset: 0, fault })?;
        Ok(Self {
            limits: *limits,
            chain,
            announced: announced.length,
            checksums: announced.checksums,
            trailer: Trailer::new(announced.trailer, kind.is_signed() && kind.has_trailer()),
            state: State::ChunkHeader,
            came: 0,
            line: Vec::with_capacity(LONGEST_LINE),
            chunk: Chunk::default(),
            offset: 0,
            mark: 0,
            failed: None,
        })
    }

    /// Takes bytes off the front of `input` until a piece can be handed on, or `input` is empty.
    ///
    /// # Errors
    /// What is wrong with the body. After that, nothing but the same error comes.
    pub fn decode<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'d>>, BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some(Ready::Now(piece))) => Ok(Some(piece)),
            Ok(Some(Ready::Buffered)) => Ok(Some(Piece::Signed(&self.chunk.data))),
            Err(fault) => {
                let error = BodyError { offset: self.mark, fault };
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The input has ended: whether the body has, too, and is what it must be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(self) -> Result<VerifiedBody, BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let at_end = |fault| BodyError { offset: self.offset, fault };
        match self.state {
            State::Trailer if self.line.is_empty() => self.trailer.finish().map_err(at_end)?,
            State::Trailer => return Err(at_end(BodyFault::Ended("within a line after its last chunk"))),
            State::Data(_) => return Err(at_end(BodyFault::Ended("within a chunk"))),
            State::ChunkHeader | State::DataEnd => return Err(at_end(BodyFault::Ended("before its last chunk"))),
        }
        let vouched = if self.chain.is_some() { Vouched::BySignatures } else { Vouched::ByChecksums };
        Ok(VerifiedBody { length: self.came, vouched, checksums: self.checksums.finish().map_err(at_end)? })
    }

    /// Bytes of memory that it holds at present, beyond its own size.
    pub fn memory(&self) -> usize {
        self.chunk.data.capacity() + self.chunk.signature.capacity() + self.line.capacity()
    }

    fn advance<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Ready<'i>>, BodyFault> {
        while !input.is_empty() {
            if let State::Data(left) = self.state {
                if let Some(ready) = self.take_data(input, left)? {
                    return Ok(Some(ready));
                }
            } else if self.take_line(input)? {
                self.read_line()?;
                self.line.clear();
            }
        }
        Ok(None)
    }

    fn read_line(&mut self) -> Result<(), BodyFault> {
        match self.state {
            State::ChunkHeader => self.start_chunk(),
            State::DataEnd if self.line == b"\r\n" => {
                self.state = State::ChunkHeader;
                Ok(())
            }
            State::DataEnd => Err(BodyFault::DataNotEnded),
            State::Trailer | State::Data(_) => self.trailer.read(&self.line, &mut self.checksums, self.chain.as_mut()),
        }
    }

    /// Whether a line with its line break is complete.
    fn take_line(&mut self, input: &mut &[u8]) -> Result<bool, BodyFault> {
        if self.line.is_empty() {
            self.mark = self.offset;
        }
        let room = LONGEST_LINE - self.line.len();
        let end = memchr(b'\n', &input[..input.len().min(room)]);
        let taken = consume(input, end.map_or(room, |end| end + 1));
        self.line.extend_from_slice(taken);
        self.offset += taken.len() as u64;
        match end {
            Some(_) => Ok(true),
            None if self.line.len() == LONGEST_LINE => Err(self.line_too_long()),
            None => Ok(false),
        }
    }

    fn line_too_long(&self) -> BodyFault {
        match self.state {
            State::ChunkHeader | State::Data(_) => BodyFault::ChunkHeader("it has no line break where one must be"),
            State::DataEnd => BodyFault::DataNotEnded,
            State::Trailer => BodyFault::Trailer("a line of it is too long"),
        }
    }

    fn start_chunk(&mut self) -> Result<(), BodyFault> {
        let header = ChunkHeader::parse(&self.line, self.chain.is_some()).map_err(BodyFault::ChunkHeader)?;
        if let Some(signature) = header.signature {
            self.limits.check(header.size, self.chunk.size)?;
            self.chunk.signature.clear();
            self.chunk.signature.extend_from_slice(signature);
        }
        self.chunk.size = header.size;
        if header.size == 0 {
            return self.end_chunks();
        }
        let came = self.came.checked_add(header.size).filter(|came| *came <= self.announced);
        self.came = came.ok_or(BodyFault::TooLong { announced: self.announced })?;
        self.state = State::Data(header.size);
        Ok(())
    }

    /// The last chunk: signed like any other, over no data.
    fn end_chunks(&mut self) -> Result<(), BodyFault> {
        self.check_chunk()?;
        if self.came < self.announced {
            return Err(BodyFault::TooShort { announced: self.announced, came: self.came });
        }
        self.state = State::Trailer;
        Ok(())
    }

    fn take_data<'i>(&mut self, input: &mut &'i [u8], left: u64) -> Result<Option<Ready<'i>>, BodyFault> {
        let taken = consume(input, usize::try_from(left).unwrap_or(usize::MAX));
        self.offset += taken.len() as u64;
        let left = left - taken.len() as u64;
        self.state = if left > 0 { State::Data(left) } else { State::DataEnd };
        if self.chain.is_none() {
            self.checksums.update(taken);
            return Ok(Some(Ready::Now(Piece::Unsigned(taken))));
        }
        self.chunk.hash.update(taken);
        let is_whole = taken.len() as u64 == self.chunk.size;
        if !is_whole {
            self.chunk.buffer(taken, left);
        }
        if left > 0 {
            return Ok(None);
        }
        self.check_chunk()?;
        let data = if is_whole { taken } else { &self.chunk.data };
        self.checksums.update(data);
        Ok(Some(if is_whole { Ready::Now(Piece::Signed(taken)) } else { Ready::Buffered }))
    }

    fn check_chunk(&mut self) -> Result<(), BodyFault> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let hash = self.chunk.hash.finalize_reset().into();
        if chain.accepts_chunk(&hash, &self.chunk.signature) { Ok(()) } else { Err(BodyFault::ChunkSignature) }
    }
}

impl Chunk {
    /// Room is made for what is there, not for what is announced.
    fn buffer(&mut self, bytes: &[u8], left: u64) {
        if self.is_first_piece(bytes, left) {
            self.data.clear();
        }
        let needed = self.data.len() + bytes.len();
        if needed > self.data.capacity() {
            let whole = usize::try_from(self.size).unwrap_or(usize::MAX);
            self.data.reserve_exact(whole.min(needed.max(2 * self.data.capacity())) - self.data.len());
        }
        self.data.extend_from_slice(bytes);
    }

    fn is_first_piece(&self, bytes: &[u8], left: u64) -> bool {
        left + bytes.len() as u64 == self.size
    }
}

impl ChunkLimits {
    /// `before` is the size of the chunk before, or 0.
    fn check(&self, size: u64, before: u64) -> Result<(), BodyFault> {
        if size > self.most {
            return Err(BodyFault::ChunkTooLarge { size, most: self.most });
        }
        if size > 0 && (1..self.least).contains(&before) {
            return Err(BodyFault::ChunkTooSmall { size: before, least: self.least });
        }
        Ok(())
    }
}

/// Takes at most so many bytes off the front.
fn consume<'i>(input: &mut &'i [u8], most: usize) -> &'i [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}
