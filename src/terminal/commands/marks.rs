//! Marks of a shell: OSC 133, as FinalTerm brought them and most terminals know them
//! (<https://gitlab.freedesktop.org/Per_Bothner/specifications/-/blob/master/proposals/semantic-prompts.md>).

/// What marks of this session's own shell carry as `nonce=`. Whoever can read the shell's environment knows it, so it tells
/// a file with marks in it that is shown from a shell that was started with ours, and no more.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// 16 to 64 letters and digits; none if it is anything else.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let good = (16..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        good.then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonce")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A prompt begins.
    Prompt,
    /// It ends, and the line begins.
    Line,
    /// The same where a command goes on with another line, `k=s`: its prompt, and its line.
    MorePrompt,
    More,
    /// The line was entered; what comes is its output.
    Run,
    /// It ended.
    Done(Option<i32>),
}

/// Whose a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It carries the session's nonce.
    Ours,
    /// It carries none, as what shells make by themselves.
    None,
    /// It carries another: it was made to look like one of ours, or is another session's.
    Another,
}

/// The mark in the body of an operating system command, and whose it is.
pub(super) fn parse(body: &[u8], nonce: Option<&Nonce>) -> Option<(Mark, Proof)> {
    let body = std::str::from_utf8(body).ok()?.strip_prefix("133;")?;
    let mut fields = body.split(';');
    let goes_on = body.split(';').any(|field| field == "k=s" || field == "k=c");
    let mark = match fields.next()? {
        "A" if goes_on => Mark::MorePrompt,
        "B" if goes_on => Mark::More,
        "A" => Mark::Prompt,
        "B" => Mark::Line,
        "C" => Mark::Run,
        "D" => Mark::Done(fields.clone().next().and_then(|status| status.parse().ok())),
        _ => return None,
    };
    // `aid` names a program in others' marks as well, so another one's says nothing
    let mut proof = Proof::None;
    for (name, value) in fields.filter_map(|field| field.split_once('=')) {
        let ours = nonce.is_some_and(|nonce| value == nonce.0);
        match name {
            "nonce" | "aid" if ours => return Some((mark, Proof::Ours)),
            "nonce" => proof = Proof::Another,
            _ => {}
        }
    }
    Some((mark, proof))
}
