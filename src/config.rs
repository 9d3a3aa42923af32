//! The configuration: one TOML file with environment overrides, checked at start, unknown keys refused.
