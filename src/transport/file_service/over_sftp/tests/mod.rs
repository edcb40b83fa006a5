//! The node's server is OpenSSH's own, as a child of the test.
