//! The screen, as two models see it.

use crate::Size;
use crate::utf8::Decoder;
use std::num::NonZeroU16;

/// Rows that have left the screen and are kept: a line may begin above it.
pub(super) const SCROLLBACK: usize = 16;

/// A place on the screen: a row counted from the first that is kept, and a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub row: usize,
    pub column: usize,
}

/// Both models, fed with the same bytes.
pub(super) struct Models {
    first: avt::Terminal,
    second: vt100::Parser,
    decoder: Decoder,
    text: String,
    /// The second model cuts rows where the first one wraps them anew, so after a resize they may differ.
    pub resized: bool,
}

impl Models {
    pub(super) fn new(size: Size) -> Option<Self> {
        let (columns, rows) = size.modelled();
        Some(Self {
            first: avt::Terminal::with_scrollback(columns, rows, Some(SCROLLBACK)).ok()?,
            second: vt100::Parser::new(non_zero(rows), non_zero(columns), 0),
            decoder: Decoder::default(),
            text: String::new(),
            resized: false,
        })
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.text.clear();
        self.decoder.decode(bytes, &mut self.text);
        // terminals draw nothing for it; avt has a character there
        if self.text.contains('\u{7f}') {
            self.text.retain(|character| character != '\u{7f}');
        }
        self.first.feed(self.text.as_str());
        self.second.process(bytes);
        if self.text.capacity() > 8 << 10 {
            self.text = String::new();
        }
    }

    /// A character that was cut is forgotten: what comes next does not go on with it.
    pub(super) fn forget_cut(&mut self) {
        self.decoder = Decoder::default();
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (columns, rows) = size.modelled();
        if self.first.size() != (columns, rows) {
            self.first.resize(columns, rows);
            self.second.set_size(non_zero(rows), non_zero(columns));
            self.resized = true;
        }
    }

    /// What makes a new model of the same size show the same.
    pub(super) fn dump(&self) -> String {
        self.first.dump()
    }

    /// The same for the line at the cursor alone, which stays in its row. Colours are lost, and what is above and below.
    pub(super) fn dump_of_line(&self) -> String {
        let lines = self.lines();
        let above = self.above();
        let cursor = self.cursor();
        let mut dump = String::new();
        for row in Self::start(&lines, cursor.row).max(above)..=cursor.row {
            let text: String =
                lines.get(row).map(|line| line.cells().map(|cell| cell.character).collect()).unwrap_or_default();
            dump.push_str(&format!("\x1b[{};1H{}", row - above + 1, text.trim_end()));
        }
        dump.push_str(&format!("\x1b[{};{}H", cursor.row - above + 1, cursor.column + 1));
        dump
    }

    pub(super) fn rows(&self) -> usize {
        self.first.size().1
    }

