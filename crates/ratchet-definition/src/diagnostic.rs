//! What is wrong in a file, with its place, for people and for programs.

use std::{fmt, ops::Range, sync::Arc};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use unicode_width::UnicodeWidthStr;

use crate::mistake::{Mistake, Severity};

/// One finding in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What was found; its span counts bytes of the file.
    mistake: Mistake,
    source: Arc<Source>,
}

impl Diagnostic {
    /// A span that begins or ends within a character is widened to whole ones.
    pub(crate) fn new(mistake: Mistake, source: Arc<Source>) -> Self {
        let start = source.text.floor_char_boundary(mistake.span.start);
        let end = source.text.ceil_char_boundary(mistake.span.end).max(start);
        Self { mistake: Mistake { span: start..end, ..mistake }, source }
    }

    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub fn code(&self) -> &'static str {
        self.mistake.code
    }

    /// Whether the file can be run all the same.
    pub fn severity(&self) -> Severity {
        self.mistake.severity
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.mistake.message
    }

    /// What to write instead.
    pub fn help(&self) -> Option<&str> {
        self.mistake.help.as_deref()
    }

    /// The file's name, as it is shown.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Where, in bytes of the file.
    pub fn span(&self) -> Range<usize> {
        self.mistake.span.clone()
    }

    /// The line and the column in characters of where it begins, each from 1.
    pub fn place(&self) -> (usize, usize) {
        self.source.place(self.mistake.span.start)
    }

    /// A report without colour that stays narrow: a line that says what and where, the source line with a caret, the help.
    pub fn to_plain(&self) -> String {
        let (line, column) = self.place();
        let word = match self.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut report = format!("{word}[{}] {}:{line}:{column}: {}\n", self.code(), self.file(), self.message());
        let window = self.source.window(&self.mistake.span, PLAIN_WIDTH_MAX);
        if !self.source.text.is_empty() {
            let shown = |range: Range<usize>| self.source.text[range].replace('\t', " ");
            let end = self.mistake.span.end.clamp(self.mistake.span.start, window.end);
            let before = shown(window.start..self.mistake.span.start);
            let marked = shown(self.mistake.span.start..end);
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            let carets = "^".repeat(marked.trim_end().width().max(1));
            report.extend([" ", &number, " | ", shown(window).trim_end(), "\n"]);
            report.extend([" ", &gutter, " | ", &" ".repeat(before.width()), &carets, "\n"]);
        }
        if let Some(help) = self.help() {
            report.extend(["   help: ", help, "\n"]);
        }
        report
    }

    /// A report with the lines around, as wide as the terminal.
    pub fn to_graphical(&self, width: usize, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .with_links(false)
            .with_primary_span_start()
            .without_syntax_highlighting();
        let mut report = String::new();
        match handler.render_report(&mut report, self) {
            Ok(()) => report,
            Err(fmt::Error) => self.to_plain(),
        }
    }
}

/// The most columns of a source line that a plain report shows.
const PLAIN_WIDTH_MAX: usize = 100;

/// The most columns of a source line that a graphical report shows.
const GRAPHICAL_WIDTH_MAX: usize = 200;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.mistake.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.mistake.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.mistake.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.source.text.is_empty()).then_some(&*self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        // What is wrong may be a text of many lines: its first line is enough to find it.
        let line_end = self.source.window(&self.mistake.span, GRAPHICAL_WIDTH_MAX).end;
        let length = self.mistake.span.end.min(line_end).saturating_sub(self.mistake.span.start);
        let place = SourceSpan::new(self.mistake.span.start.into(), length);
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, place))))
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (line, column) = self.place();
        let (end_line, end_column) = self.source.place(self.mistake.span.end);
        let source_line = &self.source.text[self.source.window(&self.mistake.span, GRAPHICAL_WIDTH_MAX)];
        let mut object = serializer.serialize_struct("Diagnostic", 10)?;
        object.serialize_field("code", self.mistake.code)?;
        object.serialize_field("severity", &self.mistake.severity)?;
        object.serialize_field("message", self.message())?;
        object.serialize_field("help", &self.help())?;
        object.serialize_field("file", self.file())?;
        object.serialize_field("line", &line)?;
        object.serialize_field("column", &column)?;
        object.serialize_field("end_line", &end_line)?;
        object.serialize_field("end_column", &end_column)?;
        object.serialize_field("source_line", source_line.trim_end())?;
        object.end()
    }
}

