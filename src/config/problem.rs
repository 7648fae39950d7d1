//! What is wrong with a configuration, and how it is shown.
//!
//! A [`Report`] collects problems from any check, at load or later, and renders each with file, line, column, the offending
//! text underlined, what is allowed, and a hint. It never shows text that was hidden from it: a secret in the wrong place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::text::{Located, Position, SourceText};
use crate::schema::closest;

/// What stands in a rendered snippet for hidden text.
const HIDDEN: &str = "\"***\"";

/// Whether a problem stops the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but perhaps not as intended.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the program.
    pub severity: Severity,
    /// The bytes of the file that are wrong; `None` when it is the file as a whole.
    pub span: Option<Range<usize>>,
    /// The key it is about, from the root; empty when there is none.
    pub path: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What would be right.
    pub allowed: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// An error about the key `path`, standing at `span`.
    #[must_use]
    pub fn error(span: Range<usize>, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(span), path.into(), message.into())
    }

    /// A warning about the key `path`, standing at `span`.
    #[must_use]
    pub fn warning(span: Range<usize>, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(span), path.into(), message.into())
    }

    /// An error about the file as a whole.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, String::new(), message.into())
    }

    fn new(severity: Severity, span: Option<Range<usize>>, path: String, message: String) -> Self {
        Self { severity, span, path, message, allowed: None, hint: None }
    }

    /// Says what is allowed instead.
    #[must_use]
    pub fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do, when there is something to say.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Asks whether the nearest of `known` was meant by `given`, if one is near.
    #[must_use]
    pub fn suggest<'a>(self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        self.maybe_hint(closest(given, known).map(|name| format!("did you mean `{name}`?")))
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl<T> Located<T> {
    /// An error about this value.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.span.clone(), self.path.clone(), message)
    }

    /// A warning about this value.
    #[must_use]
    pub fn warning(&self, message: impl Into<String>) -> Problem {
        Problem::warning(self.span.clone(), self.path.clone(), message)
    }
}

/// All that is wrong with one configuration file. `Display` renders it without colour.
#[derive(Debug, Clone)]
pub struct Report {
    source: Arc<SourceText>,
    problems: Vec<Problem>,
    /// Byte ranges that are never shown, in no particular order; they may overlap.
    hidden: Vec<Range<usize>>,
}

impl Report {
    /// A report on `source` that finds nothing wrong yet.
    #[must_use]
    pub fn new(source: Arc<SourceText>) -> Self {
        Self { source, problems: Vec::new(), hidden: Vec::new() }
    }

    /// The file that it is about.
    #[must_use]
    pub fn source(&self) -> &Arc<SourceText> {
        &self.source
    }

    /// Adds a problem, at its place in the order of the file.
    pub fn push(&mut self, problem: Problem) {
        let start = |problem: &Problem| problem.span.as_ref().map(|span| span.start);
        let index = self.problems.partition_point(|other| start(other) <= start(&problem));
        self.problems.insert(index, problem);
    }

    /// Never shows the bytes of `span`.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        self.hidden.push(span);
    }

    /// What was found, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether something found stops the program.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Line and column of `problem`; `None` when it is about the file as a whole.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> Option<Position> {
        problem.span.as_ref().map(|span| self.source.position(span.start))
    }

    /// Everything that was found, for a terminal; empty when nothing was. `color` adds ANSI styles.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let shown = Shown::new(self.source.text(), &self.hidden);
        let path = self.source.path().display().to_string();
        let parts = self.problems.iter().map(|problem| renderer.render(&[group(problem, &shown, &path)]));
        parts.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn group<'a>(problem: &'a Problem, shown: &'a Shown, path: &'a str) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = Group::with_title(level.primary_title(problem.message.as_str()));
    let group = match &problem.span {
        None => group.element(Origin::path(path)),
        Some(span) => {
            let label = (!problem.path.is_empty()).then(|| format!("`{}`", problem.path));
            let annotation = AnnotationKind::Primary.span(shown.span(span)).label(label);
            group.element(Snippet::source(shown.text.as_str()).path(path).annotation(annotation))
        }
    };
    let notes = problem.allowed.iter().map(|allowed| Level::NOTE.message(format!("allowed: {allowed}")));
    let hints = problem.hint.iter().map(|hint| Level::HELP.message(hint.as_str()));
    group.elements(notes).elements(hints)
}