    /// The rows, as far as they are of the part of the screen that the cursor is in.
    fn lines(&self) -> Vec<Row<'_>> {
        let lines: Vec<&avt::Line> = self.first.screen().all_lines().collect();
        let (left, right) = self.pane(&lines, self.cursor());
        lines.into_iter().map(|line| Row { line, left, right }).collect()
    }

    /// How many rows are kept above the screen.
    pub(super) fn above(&self) -> usize {
        let screen = self.first.screen();
        screen.all_lines().count().saturating_sub(screen.visible_lines().len())
    }

    pub(super) fn cursor(&self) -> Place {
        let cursor = self.first.cursor();
        Place { row: self.above() + cursor.row, column: cursor.col }
    }

    pub(super) fn anchor(&mut self, place: Place) -> Option<avt::Anchor> {
        let row = isize::try_from(place.row).ok()?.checked_sub_unsigned(self.above())?;
        self.first.anchor_at(avt::Position { screen: self.first.active_screen_kind(), col: place.column, row })
    }

    pub(super) fn resolve(&self, anchor: &avt::Anchor) -> Option<Place> {
        let position = self.first.resolve(anchor)?;
        if position.screen != self.first.active_screen_kind() {
            return None;
        }
        let row = self.above().checked_add_signed(position.row)?;
        Some(Place { row, column: position.col })
    }

    /// The columns of the part of the screen that the cursor is in: a multiplexer may have drawn borders between parts.
    fn pane(&self, lines: &[&avt::Line], cursor: Place) -> (usize, usize) {
        let whole = (0, usize::MAX);
        if self.first.active_screen_kind() != avt::ScreenKind::Alternate {
            return whole;
        }
        let is_border = |row: usize, column: usize| {
            let cell = lines.get(row).and_then(|line| line.cells().get(column));
            cell.is_some_and(|cell| "│├┤┼┬┴┌┐└┘".contains(cell.char()))
        };
        // one that is a border in the rows around, too
        let borders = |column: &usize| {
            let around = cursor.row.saturating_sub(2)..=cursor.row.saturating_add(2);
            is_border(cursor.row, *column) && around.filter(|row| is_border(*row, *column)).count() >= 3
        };
        let columns = self.first.size().0;
        let left = (0..cursor.column.min(columns)).rev().find(borders).map_or(0, |border| border + 1);
        let right = (cursor.column..columns).find(borders).unwrap_or(usize::MAX);
        (left, right)
    }

    /// The row in which the line that `row` is part of begins, going up over rows that were wrapped.
    fn start(lines: &[Row<'_>], mut row: usize) -> usize {
        while row > 0 && lines.get(row - 1).is_some_and(Row::goes_on) {
            row -= 1;
        }
        row
    }

    /// What stands before a place in its line.
    pub(super) fn before(&self, place: Place) -> String {
        let lines = self.lines();
        let mut text = String::new();
        for row in Self::start(&lines, place.row)..=place.row {
            let Some(line) = lines.get(row) else { break };
            let columns = if row == place.row { place.column } else { usize::MAX };
            text.extend(line.cells().filter(|cell| cell.column < columns).map(|cell| cell.character));
        }
        text
    }

    /// What stands right of a place in its row, without the spaces around it.
    pub(super) fn after(&self, place: Place) -> String {
        let lines = self.lines();
        let Some(line) = lines.get(place.row) else { return String::new() };
        let text: String = line.cells().filter(|cell| cell.column >= place.column).map(|cell| cell.character).collect();
        text.trim().to_owned()
    }

    /// The nearest line at or above the cursor that `prompt_end` finds a prompt in: the place after it. `prompt_end` gets the
    /// whole text of a line and answers with the number of characters of the prompt.
    pub(super) fn find(&self, prompt_end: impl Fn(&str) -> Option<usize>) -> Option<Place> {
        let lines = self.lines();
        let mut row = self.cursor().row;
        for _ in 0..64 {
            let start = Self::start(&lines, row);
            let mut text = String::new();
            let mut places = Vec::new();
            for (number, line) in lines.iter().enumerate().take(row + 1).skip(start) {
                for cell in line.cells() {
                    text.push(cell.character);
                    places.push(Place { row: number, column: cell.column });
                }
            }
            if let Some(end) = prompt_end(&text) {
                let after = places
                    .last()
                    .map_or(Place { row, column: 0 }, |last| Place { row: last.row, column: last.column + 1 });
                return Some(places.get(end).copied().unwrap_or(after));
            }
            row = start.checked_sub(1)?;
        }
        None
    }

    /// What stands between `from` and the end of the cursor's row, as lines joined by newlines; `right` is a right prompt,
    /// which is left out of the first row, and what stands in `skip` is no part of the line. The flag says whether the second model shows the same.
    pub(super) fn read(&self, from: Place, right: &str, skip: &[(Place, Place)]) -> Option<(String, bool)> {
        let skipped = |place: Place| skip.iter().any(|(start, end)| (*start..*end).contains(&place));
        let lines = self.lines();
        let cursor = self.cursor();
        if from.row > cursor.row {
            return None;
        }
        let above = self.above();
        let (pane_left, pane_right) = lines.first().map_or((0, usize::MAX), |row| (row.left, row.right));
        let left = u16::try_from(pane_left).unwrap_or_default();
        let columns = self.second.screen().size().1.get();
        let width = u16::try_from(pane_right).unwrap_or(columns).min(columns).saturating_sub(left);
        let second: Vec<String> = self.second.screen().rows(left, width).collect();
        let mut agree = true;
        let (mut text, mut row_text) = (String::new(), String::new());
        for row in from.row..=cursor.row {
            let line = lines.get(row)?;
            let first_column = if row == from.row { from.column } else { 0 };
            row_text.clear();
            let mut suggested = usize::MAX;
            if row == cursor.row {
                suggested = line.suggestion(cursor.column);
            }
            let mut shown = line
                .cells()
                .filter(|cell| cell.column >= first_column && cell.column < suggested)
                .filter(|cell| !skipped(Place { row, column: cell.column }))
                .peekable();
            while let Some(cell) = shown.next() {
                if let Some(meant) = unprintable(&cell, &mut shown) {
                    row_text.push(meant);
                    continue;
                }
                row_text.push(cell.character);
            }
            if let Some(other) = row.checked_sub(above).and_then(|row| second.get(row)) {
                let mine: String = line.cells().map(|cell| cell.character).collect();
                agree &= same(&mine, other);
            }
            if row == from.row && !right.is_empty() {
                let trimmed = row_text.trim_end();
                if let Some(without) = trimmed.strip_suffix(right)
                    && (without.is_empty() || without.ends_with("  "))
                {
                    row_text.truncate(without.len());
                }
            }
            // fish sets the lines after the first one under it, and indents them by what is open
            if text.ends_with('\n')
                && row_text.chars().take(from.column).filter(|character| *character == ' ').count() == from.column
            {
                row_text.drain(..row_text.len() - row_text.trim_start_matches(' ').len());
            }
            let end_skipped = skipped(Place { row, column: line.line.len().saturating_sub(1) });
            if row < cursor.row && (line.goes_on() || end_skipped) {
                text.push_str(&row_text);
            } else {
                text.push_str(row_text.trim_end());
                if row < cursor.row {
                    text.push('\n');
                }
            }
        }
        text.truncate(text.trim_end().len());
        Some((text, agree))
    }
}

