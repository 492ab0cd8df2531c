//! Draws the state: the host, a row a container, what is selected, the keys.

use super::state::State;
use crate::top::batch::of_host;
use crate::top::column::{Column, name};
use crate::top::row::Row;
use collapse::clean_line;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

/// The host and the columns' names above the rows; the selected one and the keys below.
const ABOVE: u16 = 2;
const BELOW: u16 = 2;

const NAME_WIDTH_MIN: u16 = 13;

/// Left out in this order where a terminal is narrow.
const DISPENSABLE: [Column; 11] = [
    Column::Pressure,
    Column::System,
    Column::User,
    Column::Weight,
    Column::Tasks,
    Column::Host,
    Column::ThrottledTime,
    Column::Limit,
    Column::Memory,
    Column::Wait,
    Column::Throttled,
];

const KEYS: &str = "q quit  Enter record  / filter  < > sort  r reverse  ↑↓ select";

/// Containers on a terminal with so many lines.
pub(super) fn rows_in(height: u16) -> usize {
    height.saturating_sub(ABOVE + BELOW).into()
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let area = frame.area();
    let mut page = Page { frame, area };
    page.line(0, 0, &head(state), Style::new());
    let columns = columns(area.width, state.sort);
    page.titles(&columns, state.sort);
    let seen = rows_in(area.height);
    state.top = first_seen(state.top, state.selected_at(), seen);
    let rows = state.rows();
    for (at, row) in rows.iter().enumerate().skip(state.top).take(seen) {
        let y = ABOVE.saturating_add((at - state.top) as u16);
        page.row(y, row, &columns, at == state.selected_at());
    }
    let Some(last) = area.height.checked_sub(1) else {
        return;
    };
    if let Some(above_last) = last.checked_sub(1) {
        page.line(
            0,
            above_last,
            &said(state),
            Style::new().add_modifier(Modifier::DIM),
        );
    }
    let keys = if state.is_typing {
        format!("filter: {}_", state.filter)
    } else if state.filter.is_empty() {
        KEYS.to_owned()
    } else {
        format!("filter {} (Esc)  {KEYS}", state.filter)
    };
    page.line(0, last, &keys, Style::new().add_modifier(Modifier::BOLD));
}

/// So that the selected row is among those that are seen.
fn first_seen(top: usize, selected: usize, seen: usize) -> usize {
    let highest = selected.saturating_sub(seen.saturating_sub(1));
    top.clamp(highest, selected)
}

fn head(state: &State) -> String {
    let Some(measured) = &state.measured else {
        return "ctrflame top  looking for containers".to_owned();
    };
    let host = match &measured.host {
        Some(host) => of_host(host),
        None => "measuring".to_owned(),
    };
    format!("ctrflame top  {} containers  {host}", measured.rows.len())
}

/// A recording, what was last said, or who is selected.
fn said(state: &State) -> String {
    let of_selected = || {
        let row = state.selected()?;
        Some(format!("{}  {}", row.tag, row.container.cgroup_path))
    };
    let said = state.recording.clone().or_else(|| state.message.clone());
    said.or_else(of_selected).unwrap_or_else(|| {
        if state.measured.is_some() && state.filter.is_empty() {
            "no container runs here".to_owned()
        } else {
            String::new()
        }
    })
}

/// With the space before it.
fn width_of(column: Column) -> u16 {
    // Five for a number.
    let title = column.title().len() as u16;
    title.max(5) + 1
}

/// The numbers that there is room for beside a name.
fn columns(width: u16, sort: Column) -> Vec<Column> {
    let mut columns = Column::NUMBERS.to_vec();
    let mut dispensable = DISPENSABLE.iter().filter(|column| **column != sort);
    let room = width.saturating_sub(NAME_WIDTH_MIN);
    while columns.iter().map(|column| width_of(*column)).sum::<u16>() > room {
        let Some(dispensed) = dispensable.next() else {
            break;
        };
        columns.retain(|column| column != dispensed);
    }
    columns
}

struct Page<'a, 'b> {
    frame: &'a mut Frame<'b>,
    area: Rect,
}

impl Page<'_, '_> {
    /// Text from `x` to the end of line `y`, if there is such a line.
    fn line(&mut self, x: u16, y: u16, text: &str, style: Style) {
        let width = self.area.width.saturating_sub(x);
        self.put(x, y, width, &clean_line(text, 1024), style);
    }

    /// Text that is clean: what was cleaned once must not be again.
    fn put(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) {
        if x < self.area.width && y < self.area.height {
            let width = width.min(self.area.width - x).into();
            self.frame
                .buffer_mut()
                .set_stringn(x, y, text, width, style);
        }
    }

