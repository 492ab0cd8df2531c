//! What the screen shows and what keys do to it; draws nothing, waits for nothing.

use crate::top::column::{Column, chosen};
use crate::top::row::Row;
use crate::top::sampler::Measured;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Longest filter that can be typed.
const FILTER_CHARS_MAX: usize = 64;

/// What a key asks for that the state itself cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    None,
    Quit,
    Record,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) measured: Option<Measured>,
    pub(super) sort: Column,
    /// Smallest first.
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) is_typing: bool,
    /// The selected container's cgroup.
    selected: Option<String>,
    /// Somebody chose it.
    is_chosen: bool,
    /// Where it stands, or stood when it ended.
    selected_at: usize,
    /// The first row that is drawn.
    pub(super) top: usize,
    /// What was last said.
    pub(super) message: Option<String>,
    /// What is said of the recording that runs.
    pub(super) recording: Option<String>,
}

impl State {
    pub(super) fn new(sort: Column, filter: &str) -> Self {
        Self {
            measured: None,
            sort,
            is_reversed: false,
            filter: filter.to_owned(),
            is_typing: false,
            selected: None,
            is_chosen: false,
            selected_at: 0,
            top: 0,
            message: None,
            recording: None,
        }
    }

    pub(super) fn measured(&mut self, measured: Measured) {
        let had_numbers = self.measured.as_ref().is_some_and(|one| one.host.is_some());
        self.measured = Some(measured);
        if !had_numbers && !self.is_chosen {
            // Who is first is known only now.
            (self.selected, self.selected_at) = (None, 0);
        }
        self.settle();
    }

