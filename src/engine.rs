//! The container engine: specs as plain values, and the adapter that sends them.
