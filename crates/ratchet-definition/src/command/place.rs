//! Where each value of a script stands, found in the shell parser's tree.

use brush_parser::{
    Parser, ParserOptions,
    ast::{
        AndOr, AssignmentValue, Command, CommandPrefixOrSuffixItem, CompoundCommand, CompoundList, ExtendedTestExpr,
        IoFileRedirectTarget, IoRedirect, Pipeline, Program, SimpleCommand, Word,
    },
    word::{WordPiece, WordPieceWithSource, parse as parse_word},
};

use super::{
    commands::{self, Argument, Taken},
    marks::{Marked, marks_in, split},
    refusal::Refusal,
};

/// Command substitutions in command substitutions.
const DEPTH_MAX: u32 = 20;

/// How a value stands in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As a whole word.
    Whole,
    /// As part of a word, outside quotes.
    Part,
    /// Inside double quotes.
    Quoted,
    /// In a comment.
    Comment,
    /// Where it cannot.
    Refused(Refusal),
}

/// What a place does with the values in it.
#[derive(Debug, Clone)]
enum Place {
    Data,
    OneWord,
    Refused(Refusal),
}

/// Walks a script and notes where its values stand.
pub(super) struct Finder<'script> {
    marked: &'script Marked,
    options: &'script ParserOptions,
    verdicts: Vec<Option<Verdict>>,
    depth: u32,
}

impl<'script> Finder<'script> {
    /// Where each value stands, in the order of the values.
    pub(super) fn find(tree: &Program, marked: &'script Marked, options: &'script ParserOptions) -> Vec<Verdict> {
        let mut finder = Self { marked, options, verdicts: vec![None; marked.placeholders.len()], depth: 0 };
        finder.program(tree);
        let Self { verdicts, .. } = finder;
        let verdicts = verdicts.into_iter().enumerate();
        verdicts.map(|(number, verdict)| settled(marked, number, verdict)).collect()
    }

    fn program(&mut self, program: &Program) {
        for list in &program.complete_commands {
            self.list(list);
        }
    }

    fn list(&mut self, list: &CompoundList) {
        for item in &list.0 {
            self.pipeline(&item.0.first);
            for next in &item.0.additional {
                let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
                self.pipeline(pipeline);
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        for command in &pipeline.seq {
            self.command(command);
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(compound, redirects) => {
                self.compound(compound);
                redirects.iter().flat_map(|list| &list.0).for_each(|redirect| self.redirect(redirect));
            }
            Command::Function(function) => {
                self.word(&function.fname, &Place::Refused(Refusal::CommandName));
                self.compound(&function.body.0);
                function.body.1.iter().flat_map(|list| &list.0).for_each(|redirect| self.redirect(redirect));
            }
            Command::ExtendedTest(test, redirects) => {
                self.extended_test(&test.expr);
                redirects.iter().flat_map(|list| &list.0).for_each(|redirect| self.redirect(redirect));
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) {
        match compound {
            CompoundCommand::Arithmetic(arithmetic) => self.refuse(&arithmetic.expr.value, &Refusal::Arithmetic),
            CompoundCommand::ArithmeticForClause(each) => {
                for part in [&each.initializer, &each.condition, &each.updater].into_iter().flatten() {
                    self.refuse(&part.value, &Refusal::Arithmetic);
                }
                self.list(&each.body.list);
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => self.list(&subshell.list),
            CompoundCommand::ForClause(each) => {
                self.refuse(&each.variable_name, &Refusal::CommandName);
                for word in each.values.iter().flatten() {
                    self.word(word, &Place::Refused(Refusal::ForList));
                }
                self.list(&each.body.list);
            }
            CompoundCommand::CaseClause(case) => {
                self.word(&case.value, &Place::Refused(Refusal::Case));
                for item in &case.cases {
                    for pattern in &item.patterns {
                        self.word(pattern, &Place::Refused(Refusal::Case));
                    }
                    item.cmd.iter().for_each(|list| self.list(list));
                }
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition);
                self.list(&clause.then);
                for branch in clause.elses.iter().flatten() {
                    branch.condition.iter().for_each(|list| self.list(list));
                    self.list(&branch.body);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0);
                self.list(&clause.1.list);
            }
            CompoundCommand::Coprocess(coprocess) => {
                if let Some(name) = &coprocess.name {
                    self.word(name, &Place::Refused(Refusal::CommandName));
                }
                self.command(&coprocess.body);
            }
        }
    }

    fn simple(&mut self, command: &SimpleCommand) {
        for item in command.prefix.iter().flat_map(|prefix| &prefix.0) {
            match item {
                CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect),
                CommandPrefixOrSuffixItem::Word(word) | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => {
                    self.word(word, &Place::Refused(Refusal::Assignment));
                }
                CommandPrefixOrSuffixItem::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
            }
        }
        let mut words: Vec<&Word> = command.word_or_name.iter().collect();
        for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
            match item {
                CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect),
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, word)
                    if matches!(assignment.value, AssignmentValue::Array(_)) =>
                {
                    self.word(word, &Place::Refused(Refusal::Assignment));
                }
                CommandPrefixOrSuffixItem::Word(word) | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => {
                    words.push(word);
                }
                CommandPrefixOrSuffixItem::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
            }
        }
        let arguments: Vec<Argument> = words.iter().map(|word| self.argument(word)).collect();
        for (word, taken) in words.into_iter().zip(commands::taken(&arguments)) {
            let place = match taken {
                Taken::Data => Place::Data,
                Taken::OneWord => Place::OneWord,
                Taken::Not(refusal) => Place::Refused(refusal),
            };
            self.word(word, &place);
        }
    }

