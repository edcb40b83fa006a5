//! The account's session documents: AWS's own, the preferences, and what callers create.
//!
//! | file | what it is about |
//! | --- | --- |
//! | `built_in` | the texts of AWS's own, and of the preferences |
//! | `schema`, `parameters`, `placeholder` | a document's form, its parameters, and where their values go |
//! | `store` | all of them, by name and version |

pub(crate) mod built_in;
pub(crate) mod parameters;
mod placeholder;
pub(crate) mod schema;
mod store;

pub(crate) use store::{Described, DocumentStore};