    fn titles(&mut self, columns: &[Column], sort: Column) {
        let style = |column| {
            let style = Style::new().add_modifier(Modifier::BOLD);
            if column == sort {
                style.add_modifier(Modifier::UNDERLINED)
            } else {
                style
            }
        };
        self.line(0, 1, Column::Name.title(), style(Column::Name));
        self.numbers(1, columns, |column| {
            (column.title().to_owned(), style(column))
        });
    }

    fn row(&mut self, y: u16, row: &Row, columns: &[Column], is_selected: bool) {
        let style = if is_selected {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        let numbers: u16 = columns.iter().map(|column| width_of(*column)).sum();
        let name_width = self.area.width.saturating_sub(numbers);
        if y < self.area.height {
            let line = Rect::new(0, y, self.area.width, 1);
            self.frame.buffer_mut().set_style(line, style);
        }
        let name = clean_line(&name(row), name_width.max(1).into()).into_owned();
        self.put(0, y, name_width, &name, style);
        self.numbers(y, columns, |column| {
            (column.text(row), style.patch(alarm(column, row)))
        });
    }

    /// Right-aligned, at the right edge.
    fn numbers(&mut self, y: u16, columns: &[Column], cell: impl Fn(Column) -> (String, Style)) {
        let all: u16 = columns.iter().map(|column| width_of(*column)).sum();
        let mut end = self.area.width.saturating_sub(all);
        for column in columns {
            let width = width_of(*column);
            end = end.saturating_add(width);
            let (text, style) = cell(*column);
            let len = (text.len() as u16).min(width - 1);
            self.put(end.saturating_sub(len), y, len, &text, style);
        }
    }
}

/// A limit that holds it back is seen from afar.
fn alarm(column: Column, row: &Row) -> Style {
    let is_throttling = matches!(column, Column::Throttled | Column::ThrottledTime);
    let number = row.used.as_ref().and_then(|used| column.number(used));
    if is_throttling && number.is_some_and(|number| number > 0.0) {
        Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
    } else {
        Style::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::testing::{measured, row};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, state: &mut State) -> Vec<String> {
        let backend = TestBackend::new(width, height);
        let mut terminal = Terminal::new(backend).expect("a terminal of the test's");
        terminal.draw(|frame| draw(frame, state)).expect("it draws");
        let buffer = terminal.backend().buffer().clone();
        (0..height)
            .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect())
            .collect()
    }

    fn state() -> State {
        let mut state = State::new(Column::Cpu, "");
        state.measured(measured(vec![
            row("web\x1b[31m", Some(123.4)),
            row("a-name-that-is-longer-than-its-column", Some(5.0)),
            row("new", None),
        ]));
        state
    }

    #[test]
    fn eighty_columns_hold_a_name_and_the_numbers_that_matter() {
        let lines = drawn(80, 8, &mut state());
        assert_eq!(
            lines[1],
            "NAME           CPU%  USER   SYS  THR%  MS/S WAIT% HOST% LIMIT WEIGHT   MEM TASKS"
        );
        assert_eq!(
            lines[2],
            r"web\x1b[31m   123.4     -     -     -     -     -     -     -      -     -     -"
        );
        assert!(lines[3].starts_with("a-name-t…lumn   5.0"), "{}", lines[3]);
        assert!(lines[4].starts_with("new               -"), "{}", lines[4]);
        assert!(lines[6].starts_with(r"docker:web\x1b[31m (7765621b5b33)  /docker/"));
        assert!(lines[7].starts_with("q quit  Enter record"));
    }

    #[test]
    fn a_wide_terminal_has_all_columns_and_a_narrow_one_keeps_what_is_sorted_by() {
        let wide = drawn(120, 5, &mut state());
        assert!(wide[1].contains("PSI%"));
        let mut narrow = state();
        narrow.sort = Column::Pressure;
        let narrow = drawn(40, 5, &mut narrow);
        assert!(
            narrow[1].contains("PSI%") && narrow[1].contains("CPU%"),
            "{}",
            narrow[1]
        );
        assert!(!narrow[1].contains("USER"));
    }

    #[test]
    fn no_size_is_too_small() {
        for (width, height) in [(1, 1), (0, 0), (5, 2), (13, 3), (200, 4)] {
            drawn(width, height, &mut state());
        }
    }

    #[test]
    fn the_selected_row_is_always_seen() {
        assert_eq!(first_seen(0, 9, 5), 5);
        assert_eq!(first_seen(5, 3, 5), 3);
        assert_eq!(first_seen(2, 4, 5), 2);
        assert_eq!(first_seen(3, 0, 0), 0);
    }
}
