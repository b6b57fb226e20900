//! The parser's events become a tree.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use saphyr_parser::{Event, Input, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Content, Entry, Key, Kind, Node, Scalar, Style, allowance::Allowance, offsets::Offsets, scalar::resolve};
use crate::mistake::Mistake;

/// How much a text may hold. What is beyond ends in a mistake before it takes memory or time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the text.
    pub bytes: usize,
    /// Of lists and maps in each other.
    pub depth: usize,
    /// Of the tree, with all that aliases stand for.
    pub values: usize,
    /// Of one scalar, or one list or map in brackets, in characters: the parser reads it whole before it tells of it.
    pub piece: usize,
    /// Of the scalars that aliases stand for, together.
    pub alias_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 10 * 1024 * 1024, depth: 100, values: 500_000, piece: 1 << 20, alias_bytes: 10 * 1024 * 1024 }
    }
}

/// Reads a text. The tree is there as far as it makes sense without what is wrong: with a duplicate key, say, its first value.
pub fn parse(text: &str, limits: Limits) -> (Option<Node>, Vec<Mistake>) {
    if text.len() > limits.bytes {
        let message = format!("the file is {} bytes long, and {} is the most", text.len(), limits.bytes);
        let help = "move what is large into a file of its own that a step reads";
        return (None, vec![Mistake::error("RT-0002", message, 0..0).with_help(help)]);
    }
    let mut composer = Composer::new(text, limits);
    let stopped = composer.run().err();
    let (root, mut mistakes) = (composer.root.take(), composer.mistakes);
    match stopped {
        Some(mistake) => {
            mistakes.push(mistake);
            (None, mistakes)
        }
        None if root.is_none() && mistakes.is_empty() => {
            let help = "a workflow has at least `name`, `version` and `steps`";
            (None, vec![Mistake::error("RT-0008", "the file is empty", 0..0).with_help(help)])
        }
        None => (root, mistakes),
    }
}

struct Composer<'text> {
    text: &'text str,
    offsets: Offsets,
    limits: Limits,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    values: usize,
    alias_bytes: usize,
    documents: usize,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
}

/// A list or map whose end has not come yet.
struct Open {
    anchor: usize,
    start: usize,
    values_before: usize,
    items: Vec<Node>,
    /// Of a map: its entries and the key that waits for its value.
    map: Option<(Vec<Entry>, Option<PendingKey>)>,
}

enum PendingKey {
    Good(Key),
    /// No scalar; reported already, so its value is left out.
    Bad,
}

struct Anchored {
    node: Node,
    values: usize,
    bytes: usize,
}