/// What zsh shows of a character that it does not print: its number between angle brackets, in reverse. The number's cells are taken.
fn unprintable<'a>(cell: &Shown, after: &mut (impl Iterator<Item = Shown> + Clone + 'a)) -> Option<char> {
    if cell.character != '<' || !cell.inverse {
        return None;
    }
    let number: String = after
        .clone()
        .take(9)
        .take_while(|cell| cell.inverse && cell.character != '>')
        .map(|cell| cell.character)
        .collect();
    let end = after.clone().nth(number.len())?;
    if !(4..=8).contains(&number.len()) || end.character != '>' || !end.inverse {
        return None;
    }
    let meant = char::from_u32(u32::from_str_radix(&number, 16).ok()?)?;
    after.nth(number.len());
    Some(meant)
}

/// Whether two models show the same, but for spaces and for marks that combine with a letter, which only one of them keeps.
fn same(first: &str, second: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|character| {
                !character.is_whitespace() && unicode_width::UnicodeWidthChar::width(*character) != Some(0)
            })
            .collect()
    };
    plain(first) == plain(second)
}

#[derive(Clone, Copy)]
struct Shown {
    character: char,
    column: usize,
    inverse: bool,
}

/// A row, or the part of it between two borders.
#[derive(Clone, Copy)]
struct Row<'a> {
    line: &'a avt::Line,
    left: usize,
    right: usize,
}

/// So many blanks at a row's end are not in the middle of a line.
const BLANKS: usize = 8;

impl<'a> Row<'a> {
    fn slice(&self) -> &'a [avt::Cell] {
        let cells = self.line.cells();
        cells.get(self.left..self.right.min(cells.len())).unwrap_or_default()
    }

    fn cells(&self) -> impl Iterator<Item = Shown> + Clone + 'a {
        let left = self.left;
        self.slice().iter().enumerate().filter(|(_, cell)| cell.width() > 0).map(move |(column, cell)| Shown {
            character: cell.char(),
            column: left + column,
            inverse: cell.pen().is_inverse(),
        })
    }

    /// Whether the next row goes on with this one: it was wrapped, or it is full to its last cell, as editors leave it that move
    /// to the next row themselves. Shells that want their prompt at a row's start write blanks over the edge first (zsh, fish): such a
    /// row is none that goes on.
    fn goes_on(&self) -> bool {
        let cells = self.slice();
        let blanks = cells.iter().rev().take(BLANKS).all(|cell| cell.width() == 1 && cell.char() == ' ');
        (self.line.is_wrapped() && !blanks) || cells.last().is_some_and(|cell| cell.width() == 0 || cell.char() != ' ')
    }

    /// The column from which the row is a suggestion that was not accepted: grey to its end, right of the cursor.
    fn suggestion(&self, cursor: usize) -> usize {
        let rest = self.slice().get(cursor.saturating_sub(self.left)..).unwrap_or_default();
        let mut from = usize::MAX;
        for (column, cell) in rest.iter().enumerate().rev() {
            if cell.char() == ' ' && cell.width() == 1 {
                continue;
            }
            if !grey(cell.pen()) {
                return from;
            }
            from = cursor + column;
        }
        from
    }
}

fn grey(pen: &avt::Pen) -> bool {
    if pen.is_faint() {
        return true;
    }
    match pen.foreground() {
        Some(avt::Color::Indexed(number)) => number == 8 || (232..=246).contains(&number),
        Some(avt::Color::RGB(rgb)) => {
            let (least, most) = (rgb.r.min(rgb.g).min(rgb.b), rgb.r.max(rgb.g).max(rgb.b));
            most - least < 24 && most < 0xa0
        }
        None => false,
    }
}

fn non_zero(number: usize) -> NonZeroU16 {
    u16::try_from(number).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}
