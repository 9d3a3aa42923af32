//! Decisions: verify a request, issue a key, deny one.