    /// The containers, as they stand below each other.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let Some(measured) = &self.measured else {
            return Vec::new();
        };
        let mut rows = chosen(measured, self.sort, &self.filter);
        if self.is_reversed {
            rows.reverse();
        }
        rows
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.rows().get(self.selected_at).copied()
    }

    pub(super) fn selected_at(&self) -> usize {
        self.selected_at
    }

    /// `page`: rows that are seen at once.
    pub(super) fn key(&mut self, key: KeyEvent, page: usize) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                _ => Action::None,
            };
        }
        if self.is_typing {
            self.typed(key.code);
            return Action::None;
        }
        let page = page.max(1);
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Enter => return Action::Record,
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.selected_at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.selected_at + 1),
            KeyCode::PageUp => self.choose(self.selected_at.saturating_sub(page)),
            KeyCode::PageDown => self.choose(self.selected_at + page),
            KeyCode::Home | KeyCode::Char('g') => self.choose(0),
            KeyCode::End | KeyCode::Char('G') => self.choose(usize::MAX),
            KeyCode::Left | KeyCode::Char('<') => self.sort_by_neighbour(-1),
            KeyCode::Right | KeyCode::Char('>') => self.sort_by_neighbour(1),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc => {
                self.message = None;
                self.filter.clear();
            }
            _ => {}
        }
        self.settle();
        Action::None
    }

    fn typed(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_CHARS_MAX => {
                self.filter.push(c);
            }
            _ => {}
        }
        self.settle();
    }

    fn choose(&mut self, at: usize) {
        self.is_chosen = true;
        // What was said of another one has been read.
        self.message = None;
        self.select(at);
    }

    fn select(&mut self, at: usize) {
        let at = at.min(self.rows().len().saturating_sub(1));
        self.selected_at = at;
        self.selected = self
            .rows()
            .get(at)
            .map(|row| row.container.cgroup_path.clone());
    }

    fn sort_by_neighbour(&mut self, step: isize) {
        let all = || std::iter::once(Column::Name).chain(Column::NUMBERS);
        let count = all().count();
        let at = all().position(|column| column == self.sort).unwrap_or(0);
        let next = (at + count).saturating_add_signed(step) % count;
        self.sort = all().nth(next).unwrap_or(self.sort);
    }

    /// The selection follows its container; when that is gone, the one that took its place is selected.
    fn settle(&mut self) {
        let rows = self.rows();
        let selected = self.selected.as_ref();
        let at = selected.and_then(|path| {
            rows.iter()
                .position(|row| row.container.cgroup_path == *path)
        });
        match at {
            Some(at) => self.selected_at = at,
            None => self.select(self.selected_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::column::name;
    use crate::top::testing::{measured, row};

    fn press(state: &mut State, keys: &str) -> Action {
        let mut action = Action::None;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            action = state.key(KeyEvent::new(code, KeyModifiers::NONE), 2);
        }
        action
    }

    fn state(rows: &[(&str, f64)]) -> State {
        let mut state = State::new(Column::Cpu, "");
        state.measured(measured(
            rows.iter()
                .map(|(name, cpu)| row(name, Some(*cpu)))
                .collect(),
        ));
        state
    }

    fn selected(state: &State) -> String {
        state.selected().map(name).unwrap_or_default()
    }

    #[test]
    fn the_selection_follows_its_container_and_what_took_its_place() {
        let mut state = state(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]);
        assert_eq!(selected(&state), "a");
        press(&mut state, "j");
        assert_eq!(selected(&state), "b");
        state.measured(measured(vec![row("b", Some(9.0)), row("a", Some(1.0))]));
        assert_eq!((selected(&state), state.selected_at()), ("b".into(), 0));
        state.measured(measured(vec![row("a", Some(1.0)), row("d", Some(5.0))]));
        assert_eq!(selected(&state), "d");
        state.measured(measured(vec![]));
        assert!(state.selected().is_none());
        state.measured(measured(vec![row("a", None)]));
        assert_eq!(selected(&state), "a");
    }

    #[test]
    fn the_first_by_its_numbers_is_selected_until_somebody_chooses() {
        let unmeasured = || measured(vec![row("a", None), row("busy", None)]);
        let numbers = || {
            let mut all = measured(vec![row("a", Some(1.0)), row("busy", Some(9.0))]);
            all.host = Some(Default::default());
            all
        };
        let mut state = State::new(Column::Cpu, "");
        state.measured(unmeasured());
        assert_eq!(selected(&state), "a");
        state.measured(numbers());
        assert_eq!(selected(&state), "busy");
        let mut state = State::new(Column::Cpu, "");
        state.measured(unmeasured());
        press(&mut state, "k");
        state.measured(numbers());
        assert_eq!(selected(&state), "a");
    }

    #[test]
    fn moving_ends_at_the_first_and_the_last() {
        let mut state = state(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]);
        press(&mut state, "jjjj");
        assert_eq!(selected(&state), "c");
        press(&mut state, "kkkkk");
        assert_eq!(selected(&state), "a");
        press(&mut state, "G");
        assert_eq!(selected(&state), "c");
        press(&mut state, "g");
        assert_eq!(selected(&state), "a");
    }

    #[test]
    fn columns_are_sorted_by_in_a_circle_and_either_way_round() {
        let mut state = state(&[("a", 3.0), ("b", 2.0)]);
        press(&mut state, "<");
        assert_eq!(state.sort, Column::Name);
        press(&mut state, "<");
        assert_eq!(state.sort, Column::Tasks);
        press(&mut state, ">>");
        assert_eq!(state.sort, Column::Cpu);
        press(&mut state, "r");
        assert_eq!(state.rows().first().map(|row| name(row)), Some("b".into()));
        assert_eq!(selected(&state), "a", "it stays with its container");
    }

    #[test]
    fn a_filter_is_typed_kept_and_taken_away() {
        let mut state = state(&[("web", 3.0), ("db", 2.0)]);
        // Keys mean themselves while it is typed.
        assert_eq!(press(&mut state, "/dbq\x08\n"), Action::None);
        assert_eq!((selected(&state), state.rows().len()), ("db".into(), 1));
        assert_eq!(press(&mut state, "\n"), Action::Record);
        press(&mut state, "\x1b");
        assert_eq!(state.rows().len(), 2);
        assert_eq!(press(&mut state, "q"), Action::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut state, "/");
        assert_eq!(state.key(interrupt, 2), Action::Quit);
    }
}
