//! SSH keys: who may log in.
