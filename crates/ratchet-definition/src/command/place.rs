//! Where each value of a script stands, found in the shell parser's tree.

use brush_parser::{
    ParserOptions,
    ast::{
        AndOr, Assignment, AssignmentName, AssignmentValue, BinaryPredicate, Command, CommandPrefixOrSuffixItem,
        CompoundCommand, CompoundList, ExtendedTestExpr, IoFileRedirectTarget, IoHereDocument, IoRedirect, Pipeline,
        Program, SimpleCommand, UnaryPredicate, Word,
    },
};

use super::{
    commands::{self, Argument, Taken},
    marks::{Marked, marks_in},
    reader,
    refusal::Refusal,
    variables,
    verdict::{Stance, Verdict, settled},
};

/// What a place does with the values in it.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Takes them as data; a list may be several words.
    Data,
    /// Takes each as one word.
    OneWord,
    /// Puts one word into a variable.
    Assigned,
    /// Puts words into a variable, one after the other.
    AssignedEach,
    /// Opens the file of this name.
    Target,
    /// Takes none.
    Refused(Refusal),
}

/// Walks a script and notes where its values stand.
pub(super) struct Finder<'script> {
    pub(super) marked: &'script Marked,
    pub(super) options: &'script ParserOptions,
    pub(super) verdicts: Vec<Option<Verdict>>,
    /// Values that go into variables.
    pub(super) assigned: Vec<usize>,
    /// What could make a variable calculate what is put into it.
    attributes: Option<Refusal>,
    pub(super) depth: u32,
}

impl<'script> Finder<'script> {
    /// Where each of so many values stands, in their order.
    pub(super) fn find(
        tree: &Program,
        marked: &'script Marked,
        count: usize,
        options: &'script ParserOptions,
    ) -> Vec<Verdict> {
        let mut finder =
            Self { marked, options, verdicts: vec![None; count], assigned: Vec::new(), attributes: None, depth: 0 };
        finder.program(tree);
        if let Some(refusal) = finder.attributes.take() {
            for number in std::mem::take(&mut finder.assigned) {
                finder.note(number, Verdict::Refused(refusal.clone()));
            }
        }
        let verdicts = finder.verdicts.into_iter().enumerate();
        verdicts.map(|(number, verdict)| settled(marked, number, verdict)).collect()
    }

    pub(super) fn program(&mut self, program: &Program) {
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
                let place = match variables::refused(&each.variable_name) {
                    None => Place::AssignedEach,
                    Some(refusal) => Place::Refused(refusal),
                };
                for word in each.values.iter().flatten() {
                    self.word(word, &place);
                }
                self.list(&each.body.list);
            }
            CompoundCommand::CaseClause(case) => {
                self.word(&case.value, &Place::OneWord);
                for item in &case.cases {
                    for pattern in &item.patterns {
                        self.word(pattern, &Place::OneWord);
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
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => self.assignment(assignment, word),
                CommandPrefixOrSuffixItem::Word(word) => self.word(word, &Place::Refused(Refusal::Unseen)),
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
                    self.word(word, &Place::Refused(Refusal::Array));
                }
                CommandPrefixOrSuffixItem::Word(word) | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => {
                    words.push(word);
                }
                CommandPrefixOrSuffixItem::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
            }
        }
        let arguments: Vec<Argument> = words.iter().map(|word| self.argument(word)).collect();
        if self.attributes.is_none() {
            self.attributes = variables::attributes(&arguments);
        }
        for (word, taken) in words.into_iter().zip(commands::taken(&arguments)) {
            let place = match taken {
                Taken::Data => Place::Data,
                Taken::OneWord => Place::OneWord,
                Taken::Assigned => Place::Assigned,
                Taken::Not(refusal) => Place::Refused(refusal),
            };
            self.word(word, &place);
        }
    }

    /// `NAME=value` before a command or alone.
    fn assignment(&mut self, assignment: &Assignment, word: &Word) {
        let place = match (&assignment.name, &assignment.value) {
            (AssignmentName::VariableName(name), AssignmentValue::Scalar(_)) => match variables::refused(name) {
                None => Place::Assigned,
                Some(refusal) => Place::Refused(refusal),
            },
            _ => Place::Refused(Refusal::Array),
        };
        self.word(word, &place);
    }

    fn redirect(&mut self, redirect: &IoRedirect) {
        match redirect {
            IoRedirect::File(_, _, target) => match target {
                IoFileRedirectTarget::Filename(word) => self.word(word, &Place::Target),
                IoFileRedirectTarget::Duplicate(word) => self.word(word, &Place::Refused(Refusal::Descriptor)),
                IoFileRedirectTarget::Fd(_) => {}
                IoFileRedirectTarget::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
            },
            IoRedirect::HereDocument(_, document) => self.here_document(document),
            IoRedirect::HereString(_, word) => self.word(word, &Place::Refused(Refusal::HereString)),
            IoRedirect::OutputAndError(word, _) => self.word(word, &Place::Target),
        }
    }

    fn here_document(&mut self, document: &IoHereDocument) {
        self.refuse(&document.here_end.value, &Refusal::Unseen);
        let body = &document.doc.value;
        if marks_in(body).next().is_none() {
            return;
        }
        match reader::here_document(body, self.options) {
            Some(pieces) if document.requires_expansion => {
                for piece in &pieces {
                    let source = body.get(piece.start_index..piece.end_index).unwrap_or(body);
                    self.unquoted_piece(&piece.piece, source, &Place::OneWord, Stance::Quoted);
                }
            }
            Some(_) => self.refuse(body, &Refusal::QuotedHereDocument),
            None => self.refuse(body, &Refusal::Unseen),
        }
    }

    fn extended_test(&mut self, test: &ExtendedTestExpr) {
        match test {
            ExtendedTestExpr::And(left, right) | ExtendedTestExpr::Or(left, right) => {
                self.extended_test(left);
                self.extended_test(right);
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.extended_test(inner),
            ExtendedTestExpr::UnaryTest(test, word) => {
                let place = match test {
                    UnaryPredicate::ShellVariableIsSetAndAssigned
                    | UnaryPredicate::ShellVariableIsSetAndNameRef
                    | UnaryPredicate::ShellOptionEnabled
                    | UnaryPredicate::FdIsOpenTerminal => Place::Refused(Refusal::Test),
                    _ => Place::OneWord,
                };
                self.word(word, &place);
            }
            ExtendedTestExpr::BinaryTest(test, left, right) => {
                let place = match test {
                    BinaryPredicate::ArithmeticEqualTo
                    | BinaryPredicate::ArithmeticNotEqualTo
                    | BinaryPredicate::ArithmeticLessThan
                    | BinaryPredicate::ArithmeticLessThanOrEqualTo
                    | BinaryPredicate::ArithmeticGreaterThan
                    | BinaryPredicate::ArithmeticGreaterThanOrEqualTo => Place::Refused(Refusal::Test),
                    _ => Place::OneWord,
                };
                self.word(left, &place);
                self.word(right, &place);
            }
        }
    }
}
