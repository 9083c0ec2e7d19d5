//! The embedded SSH server: a public key becomes an actor, a command line becomes a child process of ours.
