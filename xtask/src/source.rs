//! Rust source as text without a parser: enough to see which function uses what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A function of a source file.
pub struct Function {
    pub file: PathBuf,
    pub name: String,
    /// What stands before `fn`.
    keywords: String,
    /// From its `{` to its `}`, without what comments, strings and characters hold.
    pub body: String,
}

impl Function {
    /// `pub`, and not `pub(crate)` or less.
    pub fn is_public(&self) -> bool {
        self.keywords.split(' ').any(|word| word == "pub")
    }

    pub fn is_unsafe(&self) -> bool {
        self.keywords.split(' ').any(|word| word == "unsafe")
    }
}

/// The functions of all files below `folder`, tests left out.
pub fn functions(folder: &Path) -> Result<Vec<Function>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(functions(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.extend(functions_of(&path, &read(&path)?));
        }
    }
    Ok(found)
}

/// The code of one file; see [`code`].
pub fn read(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(code(&text))
}

/// Those functions that are `root`, and those that they come to: a word before a `(` is taken
/// for a call of each function of that name, so too many are found rather than too few.
pub fn reached<'f>(
    functions: impl Iterator<Item = &'f Function>,
    root: impl Fn(&Function) -> bool,
) -> Vec<&'f Function> {
    let (mut reached, mut rest): (Vec<_>, Vec<_>) = functions.partition(|f| root(f));
    let mut next = 0;
    while let Some(function) = reached.get(next) {
        let called: BTreeSet<&str> = calls(&function.body).collect();
        let (found, left) = rest
            .into_iter()
            .partition(|function| called.contains(function.name.as_str()));
        reached.extend::<Vec<_>>(found);
        rest = left;
        next += 1;
    }
    reached
}

/// The words that follow `path`, such as `READ` in `op::READ`, each with the code before it.
pub fn after<'t>(code: &'t str, path: &str) -> Vec<(&'t str, &'t str)> {
    let at = code.match_indices(path).map(|(at, _)| at);
    let whole = at.filter(|&at| !code[..at].ends_with(is_word));
    whole
        .map(|at| (word(&code[at + path.len()..]), &code[..at]))
        .collect()
}

fn calls(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices('(')
        .map(|(at, _)| code[..at].rsplit(|c| !is_word(c)).next().unwrap_or(""))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The word that the text begins with.
fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

fn functions_of(file: &Path, code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (name, before) in after(code, "fn ") {
        let rest = &code[before.len()..];
        let Some(start) = end_of_signature(rest).filter(|&at| rest[at..].starts_with('{')) else {
            continue;
        };
        // What stands between the item before this one and its `fn`.
        let own = before.rsplit([';', '{', '}', ']']).next().unwrap_or("");
        found.push(Function {
            file: file.into(),
            name: name.into(),
            keywords: own.trim().into(),
            body: block(&rest[start..]).into(),
        });
    }
    found
}

/// Where the body begins, or the `;` of a function that has none; the `;` of an array type
/// is neither.
fn end_of_signature(code: &str) -> Option<usize> {
    let mut depth = 0;
    code.find(|c| {
        depth += match c {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        };
        depth == 0 && matches!(c, '{' | ';')
    })
}

/// From the `{` that the code begins with to its `}`.
fn block(code: &str) -> &str {
    let mut depth = 0;
    let end = code.find(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    &code[..end.map_or(code.len(), |at| at + 1)]
}

/// The text without comments, what quotes hold, and the items under `#[cfg(test)]`.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            'r' if !code.ends_with(is_word) || code.ends_with(['b', 'c']) => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            // What is left out still parts what is around it.
            code.push(' ');
            rest = &rest[length..];
        }
    }
    without_tests(&code)
}

/// The length of the comment, in which others may be nested.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let (step, change) = match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |at| at + 2)
}

/// 0 if it is none.
fn raw_string(text: &str) -> usize {
    let marks = text[1..].len() - text[1..].trim_start_matches('#').len();
    if !text[1 + marks..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(marks));
    let from = marks + 2;
    let end = text[from..].find(&close);
    end.map_or(text.len(), |at| from + at + close.len())
}

/// 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, c))) => {
            let from = at + c.len_utf8();
            text[from..].find('\'').map_or(0, |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept += &rest[..at];
        let item = &rest[at..];
        // The attribute's own brackets are closed: the item ends like a function.
        let end = end_of_signature(item).unwrap_or(item.len());
        let body = block(&item[end..]);
        rest = match body.starts_with('{') {
            true => &item[end + body.len()..],
            false => item.get(end + 1..).unwrap_or(""),
        };
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_tests_are_no_code() {
        let text = r####"
//! op::A
/* op::B /* op::C */ op::D */
pub unsafe fn prep_one<'fd>(&mut self, bytes: [u8; 64]) -> u8 { // op::E
    let _ = ("op::F \" op::G", r#"op::H " op::I"#, b"op::J", '"', '\'', '{', "\\");
    crop::K; op::YES; abi::op::ALSO
}
#[cfg(test)]
mod tests { fn prep_two() { op::L } }
#[cfg(test)]
mod others;
fn last() { op::LAST }
"####;
        let found = functions_of(Path::new("f.rs"), &code(text));
        let names: Vec<&str> = found.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["prep_one", "last"]);
        let ops = |f: &Function| -> Vec<String> {
            let found = after(&f.body, "op::").into_iter();
            found.map(|(name, _)| name.to_string()).collect()
        };
        assert_eq!(ops(&found[0]), ["YES", "ALSO"]);
        assert_eq!(ops(&found[1]), ["LAST"]);
    }

    #[test]
    fn only_pub_is_public() {
        let text = "
            pub const fn a() {} pub(crate) fn b() {} fn c() {}
            #[inline] pub unsafe fn d() {} pub trait T { fn e(&self); }
            const F: fn(u8) = g; pub struct S;
            fn h() {}";
        let found = functions_of(Path::new("f.rs"), &code(text));
        let public: Vec<(&str, bool)> = found
            .iter()
            .map(|f| (f.name.as_str(), f.is_public()))
            .collect();
        let expected = [
            ("a", true),
            ("b", false),
            ("c", false),
            ("d", true),
            ("h", false),
        ];
        assert_eq!(public, expected);
        let is_unsafe = found.iter().filter(|f| f.is_unsafe());
        assert!(is_unsafe.map(|f| f.name.as_str()).eq(["d"]));
    }

    #[test]
    fn calls_are_followed() {
        let text = "pub fn a() { self.b(1); c } fn b() { Self::d() } fn c() {} fn d() { a() }";
        let found = functions_of(Path::new("f.rs"), &code(text));
        let reached = reached(found.iter(), Function::is_public);
        let names: Vec<&str> = reached.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "d"]);
    }
}
