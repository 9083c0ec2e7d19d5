//! The buildpacks: data in, a plan and the text of a Dockerfile out. Knows no language by name.
