//! The table of sessions, as wide as the terminal.

use portcullis_index::Found;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::moments::{clock, date_and_time};
use super::shown::shown;
use crate::model::lasting;

/// A row: id, when, who, where, what, how long, how it ended.
pub(super) type Row = [String; 7];

const HEAD: [&str; 7] = ["ID", "OPENED (UTC)", "PERSON", "NODE", "WHAT", "FOR", "END"];

/// The least that a column is cut to.
const LEAST: usize = 6;

/// What is between two columns.
const GAP: usize = 2;

pub(super) fn row(found: &Found, id: String) -> Row {
    let session = &found.session;
    let user = session.os_user.as_deref().map(|user| format!(" as {user}")).unwrap_or_default();
    let lasted = session.closed.map(|closed| (closed - session.opened).whole_seconds());
    let hit = found.hits.first().map(|hit| format!("{}: {}", clock(hit.at), hit.text));
    let what = hit.or_else(|| session.command.clone()).unwrap_or_default();
    let what = if what.is_empty() { session.action.clone() } else { format!("{}: {what}", session.action) };
    [
        id,
        date_and_time(session.opened),
        shown(&session.person),
        shown(&format!("{}{user}", session.node_name)),
        shown(&what),
        lasted.map(|seconds| lasting(u64::try_from(seconds).unwrap_or_default())).unwrap_or_default(),
        if session.live { "live".to_owned() } else { shown(session.outcome.as_deref().unwrap_or_default()) },
    ]
}

/// The table. Where it is too wide, what is widest is cut; ids are not.
pub(super) fn text(rows: &[Row], width: usize) -> String {
    let mut widths: Vec<usize> = HEAD.iter().map(|head| head.width()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(cell.width());
        }
    }
    let gaps = GAP * (HEAD.len() - 1);
    while widths.iter().sum::<usize>() + gaps > width {
        let widest = widths.iter_mut().skip(2).max_by_key(|column| **column);
        match widest {
            Some(column) if *column > LEAST => *column -= 1,
            _ => break,
        }
    }
    let line = |cells: [&str; 7]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let cell = cut(cell, *width);
            let room = width.saturating_sub(cell.width()) + GAP;
            format!("{cell}{}", " ".repeat(room))
        });
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(HEAD)).chain(body).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut cut, mut room) = (String::new(), width.saturating_sub(1));
    for found in text.chars() {
        let wide = found.width().unwrap_or_default();
        if wide > room {
            break;
        }
        room -= wide;
        cut.push(found);
    }
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<Row> {
        let row = |id: &str, what: &str| {
            [id, "2026-11-30 08:00:00", "ada", "web-1 as root", what, "1 minute", "finished"].map(str::to_owned)
        };
        vec![
            row("8b1f2c3d", "Shell: 0:03: sudo systemctl restart nginx && journalctl -fu nginx"),
            row("0c9e1a22", "Files: ä漢字"),
        ]
    }

    #[test]
    fn it_fits_the_terminal_and_an_id_is_never_cut() {
        for width in [60, 80, 100, 200] {
            let text = text(&example(), width);
            assert!(text.lines().all(|line| line.width() <= width.max(70)), "{width}\n{text}");
            assert!(text.contains("8b1f2c3d  2026-11-30 08:00:00  "));
        }
        assert!(text(&example(), usize::MAX).contains("journalctl -fu nginx  1 minute"));
    }
}