impl<'text> Composer<'text> {
    fn new(text: &'text str, limits: Limits) -> Self {
        Self {
            text,
            offsets: Offsets::new(text),
            limits,
            open: Vec::new(),
            anchors: HashMap::new(),
            values: 0,
            alias_bytes: 0,
            documents: 0,
            root: None,
            mistakes: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Mistake> {
        let allowance = Allowance::default();
        // No part of a text is longer than the whole: only a long one has to be metered, which takes several times as long.
        if self.text.len() <= self.limits.piece {
            self.compose(Parser::new_from_str(self.text), &allowance)
        } else {
            self.compose(Parser::new_from_iter(allowance.meter(self.text, self.limits.piece)), &allowance)
        }
    }

    fn compose<I: Input>(&mut self, mut parser: Parser<'text, I>, allowance: &Allowance) -> Result<(), Mistake> {
        while let Some(event) = parser.next_event() {
            if allowance.is_spent() {
                return Err(self.too_long(allowance));
            }
            let (event, span) = event.map_err(|error| self.refused(&error))?;
            self.take(event, span)?;
            allowance.renew(self.limits.piece);
        }
        Ok(())
    }

    fn too_long(&self, allowance: &Allowance) -> Mistake {
        let megabytes = self.limits.piece >> 20;
        let message = format!("one text, or one list or map in brackets, is longer than {megabytes} MB");
        let at = self.offsets.byte(self.text, allowance.begun_at());
        Mistake::error("RT-0004", message, self.character_at(at))
            .with_help("move it into a file of its own that a step reads")
    }

    /// What the parser refused, with a help for what people do most.
    fn refused(&self, error: &ScanError) -> Mistake {
        let at = self.character_at(self.offsets.byte(self.text, error.marker().index()));
        if error.info().contains("recursion limit") {
            return self.too_deep(at);
        }
        let help = [
            ("mapping values are not allowed", "put quotes around text that has `: ` in it, and check the indentation"),
            ("found a tab", "indent with blanks: YAML takes no tabs"),
            ("unexpected end of stream", "a quote is opened and never closed"),
            ("expected ',' or ", "a `[` or `{` is opened and never closed"),
            (
                "unknown anchor",
                "an alias `*name` needs `&name` before a value above it; text that begins with `*` needs quotes",
            ),
            ("cannot start any token", "put quotes around text that begins with `@`, a backtick or `%`"),
        ];
        let help = help.iter().find(|(part, _)| error.info().contains(part)).map(|(_, help)| *help);
        let mistake = Mistake::error("RT-0001", format!("this is not YAML: {}", error.info()), at);
        let help = help.unwrap_or("check the indentation and the quotes of this line and of the one above");
        // The parser cannot go on after this: what else is wrong is found only then.
        mistake.with_help(format!("{help}; nothing below this place was looked at"))
    }

    fn too_deep(&self, at: Range<usize>) -> Mistake {
        let message = format!("lists and maps are nested more than {} deep here", self.limits.depth);
        Mistake::error("RT-0003", message, at).with_help("write the data as text, or move it into a file of its own")
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        let line = span.start.line();
        let span = self.offsets.byte(self.text, span.start.index())..self.offsets.byte(self.text, span.end.index());
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "the file holds more than one YAML document";
                    return Err(Mistake::error("RT-0006", message, span)
                        .with_help("write one workflow a file; remove the `---` that begins the second"));
                }
            }
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    let message = "this alias stands inside what it names";
                    return Err(Mistake::error("RT-0007", message, span).with_help("write the value out"));
                };
                let (values, bytes, node) = (anchored.values, anchored.bytes, anchored.node.clone());
                self.charge(values, bytes, &span)?;
                self.add(node, span, line)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(&span)?;
                let style = style_of(style);
                let kind = match tag {
                    None => resolve(&text, style),
                    Some(tag) => self.tagged(&text, style, &tag, &span)?,
                };
                let node = Node {
                    span: span.clone(),
                    content: Content::Scalar(Scalar { text: text.into_owned(), style, kind }),
                };
                self.keep(anchor, &node, 1, &span)?;
                self.add(node, span, line)?;
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), &span, None)?,
            Event::MappingStart(anchor, tag) => self.begin(anchor, tag.as_deref(), &span, Some((Vec::new(), None)))?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.finish(open, span.end, line)?;
                }
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        span: &Range<usize>,
        map: Option<(Vec<Entry>, Option<PendingKey>)>,
    ) -> Result<(), Mistake> {
        self.count(span)?;
        if self.open.len() >= self.limits.depth {
            return Err(self.too_deep(self.character_at(span.start)));
        }
        if let Some(tag) = tag {
            let expected = if map.is_some() { "map" } else { "seq" };
            if !(tag.is_yaml_core_schema() && tag.suffix == expected) {
                self.refuse_tag(tag, self.character_at(span.start))?;
            }
        }
        let (start, values_before) = (span.start, self.values);
        self.open.push(Open { anchor, start, values_before, items: Vec::new(), map });
        Ok(())
    }

    fn finish(&mut self, open: Open, end: usize, line: usize) -> Result<(), Mistake> {
        let content = match open.map {
            None => Content::List(open.items),
            // What was meant is a template; as text it is checked as one, and only the missing quotes are reported.
            Some(_) if self.text[open.start..].starts_with("{{") => {
                let text = self.text[open.start..end.max(open.start)].to_owned();
                Content::Scalar(Scalar { text, style: Style::Plain, kind: Kind::Text })
            }
            Some((entries, _)) => {
                let entries = self.without_duplicates(entries)?;
                Content::Map(self.merged(entries)?)
            }
        };
        let node = Node { span: open.start..end.max(open.start), content };
        let values = self.values - open.values_before + 1;
        let span = node.span.clone();
        self.keep(open.anchor, &node, values, &span)?;
        self.add(node, span, line)
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, node: Node, span: Range<usize>, line: usize) -> Result<(), Mistake> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let Some((entries, pending)) = &mut open.map else {
            open.items.push(node);
            return Ok(());
        };
        match pending.take() {
            Some(PendingKey::Good(key)) => entries.push(Entry { key, value: node }),
            Some(PendingKey::Bad) => {}
            None => match node.content {
                Content::Scalar(scalar) => {
                    *pending = Some(PendingKey::Good(Key { text: scalar.text, span, line }));
                }
                Content::List(_) | Content::Map(_) => {
                    *pending = Some(PendingKey::Bad);
                    let place = self.character_at(span.start);
                    let mistake = if self.text[..span.start].ends_with('{') && self.text[span.start..].starts_with('{')
                    {
                        let message = "text that begins with `{{` needs quotes: to YAML it is a map";
                        let place = span.start - 1..span.start + 1;
                        Mistake::error("RT-0007", message, place).with_help("put all of it in quotes: \"{{ … }}\"")
                    } else {
                        let message = "a list or map cannot be a name in a map";
                        let help = "put quotes around text that begins with `{` or `[`";
                        Mistake::error("RT-0007", message, place).with_help(help)
                    };
                    self.mistake(mistake)?;
                }
            },
        }
        Ok(())
    }

    /// Keeps what an anchor names for its aliases. The copy counts as an alias would.
    fn keep(&mut self, anchor: usize, node: &Node, values: usize, span: &Range<usize>) -> Result<(), Mistake> {
        if anchor == 0 {
            return Ok(());
        }
        let bytes = scalar_bytes(node);
        self.charge(values, bytes, span)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), values, bytes });
        Ok(())
    }

    fn charge(&mut self, values: usize, bytes: usize, span: &Range<usize>) -> Result<(), Mistake> {
        self.values += values;
        self.alias_bytes += bytes;
        if self.alias_bytes > self.limits.alias_bytes || self.values > self.limits.values {
            let message = "the aliases of the file stand for too much";
            return Err(Mistake::error("RT-0004", message, span.clone())
                .with_help("aliases of aliases multiply: write out what is needed"));
        }
        Ok(())
    }

    fn count(&mut self, span: &Range<usize>) -> Result<(), Mistake> {
        self.values += 1;
        if self.values > self.limits.values {
            let message = format!("the file holds more than {} values", self.limits.values);
            return Err(Mistake::error("RT-0004", message, self.character_at(span.start))
                .with_help("move data into a file of its own that a step reads"));
        }
        Ok(())
    }

    fn mistake(&mut self, mistake: Mistake) -> Result<(), Mistake> {
        // A file with so many mistakes is no workflow that somebody is writing.
        if self.mistakes.len() >= MISTAKES_MAX {
            return Err(mistake);
        }
        self.mistakes.push(mistake);
        Ok(())
    }

    /// Reports names that stand twice and leaves out all but the first.
    fn without_duplicates(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, Mistake> {
        if has_each_once(&entries) {
            return Ok(entries);
        }
        let mut first: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            match first.get(&entry.key.text) {
                None => {
                    first.insert(entry.key.text.clone(), entry.key.line);
                    kept.push(entry);
                }
                Some(line) => {
                    let message = format!("the name `{}` stands twice in one map", shortened(&entry.key.text));
                    let help = format!("it stands in line {line} already: remove one of the two");
                    self.mistake(Mistake::error("RT-0005", message, entry.key.span).with_help(help))?;
                }
            }
        }
        Ok(kept)
    }

    /// Fills in what `<<` names: a map, or a list of maps of which earlier ones win. A map's own names win over both.
    fn merged(&mut self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, Mistake> {
        let Some(position) = entries.iter().position(|entry| entry.key.text == "<<") else {
            return Ok(entries);
        };
        let merge = entries.remove(position);
        let sources = match merge.value.content {
            Content::List(items) => items,
            Content::Map(_) | Content::Scalar(_) => vec![merge.value],
        };
        let mut names: HashSet<String> = entries.iter().map(|entry| entry.key.text.clone()).collect();
        for source in sources {
            let Content::Map(more) = source.content else {
                let help = "write `<<: *name`, where `&name` stands before a map";
                let mistake = Mistake::error("RT-0007", "only a map can be merged with `<<`", merge.key.span.clone());
                self.mistake(mistake.with_help(help))?;
                continue;
            };
            entries.extend(more.into_iter().filter(|entry| names.insert(entry.key.text.clone())));
        }
        Ok(entries)
    }

    fn tagged(&mut self, text: &str, style: Style, tag: &Tag, span: &Range<usize>) -> Result<Kind, Mistake> {
        let resolved = resolve(text, Style::Plain);
        if tag.handle.is_empty() && tag.suffix == "!" {
            return Ok(Kind::Text);
        }
        let kind = match (tag.is_yaml_core_schema(), tag.suffix.as_str(), resolved) {
            (true, "str", _) => Some(Kind::Text),
            (true, "int", Kind::Integer(_)) | (true, "bool", Kind::Boolean(_)) | (true, "null", Kind::Null) => {
                Some(resolved)
            }
            #[expect(clippy::cast_precision_loss, reason = "the author asked for a float")]
            (true, "float", Kind::Integer(value)) => Some(Kind::Float(value as f64)),
            (true, "float", Kind::Float(_)) => Some(resolved),
            _ => None,
        };
        if kind.is_none() {
            self.refuse_tag(tag, span.clone())?;
        }
        Ok(kind.unwrap_or_else(|| resolve(text, style)))
    }

    fn refuse_tag(&mut self, tag: &Tag, span: Range<usize>) -> Result<(), Mistake> {
        let name = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let message = format!("the tag `{}` does not fit this value", shortened(&name));
        let help = "leave it out; a workflow needs no tags, and text that begins with `!` needs quotes";
        self.mistake(Mistake::error("RT-0007", message, span).with_help(help))
    }

    /// The place of one character, or of the end of the text.
    fn character_at(&self, at: usize) -> Range<usize> {
        let length = self.text[at..].chars().next().map_or(0, char::len_utf8);
        at..at + length
    }
}

/// So few names are compared with each other sooner than they are put into a table.
const FEW_NAMES: usize = 12;

fn has_each_once(entries: &[Entry]) -> bool {
    let names = || entries.iter().map(|entry| entry.key.text.as_str());
    if entries.len() <= FEW_NAMES {
        return names().enumerate().all(|(position, name)| names().take(position).all(|other| other != name));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    names().all(|name| seen.insert(name))
}

/// More mistakes in the YAML than this end the reading.
const MISTAKES_MAX: usize = 1000;

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

fn scalar_bytes(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(scalar) => scalar.text.len(),
        Content::List(items) => items.iter().map(scalar_bytes).sum(),
        Content::Map(entries) => entries.iter().map(|entry| entry.key.text.len() + scalar_bytes(&entry.value)).sum(),
    }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}
