//! Ill will and accident: what strangers push, send and spoil costs nobody else anything. A file a subject.

mod bounds;
