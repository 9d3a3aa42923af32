//! The internal verification RPC: JSON, gRPC, health and metrics.
