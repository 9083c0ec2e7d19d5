//! The files of a source: from the objects of a git repository, or from a directory.
