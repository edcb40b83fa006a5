//! The words everyone shares: small types that are valid by construction. Nothing of ours is below them.

mod ago;
mod beat;
mod counted;
mod exit;
mod node_facts;
mod node_id;
mod node_name;
mod plain_text;
mod promised;
mod reason;
mod reason_line;
mod refusal_code;
mod role_arn;
mod session_id;
mod shell_words;
mod size;
mod size_text;
mod tame_variable;

pub use ago::ago;
pub use beat::{BEAT, on_beat};
pub use counted::counted;
pub use exit::Exit;
pub use node_facts::{NodeFacts, NodeTags};
pub use node_id::NodeId;
pub use node_name::{NodeForm, NodeName, NodeNameError};
pub use plain_text::{plain_text, plain_text_up_to};
pub use promised::Promised;
pub use reason::ReasonText;
pub use reason_line::{ReasonLine, Typed};
pub use refusal_code::RefusalCode;
pub use role_arn::{RoleArn, RoleArnError};
pub use session_id::SessionId;
pub use shell_words::{ShellWord, shell_words};
pub use size::WindowSize;
pub use size_text::size_text;
pub use tame_variable::says_nothing;
