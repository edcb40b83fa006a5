//! Output on its way into the models: as late as can be, and not at all where it makes no difference.

use super::edit::{Edit, From};
use super::models::{Models, Place, SCROLLBACK};
use super::scan::Scanner;
use crate::Size;

/// Output that waits for the models. Past this they get it.
const MOST_UNFED: usize = 32 << 10;

/// The most of a dump that an idle watch keeps; a fuller screen keeps only the rows of the line.
const LARGEST_DUMP: usize = 6 << 10;

pub(super) struct Feed {
    size: Size,
    models: Option<Models>,
    asleep: Option<Asleep>,
    unfed: Vec<u8>,
    /// `unfed` began between two sequences.
    plain: bool,
}

/// What makes the models anew.
struct Asleep {
    dump: String,
    /// The prompt's end, in rows of the screen.
    place: Option<Place>,
}

impl Feed {
    pub(super) fn new(size: Size) -> Self {
        // the models are made when something is to be seen
        let asleep = Some(Asleep { dump: String::new(), place: None });
        Self { size, models: None, asleep, unfed: Vec::new(), plain: true }
    }

    pub(super) fn models(&self) -> Option<&Models> {
        self.models.as_ref()
    }

    /// Takes output that `scanner` has just seen, and no more than that: what it saw tells whether it can be left out.
    pub(super) fn push(&mut self, bytes: &[u8], scanner: &mut Scanner) {
        self.unfed.extend_from_slice(bytes);
        if self.unfed.len() >= MOST_UNFED {
            self.overflow(scanner);
        }
    }

    /// Text that scrolls by leaves nothing but its last rows, which may wait for more, and the colour in which they begin. That is exact
    /// if there is only text in it, and no mode under which something else than the last rows would matter.
    fn overflow(&mut self, scanner: &mut Scanner) {
        let only_text = self.plain && !scanner.moved && !scanner.odd;
        let rows = self.models.as_ref().map_or(usize::from(u8::MAX), Models::rows) + SCROLLBACK + 2;
        let rest = only_text.then(|| last_rows(&self.unfed, rows)).flatten();
        let Some(rest) = rest.filter(|rest| rest.len() <= MOST_UNFED / 2) else { return self.fed(scanner) };
        self.unfed = rest;
        if let Some(models) = &mut self.models {
            models.forget_cut();
        }
    }

    fn fed(&mut self, scanner: &mut Scanner) {
        self.wake(&mut None);
        if let Some(models) = &mut self.models {
            models.feed(&self.unfed);
        }
        self.unfed.clear();
        scanner.moved = false;
        self.plain = scanner.at_rest();
    }

    /// The models get all that there was.
    pub(super) fn sync(&mut self, edit: &mut Option<Edit>) {
        self.wake(edit);
        if self.unfed.is_empty() {
            return;
        }
        if let Some(models) = &mut self.models {
            models.feed(&self.unfed);
        }
        self.unfed.clear();
        // what comes next may be inside a sequence, which only the scanner knows
        self.plain = false;
    }

    fn wake(&mut self, edit: &mut Option<Edit>) {
        let Some(asleep) = self.asleep.take() else { return };
        self.models = Models::new(self.size);
        let Some(models) = &mut self.models else { return };
        models.feed(asleep.dump.as_bytes());
        if let (Some(edit), Some(place)) = (edit, asleep.place) {
            edit.anchor = models.anchor(place);
        }
    }

    pub(super) fn idle(&mut self, edit: &mut Option<Edit>) {
        self.sync(edit);
        let Some(models) = self.models.take() else { return };
        let above = models.above();
        let on_screen = |place: Place| Some(Place { row: place.row.checked_sub(above)?, column: place.column });
        let place = edit.as_ref().and_then(|edit| edit.place(&models)).and_then(on_screen);
        let mut dump = models.dump();
        if dump.len() > LARGEST_DUMP {
            dump = models.dump_of_line();
        }
        dump.shrink_to_fit();
        if let Some(edit) = edit {
            edit.anchor = None;
            edit.between.clear();
            edit.echo.give_up();
        }
        self.asleep = Some(Asleep { dump, place });
        self.unfed = Vec::new();
    }

    pub(super) fn resize(&mut self, size: Size, edit: &mut Option<Edit>) {
        self.sync(edit);
        self.size = size;
        if let Some(models) = &mut self.models {
            models.resize(size);
        }
    }

