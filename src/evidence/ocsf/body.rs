//! One line of `events.jsonl`, but for what only the file's writer knows.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::classes::{Class, Mapped};
use super::context::Context;
use crate::evidence::event::Event;
use crate::evidence::fields::Fields;

/// An event of a session, from its class to its own fields: the members of an object, without the braces.
#[derive(Debug)]
pub(in crate::evidence) struct Body {
    /// The event's name.
    pub(in crate::evidence) name: &'static str,
    members: String,
}

/// The version of OCSF that is written.
const OCSF: &str = "1.8.0";

/// What the writer adds to a body, about: its time, its number, two fingerprints.
const ROOM: usize = 768;

impl Body {
    /// Every line that an event makes: most make one, what opens a session one for the login and one for the channel.
    pub(in crate::evidence) fn of(event: &Event<'_>, context: &Context) -> Vec<Self> {
        let mut fields = Fields::new();
        fields.text("event", event.name());
        event.write(&mut fields);
        Self::with(event, context, fields)
    }

    /// The same of the event that opens a session, with its manifest so far: what is signed first says what it is all about.
    pub(in crate::evidence) fn opening(event: &Event<'_>, context: &Context, manifest: Value) -> Vec<Self> {
        let mut fields = Fields::new();
        fields.text("event", event.name());
        event.write(&mut fields);
        fields.value("manifest", manifest);
        Self::with(event, context, fields)
    }

    fn with(event: &Event<'_>, context: &Context, fields: Fields) -> Vec<Self> {
        let mut unmapped = Some(fields.into_json());
        let lines = Class::of(event, context).into_iter();
        // the first of an event's lines has its fields; they need not stand there twice
        lines.map(|mapped| Self { name: event.name(), members: text(mapped, context, unmapped.take()) }).collect()
    }

    /// The line without its fingerprint: with the time in milliseconds since 1970, and its number in the file.
    pub(in crate::evidence) fn line(&self, session: Uuid, time: i64, sequence: u64) -> Vec<u8> {
        let version = env!("CARGO_PKG_VERSION");
        let mut line = Vec::with_capacity(self.members.len() + ROOM);
        let written = format_args!(
            concat!(
                r#"{{"time":{},{},"metadata":{{"version":"{}","product":{{"name":"Portcullis","vendor_name":"Portcullis","version":"{}"}},"#,
                r#""profiles":["host","record_integrity"],"correlation_uid":"{}","sequence":{}}}}}"#
            ),
            time, self.members, OCSF, version, session, sequence
        )
        .to_string();
        line.extend_from_slice(written.as_bytes());
        line
    }
}

fn text(mapped: Mapped, context: &Context, unmapped: Option<Value>) -> String {
    let Mapped { class, activity, name, message, severity, status, members } = mapped;
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| {
        map.insert(name.to_owned(), value);
    };
    put("category_uid", class.category().into());
    put("class_uid", class.uid().into());
    put("class_name", class.name().into());
    put("activity_id", activity.into());
    put("activity_name", name.into());
    put("type_uid", (class.uid() * 100 + u32::from(activity)).into());
    put("severity_id", severity.into());
    if let Some(status) = status {
        put("status_id", status.into());
    }
    put("message", message.into());
    for name in class.shared() {
        map.extend(context.shared(name));
    }
    map.extend(members);
    if let Some(unmapped) = unmapped {
        map.insert("unmapped".to_owned(), unmapped);
    }
    let text = Value::Object(map).to_string();
    text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().to_owned()
}
