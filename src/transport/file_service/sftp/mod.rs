//! The packets of SFTP version 3, both ways (`draft-ietf-secsh-filexfer-02` and OpenSSH's `PROTOCOL`, section 4).
//!
//! ```text
//!   clients ask the gateway:  packet::decode ─▶ files ─▶ Reply::put
//!   the gateway asks a node:  encode::put ─▶ sftp-server ─▶ reply_decode::decode_reply
//! ```

pub mod encode;
pub mod packet;
pub mod reply;
pub mod reply_decode;