    /// Somebody begins to type at the cursor, or an editor to read there.
    pub(super) fn begin(&mut self, from: From, edit: &mut Option<Edit>) {
        self.sync(edit);
        if let Some(models) = &mut self.models {
            *edit = Some(Edit::begin(from, models));
        }
    }

    /// The cursor's place, which stays with its cell.
    pub(super) fn anchor(&mut self, edit: &mut Option<Edit>) -> Option<avt::Anchor> {
        self.sync(edit);
        let models = self.models.as_mut()?;
        let place = models.cursor();
        models.anchor(place)
    }

    /// The text left of the cursor.
    pub(super) fn prompt(&self) -> String {
        self.models.as_ref().map(|models| models.before(models.cursor())).unwrap_or_default()
    }

    pub(super) fn stands_after_text(&self) -> bool {
        !self.prompt().trim().is_empty()
    }

    /// The line that the cursor is in.
    pub(super) fn row(&self) -> String {
        let Some(models) = &self.models else { return String::new() };
        let cursor = models.cursor();
        models.before(Place { row: cursor.row, column: usize::MAX }).trim_end().to_owned()
    }

    /// Whether nothing was shown since `edit` began.
    pub(super) fn nothing_after(&self, edit: &Edit, prompts: &super::prompt::Prompts) -> bool {
        let reading = self.models.as_ref().and_then(|models| edit.read(models, prompts, false));
        reading.is_some_and(|reading| reading.text.is_empty())
    }
}

/// So many last rows of text that has nothing but colours in it, behind what sets the colour in which they begin.
fn last_rows(text: &[u8], rows: usize) -> Option<Vec<u8>> {
    let mut feeds = 0;
    let start = text.windows(2).rposition(|two| {
        feeds += usize::from(two.last() == Some(&b'\n'));
        feeds >= rows && two == b"\r\n"
    })?;
    let (before, rest) = text.split_at_checked(start)?;
    let mut last = Vec::with_capacity(MOST_UNFED);
    for escape in memchr::memchr_iter(0x1b, before) {
        let colour = before.get(escape..)?;
        let colour = colour.get(..=memchr::memchr(b'm', colour)?)?;
        // what goes back to none has no need of those before
        if colour.iter().all(|byte| b"\x1b[0m".contains(byte)) {
            last.clear();
        }
        last.extend_from_slice(colour);
    }
    last.extend_from_slice(rest);
    Some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::scan::Sign;
    use proptest::prelude::*;

    const SIZE: Size = Size { columns: 20, rows: 5 };

    /// As a watch does it where nobody types.
    fn show(feed: &mut Feed, scanner: &mut Scanner, mut rest: &[u8]) {
        while let Some((length, sign)) = scanner.next(rest, None) {
            let step = length + usize::from(sign == Sign::BeforeLineFeed);
            feed.push(&rest[..length], scanner);
            feed.push(&rest[length..step], scanner);
            scanner.line_feed();
            rest = &rest[step..];
        }
        feed.push(rest, scanner);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_scrolled_by_leaves_the_screen_as_if_all_of_it_had_been_drawn(
            floods in prop::collection::vec((prop::collection::vec("[a-zä ]{0,30}|(\x1b\\[[0-9;]{0,6}m[a-z]{0,5}){0,4}", 1..12), 100..900_usize), 1..4),
            between in prop::collection::vec("\x1b\\[H|\x1b\\[2;4r|\x1b\\[?6h|\x1b\\[31|\r|ä|\x1b|\x1b\\[1m\r\n|\x1bc", 4),
            awake: bool,
        ) {
            let (mut feed, mut scanner) = (Feed::new(SIZE), Scanner::default());
            if awake {
                feed.wake(&mut None);
            }
            let mut drawn = Models::new(SIZE).unwrap();
            for ((lines, times), between) in floods.into_iter().zip(between) {
                let text = format!("{}\r\n", lines.join("\r\n")).repeat(times) + &between;
                show(&mut feed, &mut scanner, text.as_bytes());
                drawn.feed(text.as_bytes());
            }
            feed.sync(&mut None);
            prop_assert_eq!(feed.models.unwrap().dump(), drawn.dump());
        }
    }
}
