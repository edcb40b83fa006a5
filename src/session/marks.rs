//! Has a shell mark where its prompts and commands begin (OSC 133), by nothing but its environment (docs/decisions/0036).
//!
//! bash runs `PROMPT_COMMAND` once its start-up files are done, and so finds whatever they made of the prompt. What is given it here
//! frames that with marks, takes itself away, and unexports both variables: what is started from the shell has neither. Other shells
//! know neither of the two.

use portcullis_terminal::Nonce;
use uuid::Uuid;

/// What `NONCE` stands for in the texts below is the session's.
const PLACE: &str = "NONCE";

/// Run once, before the first prompt. Its first and last words find it in what others put around it.
///
/// Fedora's family sets a window's title by `PROMPT_COMMAND` where nothing else stands there, so that is done in its place.
const PROMPT_COMMAND: &str = concat!(
    r#": NONCE; [[ $PS1 == *nonce=NONCE* ]] || { "#,
    r#"PS1='\[\e]133;D;$?;nonce=NONCE\a\e]133;A;nonce=NONCE\a\]'$PS1'\[\e]133;B;nonce=NONCE\a\]' "#,
    r#"PS2='\[\e]133;A;k=s;nonce=NONCE\a\]'$PS2'\[\e]133;B;k=s;nonce=NONCE\a\]'; }; "#,
    r#"\builtin export -n PS0 PROMPT_COMMAND; PROMPT_COMMAND=${PROMPT_COMMAND/: NONCE;*: NONCE/:}; "#,
    r#"[[ $PROMPT_COMMAND == :* ]] && PROMPT_COMMAND=${PROMPT_COMMAND#:} "#,
    r#"PROMPT_COMMAND=${PROMPT_COMMAND#"${PROMPT_COMMAND%%[!$' \t\n;']*}"}; "#,
    r#"[[ "${PROMPT_COMMAND[*]}" == *[![:space:]]* ]] || { \builtin unset PROMPT_COMMAND; [[ -r /etc/bashrc ]] && case $TERM in "#,
    r#"xterm*|vte*) PROMPT_COMMAND='\builtin printf "\033]0;%s@%s:%s\007" "$USER" "${HOSTNAME%%.*}" "${PWD/#$HOME/\~}"';; "#,
    r#"screen*) PROMPT_COMMAND='\builtin printf "\033k%s@%s:%s\033\\" "$USER" "${HOSTNAME%%.*}" "${PWD/#$HOME/\~}"';; esac; "#,
    r#"\builtin eval "$PROMPT_COMMAND"; }; : NONCE"#,
);

/// Shown when a line was read and before it is run (bash 4.4).
const PS0: &str = r"\e]133;C;nonce=NONCE\a";

/// Something that nobody can guess.
pub(super) fn nonce() -> Option<(Nonce, String)> {
    let text = Uuid::new_v4().simple().to_string();
    Some((Nonce::new(&text)?, text))
}

/// What is set for the shell.
pub(super) fn variables(text: &str) -> [(String, Vec<u8>); 2] {
    [("PROMPT_COMMAND", PROMPT_COMMAND), ("PS0", PS0)]
        .map(|(name, value)| (name.to_owned(), value.replace(PLACE, text).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sessions_have_one_nonce_and_the_variables_carry_it() {
        let ((_, one), (_, other)) = (nonce().unwrap(), nonce().unwrap());
        assert_ne!(one, other);
        for (name, value) in variables(&one) {
            let value = String::from_utf8(value).unwrap();
            assert!(value.contains(&one) && !value.contains(PLACE) && !value.contains('\0'), "{name}: {value}");
        }
    }
}
