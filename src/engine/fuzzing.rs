//! What a container prints, for the fuzz targets.

use bollard::container::LogOutput;

use super::log::Lines;

/// Frames of a log: a byte for the stream, and a line, each ended by a line break. No line is longer than may be.
pub fn output(bytes: &[u8]) {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for frame in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (stream, message) = frame.split_first().expect("a piece that is split off is not empty");
        let message = bytes::Bytes::copy_from_slice(message);
        let frame = if stream % 2 == 0 { LogOutput::StdOut { message } } else { LogOutput::StdErr { message } };
        found.extend(lines.take(&frame));
    }
    found.extend(lines.rest());
    for line in found {
        assert!(!line.text.contains('\n'), "{line:?}");
        assert!(line.of("web.1").len() < 2 * 1024 * 1024);
    }
}
