//! Tables of text: columns as wide as their cells, marks in red where a terminal shows colours.

use collapse::clean_line;
use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Longest text of one cell; the last cell of a row may take [`LAST_CHARS_MAX`].
const CELL_CHARS_MAX: usize = 60;
const LAST_CHARS_MAX: usize = 400;

const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
const GAP: &str = "  ";

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) align: Align,
}

/// Where a cell's text stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    /// Numbers.
    Right,
}

impl Column {
    pub(crate) const fn left(name: &'static str) -> Self {
        let align = Align::Left;
        Self { name, align }
    }

    pub(crate) const fn right(name: &'static str) -> Self {
        let align = Align::Right;
        Self { name, align }
    }
}

/// What stands in one place of a table: one line, safe for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Parts, each with whether it is red.
    parts: Vec<(String, bool)>,
}

impl Cell {
    /// Any text, also a container's: what is not visible is escaped.
    pub(crate) fn text(text: &str) -> Self {
        Self {
            parts: vec![(clean_line(text, LAST_CHARS_MAX).into_owned(), false)],
        }
    }

    /// The text, or a dash where there is none.
    pub(crate) fn some(text: Option<&str>) -> Self {
        Self::text(text.unwrap_or("-"))
    }

    /// Our own text, behind what is there.
    pub(crate) fn push(&mut self, text: impl Into<String>, is_red: bool) {
        self.parts.push((text.into(), is_red));
    }

    fn is_none(&self) -> bool {
        matches!(self.parts.as_slice(), [(text, _)] if text == "-")
    }

    fn chars(&self) -> usize {
        self.parts
            .iter()
            .map(|(text, _)| text.chars().count())
            .sum()
    }

    /// With its middle cut out where it is longer.
    fn cut(&mut self, chars_max: usize) {
        // Only text of one part is ever long.
        if let [(text, _)] = self.parts.as_mut_slice()
            && text.chars().nth(chars_max).is_some()
        {
            *text = cut(text, chars_max);
        }
    }
}

/// Escapes are ASCII by now: a cut that goes through one leaves a part of it, and nothing else.
fn cut(text: &str, chars_max: usize) -> String {
    let kept = chars_max.saturating_sub(1);
    let mut cut: String = text.chars().take(kept).collect();
    cut.push('…');
    cut
}

/// How a table is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Characters of a line, where a terminal limits them: the last column is cut there, but never
    /// shorter than its name.
    pub(crate) width: Option<usize>,
    pub(crate) colours: bool,
}

impl Shown {
    /// As this shows it, and as whoever looks wants it.
    pub(crate) fn on(out: &(impl IsTerminal + AsFd)) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: terminal_size::terminal_size_of(out).map(|(width, _)| width.0.into()),
            // https://no-color.org
            colours: out.is_terminal() && !is_dumb && !is_set("NO_COLOR"),
        }
    }
}

