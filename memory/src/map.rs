//! Mappings: the best that the kernel and the limits of this process give.

use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::ftruncate;
use rustix::mm::{Advice, MapFlags, MlockFlags, ProtFlags, madvise, mlock_with, mmap, mmap_anonymous, munmap};

/// Bytes of a mapping.
pub(super) const CHUNK: usize = 256 * 1024;

/// What is known of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `memfd_secret`: locked, in no dump, and in no map but this process's.
    Secret,
    /// Locked, and in no core dump.
    Locked,
    /// In no core dump. It may be swapped, because `RLIMIT_MEMLOCK` is reached.
    Swappable,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Secret, Self::Locked, Self::Swappable];

    /// A word for it, in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Locked => "locked",
            Self::Swappable => "swappable",
        }
    }
}

/// A mapping of [`CHUNK`] bytes, all zero, that stays until the process ends.
pub(super) struct Chunk {
    start: NonNull<u8>,
    pub kind: Kind,
}

impl Chunk {
    /// # Panics
    ///
    /// When there is no memory, as any allocation does.
    pub fn map() -> Self {
        secret().unwrap_or_else(anonymous)
    }

    /// The slots of a size that divides [`CHUNK`].
    pub fn cut(&self, size: usize) -> impl Iterator<Item = NonNull<u8>> {
        // SAFETY: every slot lies within the mapping.
        (0..CHUNK / size).map(move |slot| unsafe { self.start.add(slot * size) })
    }
}

/// `None` where the kernel has none, or the limit is reached.
fn secret() -> Option<Chunk> {
    // SAFETY: a call with one number, which makes a descriptor or gives -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let descriptor = i32::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0)?;
    // SAFETY: it was made above, and is nobody else's.
    let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
    ftruncate(&file, CHUNK as u64).ok()?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of a whole file that nobody else has, and nobody can shorten once it is closed.
    let start = unsafe { mmap(std::ptr::null_mut(), CHUNK, protection, MapFlags::SHARED, &file, 0) }.ok()?;
    Some(Chunk { start: NonNull::new(start.cast())?, kind: Kind::Secret })
}

fn anonymous() -> Chunk {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of memory that is nobody else's.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), CHUNK, protection, MapFlags::PRIVATE) };
    let start = start.expect("out of memory");
    // SAFETY: the mapping of above. Its content stays as it is.
    if unsafe { madvise(start, CHUNK, Advice::LinuxDontDump) }.is_err() {
        // SAFETY: the mapping of above, which nobody has seen yet.
        let _ = unsafe { munmap(start, CHUNK) };
        panic!("the kernel does not keep memory out of core dumps");
    }
    // SAFETY: the mapping of above. Its content stays as it is.
    let locked = unsafe { mlock_with(start, CHUNK, MlockFlags::empty()) };
    let kind = if locked.is_ok() { Kind::Locked } else { Kind::Swappable };
    Chunk { start: NonNull::new(start.cast()).expect("a mapping is nowhere at 0"), kind }
}
