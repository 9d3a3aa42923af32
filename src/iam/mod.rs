//! The IAM and STS query APIs as stock AWS clients speak them.

mod office;

pub use office::{IssueError, Issued, KeyOffice};