/// All findings in a file, in the order of their places. There is at least one error among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    findings: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(findings: Vec<Diagnostic>) -> Self {
        Self { findings }
    }

    /// What was found in a text that is no workflow, such as a file of tests.
    pub fn of_text(name: &str, text: &str, mistakes: Vec<Mistake>) -> Self {
        let source = Arc::new(Source::new(name.to_owned(), text, &[]));
        Self::new(mistakes.into_iter().map(|mistake| Diagnostic::new(mistake, Arc::clone(&source))).collect())
    }

    /// Every finding.
    pub fn all(&self) -> &[Diagnostic] {
        &self.findings
    }

    /// What keeps the file from being run.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.iter().filter(|finding| finding.severity() == Severity::Error)
    }

    /// What the author should look at besides.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.iter().filter(|finding| finding.severity() == Severity::Warning)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| f.write_str(&finding.to_plain()))
    }
}

impl std::error::Error for Diagnostics {}

/// A file's text as it is shown, and where its lines begin.
#[derive(PartialEq, Eq)]
pub(crate) struct Source {
    name: String,
    text: String,
    lines: Vec<usize>,
}

impl Source {
    /// `hidden` are parts that must not be shown, in order, such as keys that stand in the text by mistake.
    pub(crate) fn new(name: String, text: &str, hidden: &[Range<usize>]) -> Self {
        let mut shown = String::with_capacity(text.len());
        let mut from = 0;
        for part in hidden {
            shown.push_str(&text[from..part.start]);
            // Places stay what they are: a star for each byte, and the lines are kept.
            shown.extend(text[part.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }));
            from = part.end;
        }
        shown.push_str(&text[from..]);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text: shown, lines }
    }

    /// The position of the line that a byte stands in.
    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Where a line begins and where it ends, without its line end.
    fn line(&self, line: usize) -> Range<usize> {
        let start = self.lines[line];
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        start..end
    }

    /// Line and column in characters, from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.line_of(at);
        (line + 1, self.text[self.lines[line]..at].chars().count() + 1)
    }

    /// The part of the span's first line that is shown: all of it where it is short.
    fn window(&self, span: &Range<usize>, width: usize) -> Range<usize> {
        let line = self.line(self.line_of(span.start));
        if line.len() <= width {
            return line;
        }
        let start = span.start.saturating_sub(width / 2).max(line.start);
        let end = (start + width).min(line.end).max(span.start);
        self.text.ceil_char_boundary(start)..self.text.floor_char_boundary(end)
    }
}

impl fmt::Debug for Source {
    /// The text would bury what it is printed with: there is one for each finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let at = span.offset();
        if at > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let line = self.line_of(at);
        let first = line.saturating_sub(context_lines_before);
        let last = (line + context_lines_after).min(self.lines.len() - 1);
        let around = self.line(first).start..self.line(last).end;
        // Long lines would fill the screen: then a part of the line itself is shown and nothing around it.
        let is_short = (first..=last).all(|line| self.line(line).len() <= GRAPHICAL_WIDTH_MAX);
        let (shown, first) =
            if is_short { (around, first) } else { (self.window(&(at..at + span.len()), GRAPHICAL_WIDTH_MAX), line) };
        // Without lines around, it is the place of the span itself that is asked for.
        let names_place = context_lines_before == 0 && context_lines_after == 0;
        let column_of = if names_place { at } else { shown.start };
        let column = self.text[self.lines[first]..column_of].chars().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            self.text[shown.clone()].as_bytes(),
            (shown.start, shown.len()).into(),
            first,
            column,
            last - first + 1,
        )))
    }
}