    fn argument(&self, word: &Word) -> Argument {
        let Ok(pieces) = parse_word(&word.value, self.options) else { return Argument::Dynamic };
        let has_value = pieces.iter().any(|piece| match &piece.piece {
            WordPiece::CommandSubstitution(_) | WordPiece::BackquotedCommandSubstitution(_) => false,
            _ => marks_in(source_of(word, piece)).next().is_some(),
        });
        if has_value {
            return Argument::Value;
        }
        let mut text = String::new();
        if literal_text(&pieces, &mut text) { Argument::Literal(text) } else { Argument::Dynamic }
    }

    fn redirect(&mut self, redirect: &IoRedirect) {
        match redirect {
            IoRedirect::File(_, _, target) => match target {
                IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                    self.word(word, &Place::Refused(Refusal::Redirection));
                }
                IoFileRedirectTarget::Fd(_) => {}
                IoFileRedirectTarget::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
            },
            IoRedirect::HereDocument(_, document) => {
                self.refuse(&document.here_end.value, &Refusal::HereDocument);
                self.refuse(&document.doc.value, &Refusal::HereDocument);
            }
            IoRedirect::HereString(_, word) => self.word(word, &Place::Refused(Refusal::HereDocument)),
            IoRedirect::OutputAndError(word, _) => self.word(word, &Place::Refused(Refusal::Redirection)),
        }
    }

    fn extended_test(&mut self, test: &ExtendedTestExpr) {
        match test {
            ExtendedTestExpr::And(left, right) | ExtendedTestExpr::Or(left, right) => {
                self.extended_test(left);
                self.extended_test(right);
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.extended_test(inner),
            ExtendedTestExpr::UnaryTest(_, word) => self.word(word, &Place::Refused(Refusal::ExtendedTest)),
            ExtendedTestExpr::BinaryTest(_, left, right) => {
                self.word(left, &Place::Refused(Refusal::ExtendedTest));
                self.word(right, &Place::Refused(Refusal::ExtendedTest));
            }
        }
    }

    fn word(&mut self, word: &Word, place: &Place) {
        if marks_in(&word.value).next().is_none() {
            return;
        }
        let Ok(pieces) = parse_word(&word.value, self.options) else {
            self.refuse(&word.value, &Refusal::Unseen);
            return;
        };
        let whole = matches!(split(&word.value)[..], [Ok(_)]);
        for piece in &pieces {
            let source = source_of(word, piece);
            match &piece.piece {
                WordPiece::DoubleQuotedSequence(inner) => self.quoted(word, inner, place),
                WordPiece::Text(_) => match place {
                    Place::Data if whole => self.allow(source, &Verdict::Whole),
                    Place::Data | Place::OneWord => self.allow(source, &Verdict::Part),
                    Place::Refused(refusal) => self.refuse(source, refusal),
                },
                other => self.piece(other, source, place),
            }
        }
    }

    /// The pieces inside double quotes.
    fn quoted(&mut self, word: &Word, pieces: &[WordPieceWithSource], place: &Place) {
        for piece in pieces {
            let source = source_of(word, piece);
            match (&piece.piece, place) {
                (WordPiece::Text(_), Place::Refused(refusal)) => self.refuse(source, refusal),
                (WordPiece::Text(_), _) => self.allow(source, &Verdict::Quoted),
                (other, _) => self.piece(other, source, place),
            }
        }
    }

    /// A piece that is no text. Where its word cannot take a value the reason for that says more.
    fn piece(&mut self, piece: &WordPiece, source: &str, place: &Place) {
        match (piece, place) {
            (WordPiece::CommandSubstitution(script), _) => self.substitution(script, source),
            (_, Place::Refused(refusal)) => self.refuse(source, refusal),
            (WordPiece::SingleQuotedText(_), _) => self.refuse(source, &Refusal::SingleQuotes),
            (WordPiece::AnsiCQuotedText(_) | WordPiece::GettextDoubleQuotedSequence(_), _) => {
                self.refuse(source, &Refusal::DollarQuotes);
            }
            (WordPiece::TildeExpansion(_), _) => self.refuse(source, &Refusal::Tilde),
            (WordPiece::ParameterExpansion(_), _) => self.refuse(source, &Refusal::Parameter),
            (WordPiece::BackquotedCommandSubstitution(_), _) => self.refuse(source, &Refusal::BackQuotes),
            (WordPiece::EscapeSequence(_), _) => self.refuse(source, &Refusal::AfterBackslash),
            (WordPiece::ArithmeticExpression(_), _) => self.refuse(source, &Refusal::Arithmetic),
            (WordPiece::Text(_) | WordPiece::DoubleQuotedSequence(_), _) => self.refuse(source, &Refusal::Unseen),
        }
    }

    fn substitution(&mut self, script: &str, source: &str) {
        if marks_in(source).next().is_none() {
            return;
        }
        let tree = Parser::new(script.as_bytes(), self.options).parse_program();
        match tree {
            Ok(tree) if self.depth < DEPTH_MAX => {
                self.depth += 1;
                self.program(&tree);
                self.depth -= 1;
            }
            _ => self.refuse(source, &Refusal::Unseen),
        }
    }

    fn allow(&mut self, text: &str, verdict: &Verdict) {
        for number in marks_in(text) {
            self.note(number, verdict.clone());
        }
    }

    fn refuse(&mut self, text: &str, refusal: &Refusal) {
        for number in marks_in(text) {
            self.note(number, Verdict::Refused(refusal.clone()));
        }
    }

    /// A refusal stays; a place that is seen twice and not alike is none.
    fn note(&mut self, number: usize, verdict: Verdict) {
        let Some(known) = self.verdicts.get_mut(number) else { return };
        *known = Some(match known.take() {
            None => verdict,
            Some(refused @ Verdict::Refused(_)) => refused,
            Some(same) if same == verdict => same,
            Some(_) => Verdict::Refused(Refusal::Unseen),
        });
        let span = &self.marked.placeholders[number].span;
        let before = &self.marked.source()[..span.start];
        let backslashes = before.len() - before.trim_end_matches('\\').len();
        let dollar = before
            .strip_suffix('$')
            .is_some_and(|rest| (rest.len() - rest.trim_end_matches('\\').len()).is_multiple_of(2));
        if matches!(known, Some(Verdict::Refused(_))) {
            return;
        }
        if !backslashes.is_multiple_of(2) {
            *known = Some(Verdict::Refused(Refusal::AfterBackslash));
        } else if dollar {
            *known = Some(Verdict::Refused(Refusal::AfterDollar));
        }
    }
}

