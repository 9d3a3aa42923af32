//! The IAM and STS query APIs as stock AWS clients speak them.