/// Rows of cells under columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// A row has a cell for each column.
    pub(crate) fn row(&mut self, mut cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        if let Some((_, others)) = cells.split_last_mut() {
            others.iter_mut().for_each(|cell| cell.cut(CELL_CHARS_MAX));
        }
        self.rows.push(cells);
    }

    /// Leaves out these columns where no row has anything in them.
    pub(crate) fn without_empty(mut self, names: &[&str]) -> Self {
        let is_kept: Vec<bool> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let mut cells = self.rows.iter().filter_map(|row| row.get(at));
                !names.contains(&column.name) || cells.any(|cell| !cell.is_none())
            })
            .collect();
        retain(&mut self.columns, &is_kept);
        for row in &mut self.rows {
            retain(row, &is_kept);
        }
        self
    }

    /// Its lines, the columns' names first.
    pub(crate) fn lines(&self, shown: Shown) -> Vec<String> {
        let head: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::text(column.name))
            .collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().chain([&head]);
                let widths = cells.filter_map(|row| row.get(at)).map(Cell::chars);
                widths.max().unwrap_or(0)
            })
            .collect();
        let rows = std::iter::once(&head).chain(&self.rows);
        rows.map(|row| self.line(row, &widths, shown)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize], shown: Shown) -> String {
        let mut line = String::new();
        let mut used = 0;
        let last = self.columns.len().saturating_sub(1);
        for (at, ((cell, column), width)) in row.iter().zip(&self.columns).zip(widths).enumerate() {
            if at > 0 {
                line.push_str(GAP);
                used += GAP.len();
            }
            let mut cell = cell.clone();
            if at == last
                && let Some(room) = shown.width
            {
                cell.cut(room.saturating_sub(used).max(column.name.chars().count()));
            }
            let padding = " ".repeat(width.saturating_sub(cell.chars()));
            if column.align == Align::Right {
                line.push_str(&padding);
            }
            for (text, is_red) in &cell.parts {
                if *is_red && shown.colours {
                    line.push_str(RED);
                    line.push_str(text);
                    line.push_str(PLAIN);
                } else {
                    line.push_str(text);
                }
            }
            if column.align == Align::Left && at != last {
                line.push_str(&padding);
            }
            used += width;
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
}

fn retain<T>(all: &mut Vec<T>, is_kept: &[bool]) {
    let mut kept = is_kept.iter().copied();
    all.retain(|_| kept.next().unwrap_or(true));
}

/// A time span in at most six characters: `5s`, `12m`, `3h20m`, `4d`, `2y`.
pub(crate) fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => format!("{}h{}m", seconds / HOUR, seconds % HOUR / MINUTE),
        DAY..YEAR => format!("{}d", seconds / DAY),
        YEAR.. => format!("{}y{}d", seconds / YEAR, seconds % YEAR / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::left("NAME"),
        Column::right("PID"),
        Column::left("COMMAND"),
    ];

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&COLUMNS);
        for row in rows {
            table.row(row.iter().map(|text| Cell::text(text)).collect());
        }
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let table = table(&[["a", "1", "sh"], ["longer", "12345", ""]]);
        assert_eq!(
            table.lines(Shown::default()),
            [
                "NAME      PID  COMMAND",
                "a           1  sh",
                "longer  12345",
            ]
        );
    }

    #[test]
    fn what_a_container_wrote_is_one_line_without_control_characters() {
        let table = table(&[["a\x1b[2Jb", "1", "x\ny\u{202e}"]]);
        assert_eq!(
            table.lines(Shown::default())[1],
            r"a\x1b[2Jb    1  x\x0ay\u{202e}"
        );
    }

    #[test]
    fn the_last_column_ends_where_the_terminal_does() {
        let table = table(&[["a", "1", "a command of many words"]]);
        let shown = |width| Shown {
            width: Some(width),
            colours: false,
        };
        assert_eq!(table.lines(shown(20))[1], "a       1  a comman…");
        assert_eq!(table.lines(shown(20))[1].chars().count(), 20);
        assert_eq!(table.lines(shown(5))[1], "a       1  a comm…");
    }

    #[test]
    fn red_is_for_terminals_and_takes_no_room() {
        let mut table = Table::new(&COLUMNS);
        let mut marked = Cell::default();
        marked.push("net!", true);
        marked.push(" pid", false);
        table.row(vec![marked, Cell::text("1"), Cell::text("sh")]);
        assert_eq!(table.lines(Shown::default())[1], "net! pid    1  sh");
        let shown = Shown {
            width: None,
            colours: true,
        };
        assert_eq!(table.lines(shown)[1], "\x1b[31mnet!\x1b[0m pid    1  sh");
    }

    #[test]
    fn only_named_columns_go_and_only_if_they_are_empty() {
        let kept = table(&[["-", "-", "sh"]]).without_empty(&["PID"]);
        assert_eq!(kept.lines(Shown::default()), ["NAME  COMMAND", "-     sh"]);
        let kept = table(&[["-", "-", "sh"], ["-", "1", "sh"]]).without_empty(&["PID"]);
        assert_eq!(kept.lines(Shown::default())[0], "NAME  PID  COMMAND");
    }

    #[test]
    fn spans_are_short() {
        let spans = [0, 59, 60, 3599, 3600, 86_399, 86_400, 31_536_000].map(span);
        assert_eq!(
            spans,
            ["0s", "59s", "1m", "59m", "1h0m", "23h59m", "1d", "1y0d"]
        );
    }
}
