//! What both doors share: listeners, TLS, limits, request ids.