/// The text as it may be shown: hidden parts replaced by [`HIDDEN`].
struct Shown {
    text: String,
    /// Hidden ranges of the original with where their replacement starts, in order, apart from each other.
    replaced: Vec<(Range<usize>, usize)>,
}

impl Shown {
    fn new(original: &str, hidden: &[Range<usize>]) -> Self {
        let mut ranges = hidden.to_vec();
        ranges.sort_by_key(|range| range.start);
        let mut shown = Self { text: String::with_capacity(original.len()), replaced: Vec::new() };
        let mut done = 0;
        for range in ranges {
            match shown.replaced.last_mut() {
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => {
                    shown.text.push_str(&original[done..range.start]);
                    shown.replaced.push((range.clone(), shown.text.len()));
                    shown.text.push_str(HIDDEN);
                }
            }
            done = done.max(range.end);
        }
        shown.text.push_str(&original[done..]);
        shown
    }

    /// Where a range of the original is in the text shown.
    fn span(&self, original: &Range<usize>) -> Range<usize> {
        let start = self.offset(original.start, 0);
        start..self.offset(original.end, HIDDEN.len()).max(start)
    }

    /// Where a byte of the original went; one that is hidden, to `within` bytes into the replacement.
    fn offset(&self, original: usize, within: usize) -> usize {
        match self.replaced.iter().rev().find(|(range, _)| range.start < original) {
            None => original,
            Some((range, at)) if original < range.end => at + within,
            Some((range, at)) => at + HIDDEN.len() + (original - range.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, hidden: &[&str], at: &str) -> Report {
        let mut report = Report::new(Arc::new(SourceText::new("dir/config.toml", text)));
        for part in hidden {
            let start = text.find(part).unwrap();
            report.hide(start..start + part.len());
        }
        let start = text.find(at).unwrap();
        report.push(
            Problem::error(start..start + at.len(), "jobs.a.lag", "cannot be used").allowed("this, that").hint("do it"),
        );
        report
    }

    #[test]
    fn a_problem_is_shown_with_place_underline_allowed_and_hint() {
        let shown = report("[jobs.a]\nlag = 'x'\n", &[], "'x'").to_string();
        let expected = "error: cannot be used
 --> dir/config.toml:2:7
  |
2 | lag = 'x'
  |       ^^^ `jobs.a.lag`
  |
  = note: allowed: this, that
  = help: do it";
        assert_eq!(shown, expected);
    }

    #[test]
    fn hidden_text_is_never_shown_and_shifts_no_underline() {
        let text = "a = { p = 'hunter22', q = 'hunter33', ü = 5 } # end\n";
        for at in ["5", "{ p = 'hunter22', q = 'hunter33', ü = 5 }", "'hunter33'", "hunter33", "ter2", "p"] {
            let shown = report(text, &["'hunter22'", "'hunter33'", "unter3"], at).to_string();
            assert!(!shown.contains("unter"), "{shown}");
            assert!(shown.contains("{ p = \"***\", q = \"***\", ü = 5 } # end"), "{shown}");
        }
        let shown = report(text, &["'hunter22'", "'hunter33'"], "5").to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[3].find("5 }").map(|at| lines[3][..at].chars().count()), lines[4].find('^'), "{shown}");
    }

    #[test]
    fn problems_are_kept_in_the_order_of_the_file_and_the_file_itself_comes_first() {
        let mut report = report("a\nb\n", &[], "b");
        report.push(Problem::warning(0..1, "a", "first"));
        report.push(Problem::of_file("whole"));
        assert_eq!(
            report.problems().iter().map(|p| p.message.as_str()).collect::<Vec<_>>(),
            ["whole", "first", "cannot be used"]
        );
        assert!(report.render(false).starts_with("error: whole\n--> dir/config.toml\n\nwarning: first\n"), "{report}");
    }
}
