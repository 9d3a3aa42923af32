//! Accounts, users, key metadata and status: everything the authority remembers, none of it secret.
