//! Regular expressions that clients and owners write. `\d`, `\s`, `\w` and `\b` mean ASCII, everything else means
//! whole characters.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassAscii, ClassAsciiKind, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet,
    ClassSetItem, ClassUnicode, Flag, Flags, FlagsItem, FlagsItemKind, Group, GroupKind,
};

/// The largest table, in bytes, that the engine builds while it searches. Beyond it, the engine works without one.
const MAX_TABLE: usize = 256 * 1024;

/// What is wrong with a pattern, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// Compiles a pattern. `max_bytes` limits its memory, and with it the time for each byte of a text.
pub(crate) fn compile(pattern: &str, max_bytes: usize) -> Result<Regex, PatternError> {
    let mut tree = Parser::new().parse(pattern).map_err(|error| syntax_error(&error))?;
    use_ascii(&mut tree)?;
    RegexBuilder::new(&tree.to_string()).size_limit(max_bytes).dfa_size_limit(MAX_TABLE).build().map_err(
        |error| {
            // The lines before the last show the pattern, with a mark below it.
            let text = error.to_string();
            PatternError(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        },
    )
}

fn syntax_error(error: &ast::Error) -> PatternError {
    PatternError(format!("{} (character {})", error.kind(), error.span().start.column))
}

/// Replaces what would cover all of Unicode by its ASCII form, which needs no tables and is faster.
fn use_ascii(tree: &mut Ast) -> Result<(), PatternError> {
    match tree {
        Ast::ClassUnicode(class) => return Err(unicode_class(class)),
        Ast::ClassPerl(class) => {
            let kind = ClassSet::Item(ClassSetItem::Ascii(ascii(class)));
            *tree = Ast::class_bracketed(ClassBracketed { span: class.span, negated: false, kind });
        }
        Ast::ClassBracketed(class) => use_ascii_in(&mut class.kind)?,
        Ast::Assertion(assertion) if is_of_words(&assertion.kind) => {
            let span = assertion.span;
            let items = [FlagsItemKind::Negation, FlagsItemKind::Flag(Flag::Unicode)]
                .map(|kind| FlagsItem { span, kind });
            let kind = GroupKind::NonCapturing(Flags { span, items: items.into() });
            *tree = Ast::group(Group { span, kind, ast: Box::new(Ast::Assertion(assertion.clone())) });
        }
        Ast::Repetition(repetition) => use_ascii(&mut repetition.ast)?,
        Ast::Group(group) => use_ascii(&mut group.ast)?,
        Ast::Alternation(parts) => parts.asts.iter_mut().try_for_each(use_ascii)?,
        Ast::Concat(parts) => parts.asts.iter_mut().try_for_each(use_ascii)?,
        Ast::Empty(_) | Ast::Flags(_) | Ast::Literal(_) | Ast::Dot(_) | Ast::Assertion(_) => {}
    }
    Ok(())
}

fn use_ascii_in(set: &mut ClassSet) -> Result<(), PatternError> {
    match set {
        ClassSet::Item(item) => use_ascii_of(item),
        ClassSet::BinaryOp(operation) => {
            use_ascii_in(&mut operation.lhs)?;
            use_ascii_in(&mut operation.rhs)
        }
    }
}

fn use_ascii_of(item: &mut ClassSetItem) -> Result<(), PatternError> {
    match item {
        ClassSetItem::Unicode(class) => return Err(unicode_class(class)),
        ClassSetItem::Perl(class) => *item = ClassSetItem::Ascii(ascii(class)),
        ClassSetItem::Bracketed(class) => use_ascii_in(&mut class.kind)?,
        ClassSetItem::Union(union) => union.items.iter_mut().try_for_each(use_ascii_of)?,
        ClassSetItem::Empty(_)
        | ClassSetItem::Literal(_)
        | ClassSetItem::Range(_)
        | ClassSetItem::Ascii(_) => {}
    }
    Ok(())
}

fn unicode_class(class: &ClassUnicode) -> PatternError {
    PatternError(format!("Unicode classes are not supported (character {})", class.span.start.column))
}

fn ascii(class: &ClassPerl) -> ClassAscii {
    let kind = match class.kind {
        ClassPerlKind::Digit => ClassAsciiKind::Digit,
        ClassPerlKind::Space => ClassAsciiKind::Space,
        ClassPerlKind::Word => ClassAsciiKind::Word,
    };
    ClassAscii { span: class.span, kind, negated: class.negated }
}

fn is_of_words(kind: &AssertionKind) -> bool {
    use AssertionKind::{EndLine, EndText, StartLine, StartText};
    !matches!(kind, StartLine | EndLine | StartText | EndText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern, 1 << 20).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn classes_and_words_are_of_ascii() {
        for (pattern, yes, no) in [
            (r"^\w+$", "a_0", "ä"),
            (r"^\W$", "ä", "a"),
            (r"^\d$", "7", "٣"),
            (r"^\s$", "\t", "\u{a0}"),
            (r"^[\wä]+$", "aä", "ö"),
            (r"^[^\d\s]$", "ä", "1"),
            (r"^[\w&&[^a]]$", "b", "a"),
            (r"\bfail", "äfail", "xfail"),
            (r"a\B.", "ab", "a b"),
            (r"^(\S+ ){2}x", "ä b x", "ä x"),
            (r"(?x) \d \  # a comment", "7 ", "7"),
        ] {
            assert!(matches(pattern, yes), "{pattern} on {yes}");
            assert!(!matches(pattern, no), "{pattern} on {no}");
        }
    }

    #[test]
    fn everything_else_means_whole_characters() {
        for (pattern, yes, no) in [
            ("^.$", "ä", "aa"),
            ("a.b", "aäb", "ab"),
            ("^[^x]{2}$", "ä€", "x€"),
            ("^[ä-ö]$", "å", "a"),
            ("(?i)^FÜR", "für", "fur"),
        ] {
            assert!(matches(pattern, yes), "{pattern} on {yes}");
            assert!(!matches(pattern, no), "{pattern} on {no}");
        }
    }

    #[test]
    fn what_is_wrong_is_one_line() {
        for (pattern, error) in [
            ("a(b", "unclosed group (character 2)"),
            ("[z-a]", "invalid character class range, the start must be <= the end (character 2)"),
            ("a{4000}{4000}", "Compiled regex exceeds size limit of 1048576 bytes."),
            (r"a\pL", "Unicode classes are not supported (character 2)"),
            (r"[\PL]", "Unicode classes are not supported (character 2)"),
        ] {
            assert_eq!(compile(pattern, 1 << 20).unwrap_err().to_string(), error, "{pattern}");
        }
    }
}
