//! The size of a terminal.

/// Columns and rows of a terminal, as a client or a node tells them: any number, 0 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Cells in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// The most that is modelled: a model's memory grows with the number of cells, and a client may claim 65,535 by 65,535.
const MOST_COLUMNS: u16 = 512;
const MOST_ROWS: u16 = 256;

impl Size {
    /// What a terminal is taken to have: a size of 0 is "not known" (RFC 4254, section 6.2), for which 80 by 24 is usual.
    pub(crate) fn modelled(self) -> (usize, usize) {
        let columns = if self.columns == 0 { 80 } else { self.columns.min(MOST_COLUMNS) };
        let rows = if self.rows == 0 { 24 } else { self.rows.min(MOST_ROWS) };
        (usize::from(columns), usize::from(rows))
    }
}
