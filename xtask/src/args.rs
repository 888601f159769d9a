//! Command line words: taken one by one, and what is left over is an error.

use std::str::FromStr;

/// The words after the command.
pub struct Args(Vec<String>);

impl Args {
    pub fn new(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    /// Whether the word `name` is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// The value after the word `name`.
    pub fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|word| word == name) else {
            return Ok(None);
        };
        let word = self.0.drain(at..self.0.len().min(at + 2)).nth(1);
        let word = word.ok_or_else(|| format!("{name} needs a value"))?;
        word.parse()
            .map(Some)
            .map_err(|_| format!("{name} cannot be `{word}`"))
    }

    /// The one word that may be left.
    pub fn last(mut self) -> Result<Option<String>, String> {
        let word = self.0.pop_if(|word| !word.starts_with('-'));
        self.none().map(|()| word)
    }

    /// The words that are left, none of them an option.
    pub fn rest(mut self) -> Result<Vec<String>, String> {
        let words = self.0.extract_if(.., |word| !word.starts_with('-'));
        let words = words.collect();
        self.none().map(|()| words)
    }

    /// Nothing may be left.
    pub fn none(self) -> Result<(), String> {
        match self.0.first() {
            Some(word) => Err(format!(
                "unexpected `{word}`: `cargo xtask` lists the arguments"
            )),
            None => Ok(()),
        }
    }
}
