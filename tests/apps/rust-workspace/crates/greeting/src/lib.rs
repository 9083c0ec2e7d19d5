//! What the site says.

/// The version, in words.
pub fn hello(answers: u64) -> String {
    let mut buffer = itoa::Buffer::new();
    format!("Hello from Rust v1, answer {}\n", buffer.format(answers))
}
