//! To come.
#![allow(missing_docs)]
use std::time::Duration;
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}
pub mod cast {
    use super::*;
    pub struct Header {
        pub size: Size,
        pub timestamp: u64,
        pub title: Option<String>,
        pub command: Option<String>,
        pub term: Option<String>,
    }
    #[derive(Debug)]
    pub struct Writer;
    impl Writer {
        pub fn new(_: &Header) -> (Self, Vec<u8>) {
            (Self, Vec::new())
        }
        pub fn output(&mut self, _: Duration, _: &[u8], _: &mut Vec<u8>) {}
        pub fn resize(&mut self, _: Duration, _: Size, _: &mut Vec<u8>) {}
        pub fn mark(&mut self, _: Duration, _: &str, _: &mut Vec<u8>) {}
        pub fn finish(&mut self, _: Duration, _: &mut Vec<u8>) {}
    }
}
pub struct Line { pub text: String, pub confidence: f64 }
#[derive(Debug)]
pub struct CommandWatch;
#[derive(Debug)]
pub struct Nonce;
#[derive(Clone, Copy, Debug)]
pub enum How {
    Marks,
    UnprovedMarks,
    Screen,
}
#[derive(Debug)]
pub struct Command {
    pub at: Duration,
    pub line: String,
    pub how: How,
    pub confidence: f64,
    pub exit: Option<i32>,
}
impl CommandWatch {
    pub fn new(_: Size, _: Option<Nonce>) -> Self {
        Self
    }
    pub fn output(&mut self, _: Duration, _: &[u8]) {}
    pub fn input(&mut self, _: Duration, _: &[u8]) {}
    pub fn resize(&mut self, _: Duration, _: Size) {}
    pub fn finish(&mut self, _: Duration) {}
    pub fn next(&mut self) -> Option<Command> {
        None
    }
    pub fn hidden_input(&mut self) -> Option<Duration> {
        None
    }
    pub fn idle(&mut self) {}
    pub fn line(&self) -> Option<Line> { None }
}