/// The part of a word that a piece was parsed from.
fn source_of<'word>(word: &'word Word, piece: &WordPieceWithSource) -> &'word str {
    word.value.get(piece.start_index..piece.end_index).unwrap_or(&word.value)
}

/// Adds the text of pieces that mean only themselves; false where the shell makes something of one.
pub(super) fn literal_text(pieces: &[WordPieceWithSource], text: &mut String) -> bool {
    pieces.iter().all(|piece| match &piece.piece {
        WordPiece::Text(part) | WordPiece::SingleQuotedText(part) => {
            text.push_str(part);
            true
        }
        WordPiece::EscapeSequence(sequence) => {
            text.push_str(escaped(sequence));
            true
        }
        WordPiece::DoubleQuotedSequence(inner) => literal_text(inner, text),
        _ => false,
    })
}

/// What an escape sequence stands for: the character after the backslash; nothing at the end of a line.
pub(super) fn escaped(sequence: &str) -> &str {
    let character = sequence.strip_prefix('\\').unwrap_or(sequence);
    if character == "\n" { "" } else { character }
}

/// The verdict on a value that the parser may not have seen at all: the tree has no comments.
fn settled(marked: &Marked, number: usize, verdict: Option<Verdict>) -> Verdict {
    verdict.unwrap_or_else(|| {
        let before = &marked.source()[..marked.placeholders[number].span.start];
        let line = before.rsplit('\n').next().unwrap_or_default();
        let begins = |at: usize| {
            line[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')'))
        };
        if line.match_indices('#').any(|(at, _)| begins(at)) {
            Verdict::Comment
        } else {
            Verdict::Refused(Refusal::Unseen)
        }
    })
}
