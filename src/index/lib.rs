//! Where evidence is found: a SQL index of sessions. All of it is made of the folders, and is made again from them when it is
//! lost; nothing is decided or proved by it.
//!
//! ```text
//!  gateway ──Writer──▶ ┌ queue, bounded ┐ ──▶ ┌ SQLite, in the evidence directory       ┐ ◀── Query ── portcullis sessions
//!  folders ──rebuild, catch_up───────────────▶ └ or PostgreSQL, for several gateways     ┘
//! ```
//!
//! `docs/decisions/0039-the-index.md` says why it is so.

mod chunks;
mod conditions;
mod criterion;
mod database;
mod error;
mod find;
mod index;
mod lines;
mod live;
mod moment;
mod needle;
mod plain;
mod postgres;
mod postgres_tls;
mod query;
mod reading;
mod rebuild;
mod schema;
mod session;
mod sqlite;
mod writer;

pub use error::IndexError;
pub use index::{CommandRow, Index, Location};
pub use plain::Plain;
pub use query::{Cursor, Found, Hit, MOST, Page, Query};
pub use reading::{FolderRecords, cast_line, manifest as read_manifest, read_records};
pub use rebuild::{Progress, Told};
pub use session::Session;
pub use writer::{Settings, Writer};
