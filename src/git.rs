//! Bare repositories and git hooks.
